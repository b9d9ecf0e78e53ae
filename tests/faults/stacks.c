/* SPDX-License-Identifier: MIT
 *
 * The interrupted thread's own belongings: a small alternate stack (fault 21), a small stack (22), frames that a longjmp leaves (44), errno (45).
 */
#include <poll.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
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

/* ---- fault 44 */

static sigjmp_buf jump;

static void jump_out(int number)
{
	(void)number;
	siglongjmp(jump, 1);
}

/* With a scope of its own, which a longjmp leaves without an end. */
static long scope_and_read(struct victim *victim)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, victim->arg, UNSTICK_NEVER);
	long result = foreign_read(victim);
	CHECK(result == 0, "%ld: it was to be left by a jump", result);
	return unstick_scope_end(&scope);
}

static void start_jumper(struct victim *victim, struct unstick_token *left)
{
	struct sigaction action = {.sa_handler = jump_out};
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	make_pipe(fds);
	victim->fd = fds[0];
	victim->arg = left;
	victim_block(victim, SYS_read);
	pthread_kill(victim->thread, SIGUSR1);
	WAIT_UNTIL(victim->count == 1);
}

/* The abandoned scope's token fires: calls of the frames above it are not its. */
static long leave_and_poll(struct victim *victim)
{
	struct pollfd nothing = {.fd = -1};
	if (sigsetjmp(jump, 1) == 0)
		return deep_down(DEEP, scope_and_read, victim);
	atomic_store(&victim->count, 1);
	while (!atomic_load(&victim->stop)) {
		long result = or_errno(poll(&nothing, 1, 1));
		CHECK(result == 0 || result == -EINTR, "a scope that was left hit a call with %ld", result);
	}
	return 0;
}

static void left_scope_is_over(void)
{
	struct victim victim = {.call = leave_and_poll};
	struct unstick_token *left = make_token();
	struct unstick_thread *handle;
	struct unstick_outcome outcome;
	start_jumper(&victim, left);
	CHECK(unstick_thread_find(&handle, victim.tid) == 0, "unstick_thread_find");
	unstick_token_cancel(left);
	WAIT_UNTIL(unstick_thread_outcome(handle, &outcome) == 0 && outcome.signals > 0);
	unstick_thread_unref(handle);
	victim_let_go(&victim);
	CHECK(victim.result == 0, "%ld", victim.result);
	CHECK(unstick_token_wait(left, UNSTICK_NEVER) == 0, "unstick_token_wait");
}

/* A new scope works where one was left, and the token that was left is free. */
static long leave_and_begin(struct victim *victim)
{
	struct unstick_scope scope;
	if (sigsetjmp(jump, 1) == 0)
		return deep_down(DEEP, scope_and_read, victim);
	CHECK(unstick_scope_begin(&scope, NULL, unstick_after_ms(20)) == 0, "unstick_scope_begin");
	atomic_store(&victim->count, 1);
	long result = foreign_read(victim);
	CHECK(result == -ETIMEDOUT, "%ld", result);
	return unstick_scope_end(&scope);
}

static void begin_after_jump(void)
{
	struct victim victim = {.call = leave_and_begin};
	struct unstick_token *left = make_token();
	start_jumper(&victim, left);
	unstick_token_cancel(left);
	CHECK(unstick_token_wait(left, UNSTICK_NEVER) == 0, "unstick_token_wait");
	victim_join(&victim);
	CHECK(victim.result == -ETIMEDOUT, "%ld", victim.result);
}

/* Who waits for the token is told when the next begin drops the scope that was left. */
static long leave_and_begin_later(struct victim *victim)
{
	struct unstick_scope scope;
	if (sigsetjmp(jump, 1) == 0)
		return deep_down(DEEP, scope_and_read, victim);
	atomic_store(&victim->count, 1);
	while (!atomic_load(&victim->stop))
		;
	CHECK(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	while (atomic_load(&victim->stop))
		;
	return unstick_scope_end(&scope);
}

static long wait_for_token(struct victim *waiter)
{
	return unstick_token_wait(waiter->arg, UNSTICK_NEVER);
}

static void begin_tells_waiter(void)
{
	struct victim victim = {.call = leave_and_begin_later}, waiter = {.call = wait_for_token};
	struct unstick_token *left = make_token();
	start_jumper(&victim, left);
	unstick_token_cancel(left);
	waiter.arg = left;
	victim_block(&waiter, SYS_futex);
	victim.stop = true;
	fault_waiting_for("unstick_token_wait, after the next begin");
	pthread_join(waiter.thread, NULL);
	CHECK(waiter.result == 0, "%ld", waiter.result);
	victim.stop = false;
	victim_join(&victim);
	CHECK(victim.result == 0, "%ld", victim.result);
}

/* A jump out of an own call, with the scope going on: a later call of that scope is freed, wherever on the stack it is made. */
static long leave_own_call(struct victim *victim, int depth, long (*then)(struct victim *))
{
	if (sigsetjmp(jump, 1) == 0)
		return deep_down(DEEP, own_read, victim);
	atomic_store(&victim->count, 1);
	return deep_down(depth, then, victim);
}

static long then_above_foreign(struct victim *victim)
{
	return leave_own_call(victim, 0, foreign_read_again);
}

static long then_below_foreign(struct victim *victim)
{
	return leave_own_call(victim, DEEPER, foreign_read_again);
}

static long then_below_own(struct victim *victim)
{
	return leave_own_call(victim, DEEPER, own_read);
}

static void jump_out_of_own(long (*call)(struct victim *))
{
	struct victim victim = {.call = call, .token = make_token()};
	start_jumper(&victim, NULL);
	victim_wait_blocked(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
}

static void own_jump_above(void)
{
	jump_out_of_own(then_above_foreign);
}

static void own_jump_below(void)
{
	jump_out_of_own(then_below_foreign);
}

static void own_jump_own(void)
{
	jump_out_of_own(then_below_own);
}

/* The same with the scope ended, and another begun, after the jump. */
static long begin_anew(struct victim *victim)
{
	struct unstick_scope scope;
	if (sigsetjmp(jump, 1) == 0) {
		unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
		return deep_down(DEEP, own_read, victim);
	}
	unstick_scope_start(&scope, victim->arg, UNSTICK_NEVER);
	atomic_store(&victim->count, 1);
	long result = deep_down(DEEPER, foreign_read_again, victim);
	int end = unstick_scope_end(&scope);
	CHECK(end == -ECANCELED, "%d", end);
	return result;
}

static void own_jump_begin(void)
{
	struct victim victim = {.call = begin_anew};
	struct unstick_token *token = make_token();
	start_jumper(&victim, token);
	victim_wait_blocked(&victim, SYS_read);
	unstick_token_cancel(token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
}

/* The thread ends there; what it leaves must not be in the way of the next one, which may get its record. */
static long leave_and_end(struct victim *victim)
{
	if (sigsetjmp(jump, 1) == 0)
		return deep_down(DEEP, own_read, victim);
	atomic_store(&victim->count, 1);
	return 0;
}

static long deeper_read(struct victim *victim)
{
	return deep_down(DEEPER, foreign_read_again, victim);
}

static void own_jump_end(void)
{
	struct victim victim = {.call = leave_and_end, .token = make_token()};
	struct victim next = {.call = deeper_read, .token = make_token()};
	start_jumper(&victim, NULL);
	victim_join(&victim);
	next.fd = fds[0];
	victim_block(&next, SYS_read);
	unstick_token_cancel(next.token);
	victim_join(&next);
	CHECK(next.result == -ECANCELED && next.end == -ECANCELED, "%ld, %d", next.result, next.end);
}

/* ---- fault 45 */

static long poison_errno(struct victim *victim)
{
	while (!atomic_load(&victim->stop)) {
		errno = POISON;
		for (volatile int i = 0; i < 1000; i++)
			;
		CHECK(errno == POISON, "errno became %d", errno);
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
	        {44, "a scope left by longjmp hits no call above it", left_scope_is_over},
	        {44, "a scope left by longjmp: the next scope works, the token is free", begin_after_jump},
	        {44, "a scope left by longjmp: who waits for its token is told by the next begin", begin_tells_waiter},
	        {44, "an own call left by longjmp: a later foreign call above it is freed", own_jump_above},
	        {44, "an own call left by longjmp: a later foreign call deeper down is freed", own_jump_below},
	        {44, "an own call left by longjmp: a later own call is freed", own_jump_own},
	        {44, "an own call left by longjmp with its scope: a foreign call of the next scope is freed", own_jump_begin},
	        {44, "an own call left by longjmp, its thread ended: the next thread's foreign call is freed", own_jump_end},
	        {45, "errno survives the handler", errno_in_handler},
	        {45, "no function of the library sets errno", errno_in_calls},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
