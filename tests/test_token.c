/* SPDX-License-Identifier: MIT
 *
 * Tokens: fire once with a reason, with their parents, at their deadline, in a signal handler; their fds; their life.
 */
#include "helpers.h"
#include <fcntl.h>
#include <poll.h>
#include "limit/token.h"

static bool is_readable(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	return poll(&one, 1, 0) == 1 && one.revents == POLLIN;
}

static void set_deadline(struct unstick_token *token, unstick_time when)
{
	cr_assert_eq(unstick_token_set_deadline(token, when), 0);
}

/* ---- firing */

Test(token, is_not_fired_until_it_is_cancelled_and_then_for_ever)
{
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_token_error(token), 0);
	cr_assert_eq(unstick_token_cancel(token), 0);
	cr_assert_eq(unstick_token_error(token), -ECANCELED);
	cr_assert_eq(unstick_token_cancel(token), 0, "again, for somebody else's sake");
	cr_assert_eq(unstick_token_error(token), -ECANCELED);
	unstick_token_unref(token);
}

Test(token, null_is_nothing)
{
	cr_assert_null(unstick_token_ref(NULL));
	cr_assert_null(unstick_token_unref(NULL));
}

Test(token, fires_with_its_parents_not_with_its_children)
{
	struct unstick_token *top = token_make(NULL), *middle = token_make(top), *bottom = token_make(middle),
	                     *aunt = token_make(top);
	unstick_token_cancel(middle);
	cr_assert_eq(unstick_token_error(bottom), -ECANCELED);
	cr_assert_eq(unstick_token_error(top), 0);
	cr_assert_eq(unstick_token_error(aunt), 0);
	unstick_token_unref(bottom), unstick_token_unref(middle), unstick_token_unref(aunt), unstick_token_unref(top);
}

Test(token, made_under_a_fired_parent_it_has_fired)
{
	struct unstick_token *top = token_make(NULL);
	unstick_token_cancel(top);
	struct unstick_token *bottom = token_make(token_make(top));
	cr_assert_eq(unstick_token_error(bottom), -ECANCELED);
	cr_assert_eq(unstick_token_set_deadline(bottom, UNSTICK_NEVER), -EALREADY);
}

Test(token, the_first_reason_stays)
{
	struct unstick_token *top = token_make(NULL), *late = token_make(top), *early = token_make(top);
	set_deadline(early, 0);
	wait_for(unstick_token_error(early));
	unstick_token_cancel(top);
	cr_assert_eq(unstick_token_error(early), -ETIMEDOUT);
	cr_assert_eq(unstick_token_set_deadline(late, 0), -EALREADY);
	cr_assert_eq(unstick_token_error(late), -ECANCELED);
}

Test(token, a_chain_of_32_parents_is_the_longest)
{
	struct unstick_token *token = token_make(NULL), *top = token, *before;
	for (int parents = 1; parents <= 32; parents++)
		token = token_make(token);
	before = token;
	cr_assert_eq(unstick_token_new(&token, token), -ELOOP);
	cr_assert_eq(token, before, "written though it failed");
	unstick_token_cancel(top);
	cr_assert_eq(unstick_token_error(token), -ECANCELED, "the longest chain is searched to its end");
}

/* ---- deadlines */

Test(token, a_deadline_fires_it_with_its_own_reason_and_not_before)
{
	struct unstick_token *token = token_make(NULL);
	unstick_time when = unstick_after_ms(5);
	set_deadline(token, when);
	wait_for(unstick_token_error(token));
	cr_assert_geq(unstick_now(), when);
	cr_assert_eq(unstick_token_error(token), -ETIMEDOUT);
	cr_assert_eq(unstick_token_set_deadline(token, UNSTICK_NEVER), -EALREADY);
}

Test(token, a_deadline_in_the_past_fires_at_once)
{
	struct unstick_token *token = token_make(NULL);
	set_deadline(token, 0);
	cr_assert_eq(unstick_token_error(token), -ETIMEDOUT);
}

/* The monitor goes by time: when `last` has fired it has passed the earlier deadlines. */
static void wait_past(unstick_time when)
{
	struct unstick_token *last = token_make(NULL);
	set_deadline(last, when);
	wait_for(unstick_token_error(last));
	unstick_token_unref(last);
}

/* False: on a busy machine it has passed before it could be replaced, by either. */
static bool replace_deadline_in(int64_t ms)
{
	struct unstick_token *moved = token_make(NULL), *removed = token_make(NULL);
	unstick_time soon = unstick_after_ms(ms);
	int errors[4] = {unstick_token_set_deadline(moved, soon), unstick_token_set_deadline(removed, soon),
	                 unstick_token_set_deadline(moved, unstick_after_ms(3600000)),
	                 unstick_token_set_deadline(removed, UNSTICK_NEVER)};
	bool replaced = !errors[2] && !errors[3];
	cr_assert(!errors[0] && !errors[1], "%d, %d", errors[0], errors[1]);
	for (int i = 2; i < 4; i++)
		cr_assert(!errors[i] || (errors[i] == -EALREADY && unstick_now() >= soon), "%d, before it had passed", errors[i]);
	if (replaced) {
		wait_past(soon + 1);
		cr_assert_eq(unstick_token_error(moved), 0);
		cr_assert_eq(unstick_token_error(removed), 0);
	}
	unstick_token_unref(moved);
	unstick_token_unref(removed);
	return replaced;
}

Test(token, a_later_deadline_replaces_an_earlier_one_and_never_removes_it)
{
	for (int64_t ms = 10; !replace_deadline_in(ms); ms *= 2)
		;
}

Test(token, an_earlier_deadline_replaces_a_later_one)
{
	struct unstick_token *token = token_make(NULL);
	set_deadline(token, unstick_after_ms(3600000));
	set_deadline(token, unstick_after_ms(5));
	wait_for(unstick_token_error(token) == -ETIMEDOUT);
}

Test(token, many_deadlines_fire_each_token_once_and_those_below)
{
	enum { COUNT = 300 };
	struct unstick_token *token[COUNT], *below[COUNT];
	for (int i = 0; i < COUNT; i++) {
		token[i] = token_make(NULL);
		below[i] = token_make(token[i]);
		set_deadline(token[i], unstick_after_ns((i * 7919) % 20000000));
	}
	for (int i = 0; i < COUNT; i++) {
		wait_for(unstick_token_error(token[i]) == -ETIMEDOUT);
		cr_assert_eq(unstick_token_error(below[i]), -ETIMEDOUT);
	}
}

/* ---- the fd */

Test(token, its_fd_becomes_readable_with_the_token)
{
	struct unstick_token *token = token_make(NULL);
	int fd = unstick_token_fd(token);
	cr_assert_geq(fd, 0);
	cr_assert_eq(unstick_token_fd(token), fd, "one fd a token");
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	cr_assert_not(is_readable(fd));
	unstick_token_cancel(token);
	cr_assert(is_readable(fd));
}

Test(token, its_fd_becomes_readable_with_a_parent_and_at_a_deadline)
{
	struct unstick_token *top = token_make(NULL), *bottom = token_make(token_make(top)), *timed = token_make(NULL);
	int fd = unstick_token_fd(bottom), timed_fd = unstick_token_fd(timed);
	unstick_token_cancel(top);
	cr_assert(is_readable(fd));
	set_deadline(timed, unstick_after_ms(2));
	struct pollfd one = {.fd = timed_fd, .events = POLLIN};
	cr_assert_eq(poll(&one, 1, 20000), 1);
}

Test(token, its_fd_is_readable_if_it_had_fired)
{
	struct unstick_token *top = token_make(NULL), *bottom = token_make(top);
	unstick_token_cancel(top);
	cr_assert(is_readable(unstick_token_fd(top)));
	cr_assert(is_readable(unstick_token_fd(bottom)));
}

Test(token, its_fd_goes_with_the_last_reference)
{
	struct unstick_token *token = token_make(NULL);
	int fd = unstick_token_fd(token);
	cr_assert_eq(unstick_token_ref(token), token);
	unstick_token_unref(token);
	cr_assert_geq(fcntl(fd, F_GETFD), 0);
	unstick_token_unref(token);
	cr_assert_eq(fcntl(fd, F_GETFD), -1);
}

Test(token, without_an_fd_to_be_had_it_says_so)
{
	struct unstick_token *token = token_make(NULL);
	int fd;
	while ((fd = dup(0)) >= 0)
		;
	cr_assert_eq(errno, EMFILE);
	cr_assert_eq(unstick_token_fd(token), -EMFILE);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_token_error(token), -ECANCELED);
}

/* ---- life */

Test(token, a_child_keeps_its_parents)
{
	struct unstick_token *top = token_make(NULL), *middle = token_make(top), *bottom = token_make(middle);
	unstick_token_unref(middle);
	unstick_token_cancel(top);
	unstick_token_unref(top);
	cr_assert_eq(unstick_token_error(bottom), -ECANCELED);
	cr_assert_eq(top->refs, 1);
	unstick_token_unref(bottom);
	cr_assert(top->refs == 0 && middle->refs == 0 && bottom->refs == 0);
}

Test(token, with_its_last_reference_its_deadline_goes_too)
{
	struct unstick_token *token = token_make(NULL), *other;
	unstick_time soon = unstick_after_ms(10);
	set_deadline(token, soon);
	unstick_token_unref(token);
	other = token_make(NULL);
	cr_assert_eq(other, token, "this test is about memory that is used again");
	wait_past(soon + 1);
	cr_assert_eq(unstick_token_error(other), 0, "fired by the deadline of the token that was here before");
	cr_assert_eq(unstick_token_error(token_make(other)), 0);
}

Test(token, siblings_leave_the_tree_in_any_order)
{
	struct unstick_token *top = token_make(NULL), *child[3];
	for (int leaving = 0; leaving < 3; leaving++) {
		for (int i = 0; i < 3; i++)
			child[i] = token_make(top);
		unstick_token_unref(child[leaving]);
		child[leaving] = NULL;
		int n = 0;
		for (struct unstick_token *at = top->children; at; at = at->next, n++)
			cr_assert(at == child[0] || at == child[1] || at == child[2]);
		cr_assert_eq(n, 2);
		for (int i = 0; i < 3; i++)
			unstick_token_unref(child[i]);
		cr_assert_null(top->children);
	}
}

/* ---- in a signal handler */

static struct unstick_token *handlers_token;
static volatile int handlers_result;

static void cancel_in_handler(int signal)
{
	(void)signal;
	handlers_result = unstick_token_cancel(handlers_token);
}

/* The handler has interrupted a holder of the lock: a cancel that waited for it would never come back. */
Test(token, cancel_in_a_handler_waits_for_no_lock_and_is_told_at_the_release)
{
	struct unstick_token *top = token_make(NULL), *bottom = token_make(top);
	int fd = unstick_token_fd(top), fd_below = unstick_token_fd(bottom);
	struct sigaction action = {.sa_handler = cancel_in_handler};
	handlers_token = top;
	handlers_result = -1;
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	lock_take(&token_lock);
	raise(SIGUSR1);
	cr_assert_eq(handlers_result, 0);
	cr_assert_eq(unstick_token_error(bottom), -ECANCELED, "the truth does not wait for the lock");
	cr_assert_not(is_readable(fd), "the lock was not respected");
	token_unlock();
	cr_assert(is_readable(fd) && is_readable(fd_below));
}

Test(token, one_that_loses_its_last_reference_while_it_waits_to_be_told_is_whole)
{
	struct unstick_token *token = token_make(NULL);
	struct sigaction action = {.sa_handler = cancel_in_handler};
	handlers_token = token;
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	lock_take(&token_lock);
	raise(SIGUSR1);
	cr_assert_eq(token->refs, 2, "the list of fired tokens must hold a reference");
	token_unlock();
	cr_assert_eq(token->refs, 1);
	unstick_token_unref(token);
	cr_assert_eq(token->refs, 0);
}
