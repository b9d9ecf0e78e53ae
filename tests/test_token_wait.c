/* SPDX-License-Identifier: MIT
 *
 * unstick_token_wait(): until the token has fired and everything that it held is free.
 */
#include "helpers.h"

static int gate[2];

static void setup(void)
{
	pipe_empty(gate);
}

TestSuite(token_wait, .init = setup);

/* In a scope on the token, deaf to it until the gate opens. */
static long hold(void *token)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	unstick_shield_begin();
	ssize_t n = read(gate[0], &byte, 1);
	unstick_shield_end();
	(void)n;
	return unstick_scope_end(&scope);
}

struct waiting {
	struct unstick_token *token;
	unstick_time until;
	struct unstick_token *scope_token; /* NULL: without a scope of its own */
	unstick_time scope_deadline;       /* 0: none */
};

static long wait_here(void *arg)
{
	struct waiting *waiting = arg;
	struct unstick_scope scope;
	bool scoped = waiting->scope_token || waiting->scope_deadline;
	if (scoped)
		unstick_scope_start(&scope, waiting->scope_token,
		                    waiting->scope_deadline ? waiting->scope_deadline : UNSTICK_NEVER);
	long result = unstick_token_wait(waiting->token, waiting->until);
	if (scoped && unstick_scope_end(&scope) != result)
		return -EPROTO;
	return result;
}

Test(token_wait, a_fired_token_that_holds_nobody_is_not_waited_for)
{
	struct unstick_token *token = token_make(NULL);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_token_wait(token, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_token_wait(token, 0), 0);
}

Test(token_wait, null_is_invalid)
{
	cr_assert_eq(unstick_token_wait(NULL, 0), -EINVAL);
}

Test(token_wait, gives_up_at_its_time_and_not_before)
{
	unstick_time until = unstick_after_ms(5);
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_token_wait(token, until), -ETIMEDOUT);
	cr_assert_geq(unstick_now(), until);
	cr_assert_eq(unstick_token_wait(token, 0), -ETIMEDOUT);
}

Test(token_wait, waits_for_the_fire_also_of_a_parent)
{
	struct unstick_token *top = token_make(NULL);
	struct waiting waiting = {.token = token_make(token_make(top)), .until = UNSTICK_NEVER};
	struct worker waiter;
	worker_start(&waiter, wait_here, &waiting);
	worker_wait_blocked(&waiter, SYS_futex);
	unstick_token_cancel(top);
	cr_assert_eq(worker_join(&waiter), 0);
}

Test(token_wait, waits_for_a_deadline_of_the_token)
{
	struct unstick_token *token = token_make(NULL);
	unstick_time when = unstick_after_ms(10);
	cr_assert_eq(unstick_token_set_deadline(token, when), 0);
	cr_assert_eq(unstick_token_wait(token, UNSTICK_NEVER), 0);
	cr_assert_geq(unstick_now(), when);
}

Test(token_wait, waits_for_scopes_on_it_and_below_it)
{
	struct unstick_token *top = token_make(NULL), *bottom = token_make(token_make(top));
	struct waiting waiting = {.token = top, .until = UNSTICK_NEVER};
	struct worker holder, waiter;
	worker_start(&holder, hold, bottom);
	worker_wait_blocked(&holder, SYS_read);
	unstick_token_cancel(top);
	cr_assert_eq(unstick_token_wait(top, unstick_after_ms(2)), -ETIMEDOUT, "it holds a thread still");
	worker_start(&waiter, wait_here, &waiting);
	worker_wait_blocked(&waiter, SYS_futex);
	write_byte(gate[1]);
	cr_assert_eq(worker_join(&waiter), 0);
	worker_join(&holder);
}

Test(token_wait, does_not_wait_for_scopes_on_other_tokens)
{
	struct unstick_token *top = token_make(NULL), *bottom = token_make(top);
	struct worker holder;
	worker_start(&holder, hold, top);
	worker_wait_blocked(&holder, SYS_read);
	unstick_token_cancel(bottom);
	cr_assert_eq(unstick_token_wait(bottom, UNSTICK_NEVER), 0);
	write_byte(gate[1]);
	worker_join(&holder);
}

/* A thread that ends without ending its scope frees the token, too. */
static long hold_and_leave(void *token)
{
	static struct unstick_scope scope; /* static: no frame whose end could tell */
	char byte;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	unstick_shield_begin();
	ssize_t n = read(gate[0], &byte, 1);
	return n;
}

Test(token_wait, is_over_when_the_thread_that_it_held_has_ended)
{
	struct unstick_token *token = token_make(NULL);
	struct waiting waiting = {.token = token, .until = UNSTICK_NEVER};
	struct worker holder, waiter;
	worker_start(&holder, hold_and_leave, token);
	worker_wait_blocked(&holder, SYS_read);
	unstick_token_cancel(token);
	worker_start(&waiter, wait_here, &waiting);
	worker_wait_blocked(&waiter, SYS_futex);
	write_byte(gate[1]);
	worker_join(&holder);
	cr_assert_eq(worker_join(&waiter), 0);
}

/* As before, but neither shield nor fire comes before the end: the scope is dropped unfired, the token fires after. */
Test(token_wait, nobody_is_held_by_a_scope_that_was_ended_before_the_fire)
{
	struct unstick_token *token = token_make(NULL);
	struct waiting waiting = {.token = token, .until = UNSTICK_NEVER};
	struct worker holder, waiter;
	worker_start(&holder, hold, token);
	worker_wait_blocked(&holder, SYS_read);
	worker_start(&waiter, wait_here, &waiting);
	worker_wait_blocked(&waiter, SYS_futex);
	write_byte(gate[1]);
	worker_join(&holder);
	unstick_token_cancel(token);
	cr_assert_eq(worker_join(&waiter), 0);
}

Test(token_wait, on_its_own_scopes_token_would_never_end)
{
	struct unstick_scope scope;
	struct unstick_token *top = token_make(NULL), *bottom = token_make(top);
	cr_assert_eq(unstick_scope_begin(&scope, bottom, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_token_wait(top, UNSTICK_NEVER), -EDEADLK);
	cr_assert_eq(unstick_scope_end(&scope), 0);
	unstick_token_cancel(top);
	cr_assert_eq(unstick_token_wait(top, UNSTICK_NEVER), 0);
}

Test(token_wait, a_scope_of_the_waiter_cuts_it_short)
{
	struct unstick_token *token = token_make(NULL);
	struct waiting cancelled = {.token = token, .until = UNSTICK_NEVER, .scope_token = token_make(NULL)};
	struct waiting timed = {.token = token, .until = UNSTICK_NEVER, .scope_deadline = unstick_after_ms(5)};
	struct worker waiter;
	worker_start(&waiter, wait_here, &cancelled);
	worker_wait_blocked(&waiter, SYS_futex);
	unstick_token_cancel(cancelled.scope_token);
	cr_assert_eq(worker_join(&waiter), -ECANCELED);
	worker_start(&waiter, wait_here, &timed);
	cr_assert_eq(worker_join(&waiter), -ETIMEDOUT);
	cr_assert_geq(unstick_now(), timed.scope_deadline);
}

static _Atomic unsigned handled;

static void handle(int signal)
{
	(void)signal;
	atomic_fetch_add(&handled, 1);
}

Test(token_wait, a_handler_of_the_program_does_not_end_it)
{
	struct waiting waiting = {.token = token_make(NULL), .until = UNSTICK_NEVER};
	struct sigaction action = {.sa_handler = handle};
	struct worker waiter;
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	worker_start(&waiter, wait_here, &waiting);
	worker_wait_blocked(&waiter, SYS_futex);
	cr_assert_eq(pthread_kill(waiter.thread, SIGUSR1), 0);
	wait_for(handled);
	worker_wait_blocked(&waiter, SYS_futex);
	unstick_token_cancel(waiting.token);
	cr_assert_eq(worker_join(&waiter), 0);
}
