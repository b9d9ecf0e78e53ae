/* SPDX-License-Identifier: MIT
 *
 * The interrupted thread's own belongings: a small alternate stack (fault 21), a small stack (22), errno (45).
 */
#include <string.h>
#include "victim.h"

enum { SMALL_ALTSTACK = 2048, LARGE_ALTSTACK = 65536, SMALL_STACK = 16384, PAINT = 0xa5, POISON = 4711, ERRNO_ROUNDS = 30 };

static int fds[2];

/* ---- fault 21 */

static unsigned char altstack[LARGE_ALTSTACK];
static stack_t stack_before; /* a sanitizer's own, which it wants back */

static void take_altstack(size_t size)
{
	const stack_t stack = {.ss_sp = altstack, .ss_size = size};
	memset(altstack, PAINT, sizeof(altstack));
	CHECK(sigaltstack(&stack, &stack_before) == 0, "sigaltstack: %s", strerror(errno));
}

static void take_small_altstack(struct victim *victim)
{
	(void)victim;
	take_altstack(SMALL_ALTSTACK);
}

static void take_large_altstack(struct victim *victim)
{
	(void)victim;
	take_altstack(LARGE_ALTSTACK);
}

static void leave_altstack(struct victim *victim)
{
	long touched = 0;
	sigaltstack(&stack_before, NULL);
	for (size_t i = 0; i < sizeof(altstack); i++)
		touched += altstack[i] != PAINT;
	atomic_store(&victim->count, touched);
}

static void cancel_on_altstack(struct victim *victim)
{
	make_pipe(fds);
	victim->fd = fds[0];
	victim->token = make_token();
	victim->after = leave_altstack;
	victim_block(victim, SYS_read);
	unstick_token_cancel(victim->token);
	victim_join(victim);
	CHECK(victim->result == -ECANCELED && victim->end == -ECANCELED, "%ld, %d", victim->result, victim->end);
}

static void small_altstack(long (*call)(struct victim *))
{
	struct victim victim = {.call = call, .before = take_small_altstack};
	cancel_on_altstack(&victim);
	CHECK(victim.count == 0, "%ld bytes of the alternate stack were written", victim.count);
}

static void altstack_foreign(void)
{
	small_altstack(foreign_read);
}

static void altstack_own(void)
{
	small_altstack(own_read);
}

/* And when it is asked for, it is used: or the tests above could not fail. */
static void altstack_wanted(void)
{
	const struct unstick_options options = {.size = sizeof(options), .flags = UNSTICK_ALTSTACK};
	struct victim victim = {.call = foreign_read, .before = take_large_altstack};
	if (FAULT_TSAN || FAULT_ASAN)
		fault_skip("the sanitizer's altstack handling is in the way");
	CHECK(unstick_init(&options) == 0, "unstick_init");
	cancel_on_altstack(&victim);
	CHECK(victim.count > SMALL_ALTSTACK, "only %ld bytes of the alternate stack were written", victim.count);
	fault_note("a handler's run takes %ld bytes", victim.count);
}

/* ---- fault 22 */

static size_t small_stack(void)
{
	if (FAULT_TSAN || FAULT_ASAN)
		fault_skip("a sanitizer needs more stack");
	long least = sysconf(_SC_THREAD_STACK_MIN);
	fault_note("stacks of %ld bytes", least > SMALL_STACK ? least : SMALL_STACK);
	return least > SMALL_STACK ? (size_t)least : SMALL_STACK;
}

static void small_stack_victim(long (*call)(struct victim *), bool by_deadline)
{
	struct victim victim = {.call = call, .stack_size = small_stack()};
	make_pipe(fds);
	victim.fd = fds[0];
	if (by_deadline) {
		victim.deadline = unstick_after_ms(20);
		victim_start(&victim);
	} else {
		victim.token = make_token();
		victim_block(&victim, SYS_read);
		unstick_token_cancel(victim.token);
	}
	victim_join(&victim);
	const int expected = by_deadline ? -ETIMEDOUT : -ECANCELED;
	CHECK(victim.result == expected && victim.end == expected, "%ld, %d", victim.result, victim.end);
}

static void small_foreign(void)
{
	small_stack_victim(foreign_read, false);
}

static void small_own(void)
{
	small_stack_victim(own_read, false);
}

static void small_deadline(void)
{
	small_stack_victim(own_poll, true);
}

/* The other side: one with a small stack looks, interrupts, cancels, and prints. */
static long free_another(struct victim *freer)
{
	struct victim *victim = freer->arg;
	struct unstick_report report;
	struct unstick_outcome outcome;
	CHECK(unstick_look(0, victim->tid, &report) == 0 && report.nr == SYS_read, "unstick_look");
	CHECK(unstick_thread_interrupt(victim->handle, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_WOKEN && strlen(outcome_text(&outcome)) > 0, "outcome");
	unstick_token_cancel(victim->token);
	return 0;
}

static void small_canceller(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token(), .after = linger};
	struct victim freer = {.call = free_another, .arg = &victim, .stack_size = small_stack()};
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	victim_start(&freer);
	victim_join(&freer);
	victim_let_go(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
}

/* ---- fault 45 */

static long poison_errno(struct victim *victim)
{
	volatile int *place = &errno; /* or the compiler knows that nothing comes in between */
	while (!atomic_load(&victim->stop)) {
		*place = POISON;
		for (volatile int i = 0; i < 1000; i++)
			;
		int now = *place;
		CHECK(now == POISON, "errno became %d", now);
		atomic_fetch_add(&victim->count, 1);
	}
	return 0;
}

/* Signals that come from unstick, and from elsewhere, while the thread computes. */
static void errno_in_handler(void)
{
	for (int i = 0; i < ERRNO_ROUNDS; i++) {
		struct victim victim = {.call = poison_errno, .token = make_token()};
		victim_start(&victim);
		WAIT_UNTIL(victim.count > 0);
		unstick_token_cancel(victim.token);
		CHECK(unstick_thread_interrupt(victim.handle, UNSTICK_NEVER, NULL) == 0, "unstick_thread_interrupt");
		for (int k = 0; k < 200; k++)
			syscall(SYS_tgkill, getpid(), victim.tid, unstick_signal());
		WAIT_UNTIL(!proc_status_bit(victim.tid, "SigPnd:", unstick_signal()));
		victim_let_go(&victim);
		unstick_token_unref(victim.token);
	}
}

#define KEEPS_ERRNO(call)                                                   \
	do {                                                                \
		errno = POISON;                                             \
		(void)(call);                                               \
		CHECK(errno == POISON, "errno became %d in " #call, errno); \
	} while (0)

static void errno_in_calls(void)
{
	struct unstick_token *token = NULL;
	struct unstick_thread *self = NULL;
	struct unstick_scope scope;
	struct unstick_outcome outcome;
	struct unstick_report report;
	char byte, line[200];
	int unused = 0;
	make_pipe(fds);
	KEEPS_ERRNO(unused += unstick_init(NULL));
	KEEPS_ERRNO(unused += unstick_token_new(&token, NULL));
	KEEPS_ERRNO(unused += unstick_scope_begin(&scope, token, UNSTICK_NEVER));
	KEEPS_ERRNO(self = unstick_thread_self());
	KEEPS_ERRNO(unused += (int)unstick_read(-1, &byte, 1));
	KEEPS_ERRNO(unused += unstick_token_cancel(token));
	KEEPS_ERRNO(unused += (int)unstick_read(fds[0], &byte, 1));
	KEEPS_ERRNO(unused += unstick_check());
	KEEPS_ERRNO(unused += unstick_scope_end(&scope));
	KEEPS_ERRNO(unused += unstick_thread_outcome(self, &outcome));
	KEEPS_ERRNO(unused += unstick_outcome_print(&outcome, line, sizeof(line)));
	KEEPS_ERRNO(unused += unstick_look(0, 0, &report));
	KEEPS_ERRNO(unused += unstick_look(1 << 30, 0, &report));
	KEEPS_ERRNO(unused += unstick_token_fd(token));
	KEEPS_ERRNO(unstick_thread_unref(self));
	KEEPS_ERRNO(unstick_token_unref(token));
	(void)unused;
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {21, "a 2 KiB alternate stack: a foreign call is freed, nothing happens on it", altstack_foreign},
	        {21, "a 2 KiB alternate stack: an own call is freed, nothing happens on it", altstack_own},
	        {21, "a large alternate stack is used with UNSTICK_ALTSTACK", altstack_wanted},
	        {22, "a 16 KiB stack: a foreign call is freed", small_foreign},
	        {22, "a 16 KiB stack: an own call is freed", small_own},
	        {22, "a 16 KiB stack: a deadline ends an own poll", small_deadline},
	        {22, "a 16 KiB stack: its thread looks, interrupts and cancels", small_canceller},
	        {45, "errno survives the handler", errno_in_handler},
	        {45, "no function of the library sets errno", errno_in_calls},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
