/* SPDX-License-Identifier: MIT
 *
 * Handles to threads: of the calling one, of any other, of one that has ended; records that are used again.
 */
#include "helpers.h"
#include <stdio.h>
#include "wake/thread.h"

static int fds[2];

static void setup(void)
{
	pipe_empty(fds);
}

TestSuite(thread, .init = setup);

static pid_t own_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static struct unstick_thread *find(pid_t tid)
{
	struct unstick_thread *thread = NULL;
	cr_assert_eq(unstick_thread_find(&thread, tid), 0);
	return thread;
}

static struct unstick_outcome last_outcome(const struct unstick_thread *thread)
{
	struct unstick_outcome outcome;
	cr_assert_eq(unstick_thread_outcome(thread, &outcome), 0);
	return outcome;
}

static long wait_at_gate(void *arg)
{
	char byte;
	(void)arg;
	return read(fds[0], &byte, 1);
}

static long attach_and_wait(void *arg)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
	return wait_at_gate(arg) + unstick_scope_end(&scope);
}

/* ---- handles */

Test(thread, self_is_one_record_with_a_reference_each_time)
{
	struct unstick_thread *a = unstick_thread_self(), *b = unstick_thread_self();
	cr_assert_not_null(a);
	cr_assert_eq(a, b);
	cr_assert_eq(unstick_thread_tid(a), own_tid());
	cr_assert_eq(a->refs, 3, "two handles, and one for being attached");
	cr_assert_eq(unstick_thread_ref(a), a);
	cr_assert_eq(a->refs, 4);
	for (int i = 0; i < 3; i++)
		cr_assert_null(unstick_thread_unref(a));
	cr_assert_eq(unstick_thread_self(), b, "it is attached as long as it lives");
}

Test(thread, null_is_nothing)
{
	struct unstick_outcome outcome;
	cr_assert_null(unstick_thread_ref(NULL));
	cr_assert_null(unstick_thread_unref(NULL));
	cr_assert_eq(unstick_thread_outcome(NULL, &outcome), -EINVAL);
	cr_assert_eq(unstick_thread_outcome(unstick_thread_self(), NULL), -EINVAL);
}

Test(thread, find_gives_an_attached_thread_its_own_record)
{
	struct unstick_thread *self = unstick_thread_self(), *found = find(own_tid());
	cr_assert_eq(found, self);
	cr_assert_eq(self->refs, 3);
}

Test(thread, find_gives_any_thread_a_handle)
{
	struct worker plain;
	worker_start(&plain, wait_at_gate, NULL);
	struct unstick_thread *thread = find(plain.tid);
	cr_assert_eq(unstick_thread_tid(thread), plain.tid);
	cr_assert_eq(last_outcome(thread).kind, UNSTICK_NONE);
	cr_assert_not(thread->attached);
	unstick_thread_unref(thread);
	write_byte(fds[1]);
	worker_join(&plain);
}

Test(thread, find_knows_no_threads_but_ours_and_writes_nothing_then)
{
	struct unstick_thread *thread = (struct unstick_thread *)&fds;
	struct worker ended;
	write_byte(fds[1]);
	worker_start(&ended, wait_at_gate, NULL);
	worker_join(&ended);
	wait_for(state_of(ended.tid) == '?');
	const pid_t foreign[] = {ended.tid, 0, -1, 1, getppid()};
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
		cr_assert_eq(unstick_thread_find(&thread, foreign[i]), -ESRCH, "tid %d", foreign[i]);
	cr_assert_eq((void *)thread, (void *)&fds);
}

/* ---- ended threads */

Test(thread, a_handle_outlives_its_thread)
{
	struct worker worker;
	struct unstick_outcome outcome;
	worker_start(&worker, attach_and_wait, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_thread *thread = find(worker.tid);
	write_byte(fds[1]);
	worker_join(&worker);
	cr_assert_eq(unstick_thread_tid(thread), worker.tid);
	cr_assert_eq(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome), 0);
	cr_assert_eq(outcome.kind, UNSTICK_GONE);
	cr_assert(outcome.signals == 0 && outcome.tid == worker.tid);
	unstick_thread_unref(thread);
}

Test(thread, its_outcome_can_be_read_after_it_has_ended)
{
	struct worker worker;
	worker_start(&worker, attach_and_wait, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_thread *thread = find(worker.tid);
	struct unstick_outcome put = {.kind = UNSTICK_LOCK, .nr = SYS_futex, .tid = worker.tid}, got;
	uint64_t words[sizeof put / sizeof(uint64_t)];
	memcpy(words, &put, sizeof put);
	seqbox_write(&thread->outcome, words, sizeof words / sizeof words[0]);
	write_byte(fds[1]);
	worker_join(&worker);
	got = last_outcome(thread);
	cr_assert_arr_eq(&got, &put, sizeof put);
	unstick_thread_unref(thread);
	cr_assert_eq(thread->tid, 0, "with the last handle the record is free");
	cr_assert_eq(unstick_thread_self(), thread, "and used again");
	cr_assert_eq(last_outcome(thread).kind, UNSTICK_NONE, "the next thread would be told of this one");
}

static int records(void)
{
	int n = 0;
	for (struct unstick_thread *thread = atomic_load(&thread_registry); thread; thread = thread->next)
		n++;
	return n;
}

Test(thread, records_of_ended_threads_are_used_again)
{
	struct worker worker;
	for (int i = 0; i < 50; i++) {
		write_byte(fds[1]);
		worker_start(&worker, attach_and_wait, NULL);
		worker_join(&worker);
	}
	cr_assert_leq(records(), 2, "%d records for 50 threads, one after the other", records());
}

Test(thread, a_record_used_again_has_nothing_of_the_thread_before)
{
	struct worker worker;
	worker_start(&worker, attach_and_wait, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_thread *first = find(worker.tid);
	write_byte(fds[1]);
	worker_join(&worker);
	unstick_thread_unref(first);
	worker_start(&worker, attach_and_wait, NULL);
	worker_wait_blocked(&worker, SYS_read);
	struct unstick_thread *second = find(worker.tid);
	cr_assert_eq(second, first, "this test is about memory that is used again");
	cr_assert_eq(second->tid, worker.tid);
	cr_assert(second->attached && !second->ended && second->depth == 1 && second->call_fd == -1);
	write_byte(fds[1]);
	worker_join(&worker);
}

/* A scope left open by a thread that ends must not be found by a canceller any more. */
static long leave_open(void *token)
{
	static struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	return 0;
}

Test(thread, ending_with_an_open_scope_takes_it_along)
{
	struct unstick_token *token = token_make(NULL);
	struct worker worker;
	worker_start(&worker, leave_open, token);
	worker_join(&worker);
	for (struct unstick_thread *thread = atomic_load(&thread_registry); thread; thread = thread->next)
		cr_assert(thread->depth == 0 && !(thread->window.state & STATE_ARMED));
	unstick_token_cancel(token);
	cr_assert_eq(unstick_token_wait(token, unstick_after_ms(10000)), 0);
}

static void exit_thread(int signal)
{
	(void)signal;
	pthread_exit(NULL);
}

static void *read_until_exit(void *worker)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
	atomic_store(&((struct worker *)worker)->tid, own_tid());
	return (void *)unstick_read(fds[0], &byte, 1);
}

static long foreign_read_in_scope(void *token)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	ssize_t n = read(fds[0], &byte, 1);
	long result = n < 0 ? -errno : n;
	int error = unstick_scope_end(&scope);
	return result == error ? result : -EPROTO;
}

/* The record of a thread that ended inside an own call must not say that its next thread is in one. */
Test(thread, ending_inside_an_own_call_leaves_nothing_to_the_next_thread)
{
	struct sigaction action = {.sa_handler = exit_thread};
	struct unstick_token *token = token_make(NULL);
	struct worker worker = {.tid = 0};
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	cr_assert_eq(pthread_create(&worker.thread, NULL, read_until_exit, &worker), 0);
	wait_for(atomic_load(&worker.tid));
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(pthread_kill(worker.thread, SIGUSR1), 0);
	cr_assert_eq(pthread_join(worker.thread, NULL), 0);
	worker_start(&worker, foreign_read_in_scope, token);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(records(), 1, "this test is about memory that is used again");
	unstick_token_cancel(token);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}

Test(thread, without_scopes_it_is_not_attached)
{
	struct unstick_token *token = token_make(NULL);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_check(), 0);
	unstick_shield_begin();
	unstick_shield_end();
	cr_assert_null(thread_current);
	cr_assert_eq(records(), 0);
}

enum { EXPIRING = 20 };

/* Returns whether the outcome lacks the call. */
static void *expire_twice(void *unused)
{
	struct unstick_thread *self = unstick_thread_self();
	struct unstick_token *token;
	struct unstick_scope scope;
	char byte;
	unstick_time deadline = unstick_after_ms(20);
	int error = unstick_token_new(&token, NULL);
	if (!error)
		error = unstick_token_set_deadline(token, deadline);
	unstick_scope_start(&scope, token, deadline);
	ssize_t n = read(fds[0], &byte, 1);
	while (unstick_now() < deadline + 2000000)
		; /* it runs while the second poke may be on its way */
	bool cut = unstick_scope_end(&scope) == -ETIMEDOUT && n < 0 && !error;
	struct unstick_outcome outcome = last_outcome(self);
	unstick_token_unref(token);
	unstick_thread_unref(self);
	(void)unused;
	return cut && outcome.kind == UNSTICK_WOKEN && outcome.nr != SYS_read ? &fds[0] : NULL;
}

/* The token's expiry and the scope's own each poke the thread, which runs at the second, having come out by the first. */
Test(thread, a_deadline_that_comes_twice_names_its_call, .timeout = 60)
{
	unsigned nameless = 0;
	for (int round = 0; round < 10; round++) {
		pthread_t threads[EXPIRING];
		for (int i = 0; i < EXPIRING; i++)
			cr_assert_eq(pthread_create(&threads[i], NULL, expire_twice, NULL), 0);
		for (int i = 0; i < EXPIRING; i++) {
			void *result;
			pthread_join(threads[i], &result);
			nameless += result != NULL;
		}
	}
	cr_expect_eq(nameless, 0, "%u of %d", nameless, 10 * EXPIRING);
}
