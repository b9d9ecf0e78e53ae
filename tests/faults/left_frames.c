/* SPDX-License-Identifier: MIT
 *
 * A handler of the program jumps out of a scope, or out of an own call (fault 44): what was left must hit nobody, and must be in
 * nobody's way.
 */
#include <poll.h>
#include <setjmp.h>
#include <string.h>
#include "victim.h"

static int fds[2];

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

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {44, "a scope left by longjmp hits no call above it", left_scope_is_over},
	        {44, "a scope left by longjmp: the next scope works, the token is free", begin_after_jump},
	        {44, "a scope left by longjmp: who waits for its token is told by the next begin", begin_tells_waiter},
	        {44, "an own call left by longjmp: a later foreign call above it is freed", own_jump_above},
	        {44, "an own call left by longjmp: a later foreign call deeper down is freed", own_jump_below},
	        {44, "an own call left by longjmp: a later own call is freed", own_jump_own},
	        {44, "an own call left by longjmp with its scope: a foreign call of the next scope is freed", own_jump_begin},
	        {44, "an own call left by longjmp, its thread ended: the next thread's foreign call is freed", own_jump_end},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
