/* SPDX-License-Identifier: MIT
 *
 * Watches: called once, on the background thread, with the reason; never after unstick_watch_free() has returned.
 */
#include "helpers.h"
#include <stdio.h>
#include "limit/token.h"

struct seen {
	_Atomic unsigned calls;
	_Atomic int error;
	_Atomic pid_t tid;
	struct unstick_watch *_Atomic watch, *_Atomic other;
	int gate; /* fd to read from before the return */
};

static void note(struct seen *seen, int error)
{
	atomic_store(&seen->error, error);
	atomic_store(&seen->tid, (pid_t)syscall(SYS_gettid));
	atomic_fetch_add(&seen->calls, 1);
}

static void see(void *arg, int error)
{
	note(arg, error);
}

static struct unstick_watch *watch(struct unstick_token *token, void (*fn)(void *, int), struct seen *seen)
{
	struct unstick_watch *made = NULL;
	cr_assert_eq(unstick_token_watch(token, &made, fn, seen), 0);
	cr_assert_not_null(made);
	return made;
}

/* The queue is first in, last out, so a watch that is queued alone and has run shows that the queue was emptied before. */
static void wait_until_queue_is_empty(void)
{
	struct seen last = {0};
	struct unstick_token *token = token_make(NULL);
	unstick_token_cancel(token);
	struct unstick_watch *made = watch(token, see, &last);
	wait_for(last.calls == 1);
	unstick_watch_free(made);
	unstick_token_unref(token);
}

Test(watch, free_of_null_is_nothing)
{
	cr_assert_null(unstick_watch_free(NULL));
}

Test(watch, is_called_once_with_the_reason_on_the_background_thread)
{
	struct seen cancelled = {0}, timed = {0};
	struct unstick_token *token = token_make(NULL), *other = token_make(NULL);
	struct unstick_watch *a = watch(token, see, &cancelled), *b = watch(other, see, &timed);
	wait_until_queue_is_empty();
	cr_assert_eq(cancelled.calls, 0, "before it fired");
	unstick_token_cancel(token);
	cr_assert_eq(unstick_token_set_deadline(other, unstick_after_ms(2)), 0);
	wait_for(cancelled.calls && timed.calls);
	unstick_token_cancel(token);
	unstick_token_cancel(other);
	wait_until_queue_is_empty();
	cr_assert(cancelled.calls == 1 && timed.calls == 1);
	cr_assert_eq(cancelled.error, -ECANCELED);
	cr_assert_eq(timed.error, -ETIMEDOUT);
	cr_assert_neq(cancelled.tid, (pid_t)syscall(SYS_gettid));
	cr_assert_eq(cancelled.tid, timed.tid, "one background thread");
	unstick_watch_free(a), unstick_watch_free(b);
}

Test(watch, is_called_when_the_token_has_fired_already)
{
	struct seen seen = {0};
	struct unstick_token *top = token_make(NULL);
	unstick_token_cancel(top);
	struct unstick_watch *made = watch(token_make(top), see, &seen);
	wait_for(seen.calls == 1);
	cr_assert_eq(seen.error, -ECANCELED);
	unstick_watch_free(made);
}

Test(watch, all_of_a_token_and_of_those_below_are_called)
{
	struct seen seen[6] = {0};
	struct unstick_token *top = token_make(NULL), *bottom = token_make(token_make(top));
	for (int i = 0; i < 6; i++)
		watch(i % 2 ? top : bottom, see, &seen[i]);
	unstick_token_cancel(top);
	for (int i = 0; i < 6; i++)
		wait_for(seen[i].calls == 1);
}

Test(watch, freed_before_the_token_fires_it_is_not_called)
{
	struct seen seen[3] = {0};
	struct unstick_token *token = token_make(NULL);
	struct unstick_watch *made[3];
	for (int i = 0; i < 3; i++)
		made[i] = watch(token, see, &seen[i]);
	cr_assert_null(unstick_watch_free(made[1])); /* out of the middle of the list */
	unstick_token_cancel(token);
	wait_for(seen[0].calls && seen[2].calls);
	wait_until_queue_is_empty();
	cr_assert_eq(seen[1].calls, 0);
}

Test(watch, keeps_a_reference_to_its_token)
{
	struct seen seen = {0};
	struct unstick_token *token = token_make(NULL);
	struct unstick_watch *made = watch(token, see, &seen);
	cr_assert_eq(token->refs, 2);
	unstick_token_unref(token);
	cr_assert_eq(unstick_token_error(token), 0);
	unstick_token_cancel(token);
	wait_for(seen.calls == 1);
	unstick_watch_free(made);
	wait_for(token->refs == 0);
}

/* ---- free while it runs */

static void see_and_wait(void *arg, int error)
{
	struct seen *seen = arg;
	char byte;
	note(seen, error);
	ssize_t n = read(seen->gate, &byte, 1);
	(void)n;
	atomic_fetch_add(&seen->calls, 1);
}

static long free_watch(void *arg)
{
	struct seen *seen = arg;
	unstick_watch_free(seen->watch);
	return seen->calls;
}

Test(watch, free_waits_for_a_running_call)
{
	struct seen seen = {0};
	struct worker freer;
	struct unstick_token *token = token_make(NULL);
	int gate[2];
	pipe_empty(gate);
	seen.gate = gate[0];
	seen.watch = watch(token, see_and_wait, &seen);
	unstick_token_cancel(token);
	wait_for(seen.calls == 1);
	worker_start(&freer, free_watch, &seen);
	worker_wait_blocked(&freer, SYS_futex);
	write_byte(gate[1]);
	cr_assert_eq(worker_join(&freer), 2, "free returned while the function was running");
}

static void see_and_free_itself(void *arg, int error)
{
	struct seen *seen = arg;
	unstick_watch_free(seen->watch);
	note(seen, error);
}

Test(watch, may_be_freed_by_its_own_function)
{
	struct seen seen = {0}, after = {0};
	struct unstick_token *token = token_make(NULL);
	seen.watch = watch(token, see_and_free_itself, &seen);
	watch(token, see, &after);
	unstick_token_cancel(token);
	wait_for(seen.calls == 1 && after.calls == 1);
	wait_until_queue_is_empty();
	cr_assert_eq(seen.calls, 1);
}

static void see_and_free_other(void *arg, int error)
{
	struct seen *seen = arg;
	if (seen->other)
		unstick_watch_free(atomic_exchange(&seen->other, NULL));
	note(seen, error);
}

/* Both are queued; whichever runs first takes the other one out of the queue. */
Test(watch, one_freed_while_it_is_queued_is_not_called)
{
	struct seen a = {0}, b = {0}, block = {0};
	struct unstick_token *token = token_make(NULL), *first = token_make(NULL);
	int gate[2];
	pipe_empty(gate);
	block.gate = gate[0];
	watch(first, see_and_wait, &block);
	unstick_token_cancel(first);
	wait_for(block.calls == 1); /* the background thread is held: what follows stays in the queue */
	a.watch = b.other = watch(token, see_and_free_other, &a);
	b.watch = a.other = watch(token, see_and_free_other, &b);
	b.other = a.watch;
	unstick_token_cancel(token);
	write_byte(gate[1]);
	wait_until_queue_is_empty();
	cr_assert_eq(a.calls + b.calls, 1);
}
