/* SPDX-License-Identifier: MIT
 *
 * How long from unstick_token_cancel() until a plain read() of libc, which knows nothing of unstick, has returned in its scope; and
 * the same for code that retries on EINTR for ever, which no bare signal gets out.
 * A foreign call may be signalled only after a look at what it is, so the floor is one look and one signal.
 */
#include "victim.h"

#include <unstick.h>

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

static void prepare(struct victim *victim)
{
	int error = unstick_token_new(&victim->token, NULL);
	if (error < 0)
		die_errno("unstick_token_new", -error);
}

static void end_scope(struct victim *victim, struct unstick_scope *scope, bool cut_short)
{
	int error = unstick_scope_end(scope);
	victim_expect(victim, cut_short, "read() ended, but not with ECANCELED");
	victim_expect(victim, error == -ECANCELED, "unstick_scope_end() did not tell -ECANCELED");
}

static void read_in_scope(struct victim *victim)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, victim->token, UNSTICK_NEVER);
	ssize_t n = read(victim->pipe[0], &byte, 1);
	int error = errno;
	victim_note(victim);
	end_scope(victim, &scope, n < 0 && error == ECANCELED);
}

static void read_again_on_eintr(struct victim *victim)
{
	struct unstick_scope scope;
	char byte;
	ssize_t n;
	unstick_scope_start(&scope, victim->token, UNSTICK_NEVER);
	do
		n = read(victim->pipe[0], &byte, 1);
	while (n < 0 && errno == EINTR);
	int error = errno;
	victim_note(victim);
	end_scope(victim, &scope, n < 0 && error == ECANCELED);
}

static void wake(struct victim *victim)
{
	unstick_token_cancel(victim->token);
}

static void settle(struct victim *victim)
{
	victim->token = unstick_token_unref(victim->token);
}

static const struct victim_spec plain = {
        .nr = SYS_read, .prepare = prepare, .block = read_in_scope, .wake = wake, .settle = settle};
static const struct victim_spec stubborn = {
        .nr = SYS_read, .prepare = prepare, .block = read_again_on_eintr, .wake = wake, .settle = settle};

static const struct bench_case cases[] = {
        {.name = "look + tgkill, read()", .spec = &victim_look_tgkill},
        {.name = "read() in a scope", .bound = 1.2, .spec = &plain},
        {.name = "the same, loop on EINTR", .bound = 1.2, .spec = &stubborn},
        {.name = "tgkill, read()", .spec = &victim_tgkill},
        {.name = "pthread_cancel()", .spec = &victim_pthread_cancel},
};

const struct benchmark bench_cancel_foreign = {
        .name = "cancel_foreign",
        .summary = "token cancel to the return of a libc read() in a scope",
        .hypothesis = "beyond one look in /proc and one tgkill(), unstick adds at most 20 %",
        .sample = "one wake-up",
        .cases = cases,
        .case_count = sizeof(cases) / sizeof(cases[0]),
        .rounds = 100,
        .block = 25,
        .quick_rounds = 5,
        .quick_block = 5,
        .begin = victim_begin,
        .open = victim_open,
        .block_run = victim_block_run,
        .close = victim_close,
};
