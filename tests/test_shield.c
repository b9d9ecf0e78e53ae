/* SPDX-License-Identifier: MIT
 *
 * Shields: inside nothing from outside, and scopes begun inside work.
 */
#include "helpers.h"

static int fds[2];

static void setup(void)
{
	pipe_empty(fds);
}

TestSuite(shield, .init = setup);

static long own_read(void)
{
	char byte;
	return unstick_read(fds[0], &byte, 1);
}

static long read_what_is_there(void)
{
	write_byte(fds[1]);
	return own_read();
}

Test(shield, without_scopes_is_nothing)
{
	struct unstick_scope scope;
	unstick_shield_end();
	unstick_shield_begin();
	cr_assert_eq(unstick_scope_begin(&scope, NULL, 0), 0);
	cr_assert_eq(own_read(), -ETIMEDOUT, "a scope begun inside works");
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	unstick_shield_end();
	cr_assert_eq(unstick_check(), 0);
}

Test(shield, holds_off_what_has_fired_and_what_fires)
{
	struct unstick_scope scope;
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_scope_begin(&scope, token, UNSTICK_NEVER), 0);
	unstick_shield_begin();
	unstick_token_cancel(token);
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(read_what_is_there(), 1);
	unstick_shield_end();
	cr_assert_eq(own_read(), -ECANCELED, "and it is back");
	unstick_shield_begin();
	cr_assert_eq(read_what_is_there(), 1);
	unstick_shield_end();
	cr_assert_eq(unstick_check(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED);
}

Test(shield, they_nest_and_count)
{
	struct unstick_scope scope;
	cr_assert_eq(unstick_scope_begin(&scope, NULL, 0), 0);
	unstick_shield_begin();
	unstick_shield_begin();
	unstick_shield_end();
	cr_assert_eq(unstick_check(), 0);
	unstick_shield_end();
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
	unstick_shield_end(); /* one too many changes nothing */
	unstick_shield_begin();
	cr_assert_eq(unstick_check(), 0);
	unstick_shield_end();
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
}

Test(shield, scopes_begun_inside_work_and_do_not_let_the_outer_ones_in)
{
	struct unstick_scope outer, inner;
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_scope_begin(&outer, NULL, 0), 0);
	unstick_shield_begin();
	cr_assert_eq(unstick_scope_begin(&inner, token, UNSTICK_NEVER), 0);
	cr_assert_eq(read_what_is_there(), 1);
	unstick_token_cancel(token);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&inner), -ECANCELED);
	cr_assert_eq(read_what_is_there(), 1, "the shield holds still");
	unstick_shield_end();
	cr_assert_eq(own_read(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&outer), -ETIMEDOUT);
}

Test(shield, ends_with_its_scope)
{
	struct unstick_scope outer, inner;
	cr_assert_eq(unstick_scope_begin(&outer, NULL, 0), 0);
	cr_assert_eq(unstick_scope_begin(&inner, NULL, UNSTICK_NEVER), 0);
	unstick_shield_begin();
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(unstick_scope_end(&inner), 0);
	cr_assert_eq(unstick_check(), -ETIMEDOUT, "it was begun inside the inner scope");
	cr_assert_eq(unstick_scope_end(&outer), -ETIMEDOUT);
}

static __attribute__((noinline)) void leave_a_scope(void)
{
	struct unstick_scope left;
	unstick_scope_start(&left, NULL, UNSTICK_NEVER);
}

/* The clean-up code of one that left a scope by return or longjmp(). */
Test(shield, holds_although_a_scope_was_left_before_it)
{
	struct unstick_scope outer, inner;
	cr_assert_eq(unstick_scope_begin(&outer, NULL, 0), 0);
	leave_a_scope();
	unstick_shield_begin();
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(unstick_scope_begin(&inner, NULL, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_check(), 0, "the begin dropped the shield together with the scope that was left");
	cr_assert_eq(unstick_scope_end(&inner), 0);
	cr_assert_eq(unstick_check(), 0);
	unstick_shield_end();
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
}

struct shielded {
	struct unstick_token *token;
	int end;
};

static long read_in_shield(void *arg)
{
	struct shielded *shielded = arg;
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, shielded->token, UNSTICK_NEVER);
	unstick_shield_begin();
	ssize_t n = read(fds[0], &byte, 1); /* foreign: a poke would end it */
	long result = n < 0 ? -errno : n;
	n = unstick_read(fds[0], &byte, 1);
	unstick_shield_end();
	shielded->end = unstick_check();
	(void)!unstick_scope_end(&scope);
	return result == 1 ? n : result;
}

Test(shield, a_blocked_call_in_it_is_not_cut_short_own_or_foreign)
{
	struct shielded shielded = {.token = token_make(NULL)};
	struct worker worker;
	worker_start(&worker, read_in_shield, &shielded);
	worker_wait_blocked(&worker, SYS_read);
	unstick_token_cancel(shielded.token);
	write_byte(fds[1]);
	write_byte(fds[1]);
	cr_assert_eq(worker_join(&worker), 1);
	cr_assert_eq(shielded.end, -ECANCELED, "after it the cancel is seen");
}
