/* SPDX-License-Identifier: MIT
 *
 * How long from unstick_token_cancel() until unstick_read(), blocked in a scope in another thread, has returned.
 * The floor is the kernel's: a signal must be sent, the thread switched in, a frame made and a handler run. What unstick may add is
 * finding the thread and the hand-shake that makes it safe.
 */
#include "victim.h"

#include <unstick.h>

#include <errno.h>
#include <sys/syscall.h>

static void prepare(struct victim *victim)
{
	int error = unstick_token_new(&victim->token, NULL);
	if (error < 0)
		die_errno("unstick_token_new", -error);
}

static void read_in_scope(struct victim *victim)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, victim->token, UNSTICK_NEVER);
	ssize_t n = unstick_read(victim->pipe[0], &byte, 1);
	victim_note(victim);
	int error = unstick_scope_end(&scope);
	victim_expect(victim, n == -ECANCELED, "unstick_read() ended, but not with -ECANCELED");
	victim_expect(victim, error == -ECANCELED, "unstick_scope_end() did not tell -ECANCELED");
}

static void wake(struct victim *victim)
{
	unstick_token_cancel(victim->token);
}

static void settle(struct victim *victim)
{
	victim->token = unstick_token_unref(victim->token);
}

static const struct victim_spec own = {.nr = SYS_read, .prepare = prepare, .block = read_in_scope, .wake = wake, .settle = settle};

static const struct bench_case cases[] = {
        {.name = "tgkill, read()", .spec = &victim_tgkill},
        {.name = "unstick_read()", .bound = 1.15, .spec = &own},
        {.name = "futex wake", .spec = &victim_futex},
        {.name = "eventfd, poll() + read()", .spec = &victim_poll},
        {.name = "pthread_cancel()", .spec = &victim_pthread_cancel},
};

const struct benchmark bench_cancel_own = {
        .name = "cancel_own",
        .summary = "token cancel to the return of a blocked unstick_read()",
        .hypothesis = "no way to end a read() by a signal is faster than a bare tgkill(); unstick adds at most 15 %",
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
