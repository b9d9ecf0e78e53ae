/* SPDX-License-Identifier: MIT
 *
 * Pools and thread jobs through the public header: every state that an ordinary process can bring about, each end of a job, close.
 * What is refused: test_pool_misuse.c. Jobs that nothing can end: tests/pool/hung_jobs.c. Programs: tests/pool/processes.c.
 */
#include "helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static int fds[2];
static struct unstick_pool *pool;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void setup(void)
{
	pipe_empty(fds);
}

TestSuite(pool, .init = setup, .timeout = 60);

static void open_pool(unsigned threads, int64_t grace_ns)
{
	const struct unstick_pool_options options = {
	        .size = sizeof options, .threads = threads, .queue = 4, .abandoned = 2, .grace_ns = grace_ns};
	cr_assert_eq(unstick_pool_new(&pool, &options), 0);
}

static struct unstick_job *start_with(void *(*run)(void *), void *arg, struct unstick_token *token, unstick_time deadline)
{
	struct unstick_job *job = NULL;
	const struct unstick_job_options options = {
	        .size = sizeof options, .name = "test", .run = run, .arg = arg, .token = token, .deadline = deadline};
	cr_assert_eq(unstick_job_start(pool, &options, &job), 0);
	return job;
}

static struct unstick_job *start(void *(*run)(void *), void *arg)
{
	return start_with(run, arg, NULL, 0);
}

static int join(struct unstick_job *job, void **result)
{
	return unstick_job_join(job, UNSTICK_NEVER, result);
}

static struct unstick_pool_counts stats(void)
{
	struct unstick_pool_counts now;
	cr_assert_eq(unstick_pool_stats(pool, &now), 0);
	return now;
}

#define assert_state(job, wanted)                                                                                    \
	cr_assert_eq(unstick_job_state(job), (wanted), "%s, not %s", unstick_job_state_name(unstick_job_state(job)), \
	             unstick_job_state_name(wanted))

static void close_all(void)
{
	struct unstick_left left;
	cr_assert_eq(unstick_pool_close(pool, UNSTICK_NEVER, &left), 0);
	pool = unstick_pool_free(pool);
}

/* ---- what jobs do */

static _Atomic pid_t job_tid;
static _Atomic unsigned runs;

static void *come(void *arg)
{
	atomic_fetch_add(&runs, 1);
	return arg;
}

/* A foreign read: what it gave, negative errors. */
static void *read_once(void *arg)
{
	char byte;
	(void)arg;
	atomic_store(&job_tid, (pid_t)syscall(SYS_gettid));
	ssize_t n = read(fds[0], &byte, 1);
	return (void *)(n < 0 ? -(intptr_t)errno : (intptr_t)n);
}

static void *lock_mutex(void *arg)
{
	atomic_store(&job_tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	return arg;
}

static void wait_blocked(long nr)
{
	wait_for(atomic_load(&job_tid));
	wait_for(is_blocked_in(atomic_load(&job_tid), nr));
}

static struct unstick_job *start_blocked(struct unstick_token *token, unstick_time deadline)
{
	atomic_store(&job_tid, 0);
	struct unstick_job *job = start_with(read_once, NULL, token, deadline);
	wait_blocked(SYS_read);
	assert_state(job, UNSTICK_JOB_RUNNING);
	return job;
}

/* A job that holds the only thread until its mutex is unlocked. */
static struct unstick_job *occupy(void)
{
	pthread_mutex_lock(&mutex);
	atomic_store(&job_tid, 0);
	struct unstick_job *job = start(lock_mutex, NULL);
	wait_blocked(SYS_futex);
	return job;
}

/* ---- it runs */

static void *who_am_i(void *arg)
{
	char name[16];
	cr_assert_eq(pthread_getname_np(pthread_self(), name, sizeof name), 0);
	*(struct unstick_job **)arg = unstick_job_self();
	return strdup(name);
}

Test(pool, a_job_runs_and_its_result_is_kept)
{
	struct unstick_job *self = NULL;
	void *result = NULL;
	open_pool(0, 0);
	cr_assert_null(unstick_job_self());
	struct unstick_job *job = start(who_am_i, &self);
	cr_assert_eq(join(job, &result), 0);
	cr_assert_str_eq(result, "test", "the thread has the job's name");
	cr_assert_eq(self, job);
	assert_state(job, UNSTICK_JOB_DONE);
	cr_assert_eq(join(job, NULL), 0, "again");
	free(result);
	unstick_job_unref(job);
	cr_assert_eq(stats().done, 1);
	close_all();
}

Test(pool, jobs_begin_in_the_order_in_which_they_were_started)
{
	struct unstick_job *jobs[4];
	void *result;
	open_pool(1, 0);
	struct unstick_job *first = occupy();
	for (intptr_t i = 0; i < 4; i++)
		jobs[i] = start(come, (void *)i);
	assert_state(jobs[3], UNSTICK_JOB_QUEUED);
	cr_assert_eq(stats().queued, 4);
	pthread_mutex_unlock(&mutex);
	for (intptr_t i = 0; i < 4; i++) {
		cr_assert_eq(join(jobs[i], &result), 0);
		cr_assert_eq((intptr_t)result, i);
		unstick_job_unref(jobs[i]);
	}
	cr_assert_eq(join(first, NULL), 0);
	cr_assert_eq(stats().threads, 1);
	unstick_job_unref(first);
	close_all();
}

Test(pool, threads_are_started_while_there_is_work_for_them)
{
	struct unstick_job *jobs[3];
	open_pool(3, 0);
	for (int i = 0; i < 3; i++)
		jobs[i] = start_blocked(NULL, 0);
	cr_assert_eq(stats().threads, 3);
	cr_assert_eq(stats().running, 3);
	for (int i = 0; i < 3; i++)
		write_byte(fds[1]);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(join(jobs[i], NULL), 0);
		unstick_job_unref(jobs[i]);
	}
	struct unstick_job *more = start(come, NULL);
	cr_assert_eq(join(more, NULL), 0, "an idle one takes it");
	unstick_job_unref(more);
	cr_assert_eq(stats().threads, 3);
	close_all();
}

/* ---- it is cut short */

Test(pool, a_blocked_job_is_cancelled)
{
	struct unstick_outcome outcome;
	void *result = NULL;
	open_pool(0, 0);
	struct unstick_job *job = start_blocked(NULL, 0);
	cr_assert_eq(unstick_job_cancel(job), 0);
	cr_assert_eq(join(job, &result), -ECANCELED);
	cr_assert_eq((intptr_t)result, -ECANCELED, "what it returned is stored: %ld", (long)(intptr_t)result);
	assert_state(job, UNSTICK_JOB_CANCELLED);
	cr_assert_eq(unstick_job_outcome(job, &outcome), 0);
	cr_assert(outcome.nr == SYS_read && outcome.fd == fds[0] && outcome.tid == job_tid && outcome.signals > 0);
	cr_assert_eq(unstick_job_cancel(job), 0, "again");
	unstick_job_unref(job);
	close_all();
}

Test(pool, a_blocked_job_comes_out_at_its_deadline)
{
	void *result = NULL;
	open_pool(0, 0);
	for (int64_t ms = 20; !result; ms *= 2) { /* on a busy machine it may be over before the job begins */
		struct unstick_job *job = start_with(read_once, NULL, NULL, unstick_after_ms(ms));
		cr_assert_eq(join(job, &result), -ETIMEDOUT);
		assert_state(job, UNSTICK_JOB_TIMED_OUT);
		unstick_job_unref(job);
	}
	cr_assert_eq((intptr_t)result, -ETIMEDOUT);
	close_all();
}

Test(pool, the_callers_token_cuts_all_its_jobs)
{
	struct unstick_token *token = token_make(NULL);
	struct unstick_job *jobs[3];
	open_pool(0, 0);
	for (int i = 0; i < 3; i++)
		jobs[i] = start_blocked(token, 0);
	unstick_token_cancel(token);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(join(jobs[i], NULL), -ECANCELED);
		unstick_job_unref(jobs[i]);
	}
	unstick_token_unref(token);
	close_all();
}

static _Atomic bool stop_loop;

static void *loop_with_checks(void *arg)
{
	unsigned long rounds = 0;
	atomic_store(&job_tid, (pid_t)syscall(SYS_gettid));
	while (!unstick_check() && !atomic_load(&stop_loop))
		rounds++;
	return rounds ? arg : NULL;
}

Test(pool, a_loop_that_checks_comes_out)
{
	struct unstick_outcome outcome;
	void *result = NULL;
	open_pool(0, 0);
	struct unstick_job *job = start(loop_with_checks, fds);
	wait_for(atomic_load(&job_tid));
	unstick_job_cancel(job);
	cr_assert_eq(join(job, &result), -ECANCELED);
	cr_assert_eq(result, fds);
	cr_assert_eq(unstick_job_outcome(job, &outcome), 0);
	cr_assert(outcome.kind == UNSTICK_WOKEN && outcome.error == -ECANCELED, "%s", unstick_kind_name(outcome.kind));
	cr_assert(outcome.nr == -1 && outcome.fd == -1 && outcome.signals == 0, "it was in no call");
	unstick_job_unref(job);
	close_all();
}

static void *ignore_the_token(void *arg)
{
	atomic_store(&job_tid, (pid_t)syscall(SYS_gettid));
	while (!atomic_load(&stop_loop))
		;
	return arg;
}

Test(pool, a_job_in_which_nothing_was_cut_is_done_although_it_was_cancelled)
{
	void *result = NULL;
	open_pool(0, 0);
	struct unstick_job *job = start(ignore_the_token, fds);
	wait_for(atomic_load(&job_tid));
	unstick_job_cancel(job);
	atomic_store(&stop_loop, true);
	cr_assert_eq(join(job, &result), 0);
	cr_assert_eq(result, fds);
	assert_state(job, UNSTICK_JOB_DONE);
	unstick_job_unref(job);
	close_all();
}

static _Atomic(struct unstick_job *) to_cancel;

static void cancel_in_handler(int signal)
{
	(void)signal;
	unstick_job_cancel(atomic_load(&to_cancel));
}

Test(pool, a_cancel_from_a_handler_on_the_blocked_job_itself)
{
	struct sigaction action = {.sa_handler = cancel_in_handler, .sa_flags = SA_RESTART};
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	open_pool(0, 0);
	struct unstick_job *job = start_blocked(NULL, 0);
	atomic_store(&to_cancel, job);
	cr_assert_eq(tgkill(getpid(), job_tid, SIGUSR1), 0);
	cr_assert_eq(join(job, NULL), -ECANCELED);
	unstick_job_unref(job);
	close_all();
}

/* ---- it never runs */

Test(pool, a_job_cut_short_before_it_began_never_runs)
{
	struct unstick_outcome outcome;
	struct unstick_token *token = token_make(NULL);
	void *result = fds;
	open_pool(1, 0);
	struct unstick_job *first = occupy();
	struct unstick_job *cancelled = start(come, NULL), *late = start_with(come, NULL, NULL, unstick_after_ms(1));
	struct unstick_job *held = start_with(come, NULL, token, 0);
	unstick_job_cancel(cancelled);
	unstick_token_cancel(token);
	cr_assert_eq(join(cancelled, &result), -ECANCELED);
	cr_assert_null(result);
	cr_assert_eq(join(late, NULL), -ETIMEDOUT);
	cr_assert_eq(join(held, NULL), -ECANCELED);
	assert_state(cancelled, UNSTICK_JOB_CANCELLED);
	assert_state(late, UNSTICK_JOB_TIMED_OUT);
	cr_assert_eq(unstick_job_outcome(cancelled, &outcome), 0);
	cr_assert_eq(outcome.kind, UNSTICK_NONE);
	cr_assert_eq(stats().queued, 0);
	struct unstick_job *at_once = start_with(come, NULL, token, 0);
	cr_assert_eq(join(at_once, NULL), -ECANCELED, "the token had fired before");
	struct unstick_job *too_late = start_with(come, NULL, NULL, 1);
	cr_assert_eq(join(too_late, NULL), -ETIMEDOUT, "so had its time");
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(join(first, NULL), 0);
	cr_assert_eq(runs, 0);
	struct unstick_job *all[] = {first, cancelled, late, held, at_once, too_late};
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		unstick_job_unref(all[i]);
	unstick_token_unref(token);
	close_all();
}

Test(pool, a_full_queue_is_refused)
{
	struct unstick_job *job = NULL;
	const struct unstick_job_options options = {.size = sizeof options, .run = come};
	open_pool(1, 0);
	struct unstick_job *first = occupy();
	for (int i = 0; i < 4; i++)
		cr_assert_eq(unstick_job_start(pool, &options, NULL), 0);
	cr_assert_eq(unstick_job_start(pool, &options, &job), -EAGAIN);
	cr_assert_null(job, "written only on success");
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(join(first, NULL), 0);
	wait_for(stats().done == 5);
	unstick_job_unref(first);
	close_all();
}

Test(pool, what_a_free_thread_will_take_does_not_count_for_the_queue)
{
	enum { MANY = 40 };
	const struct unstick_pool_options narrow = {.size = sizeof narrow, .threads = MANY, .queue = 1};
	const struct unstick_job_options options = {.size = sizeof options, .run = lock_mutex};
	cr_assert_eq(unstick_pool_new(&pool, &narrow), 0);
	pthread_mutex_lock(&mutex);
	for (int i = 0; i < MANY + 1; i++)
		cr_assert_eq(unstick_job_start(pool, &options, NULL), 0, "job %d", i);
	cr_assert_eq(unstick_job_start(pool, &options, NULL), -EAGAIN, "all threads are taken, and the place in the queue");
	pthread_mutex_unlock(&mutex);
	wait_for(stats().done == MANY + 1);
	close_all();
}

/* ---- it leaves its thread */

static void *exit_thread(void *arg)
{
	(void)arg;
	pthread_exit(fds);
}

static void *exit_when_cut(void *arg)
{
	if ((intptr_t)read_once(arg) < 0)
		pthread_exit(fds);
	return arg;
}

Test(pool, a_job_that_leaves_by_pthread_exit_has_failed)
{
	void *result = fds;
	open_pool(1, 0);
	struct unstick_job *job = start(exit_thread, NULL);
	cr_assert_eq(join(job, &result), -ESRCH);
	cr_assert_null(result);
	assert_state(job, UNSTICK_JOB_FAILED);
	unstick_job_unref(job);
	atomic_store(&job_tid, 0);
	job = start(exit_when_cut, NULL);
	wait_blocked(SYS_read);
	unstick_job_cancel(job);
	cr_assert_eq(join(job, NULL), -ECANCELED, "it was cut short, and may leave as it likes");
	unstick_job_unref(job);
	job = start(come, fds);
	cr_assert_eq(join(job, &result), 0, "another thread has taken its place");
	cr_assert_eq(result, fds);
	unstick_job_unref(job);
	close_all();
}

/* ---- it does not come out */

Test(pool, a_job_in_a_lock_is_abandoned_replaced_and_reaped)
{
	struct unstick_outcome outcome;
	void *result = fds;
	open_pool(1, 30 * 1000000);
	struct unstick_job *stuck = occupy(), *behind = start(come, fds);
	unstick_job_cancel(stuck);
	cr_assert_eq(join(stuck, &result), -ECANCELED);
	cr_assert_null(result);
	assert_state(stuck, UNSTICK_JOB_ABANDONED);
	cr_assert_eq(unstick_job_outcome(stuck, &outcome), 0);
	cr_assert(outcome.kind == UNSTICK_LOCK && outcome.nr == SYS_futex && outcome.state == 'S' && outcome.signals == 0);
	cr_assert(is_blocked_in(job_tid, SYS_futex), "and so it is");
	cr_assert_eq(join(behind, &result), 0, "another thread has taken its place");
	cr_assert(stats().abandoned == 1 && stats().threads == 1);
	pthread_mutex_unlock(&mutex);
	wait_for(unstick_job_state(stuck) != UNSTICK_JOB_ABANDONED);
	assert_state(stuck, UNSTICK_JOB_CANCELLED);
	cr_assert(stats().came_back == 1 && stats().abandoned == 0 && stats().abandoned_ever == 1 && stats().cancelled == 1);
	unstick_job_unref(stuck);
	unstick_job_unref(behind);
	close_all();
}

/* Cut in its first read, then in one behind a shield. */
static void *read_again_behind_a_shield(void *arg)
{
	char byte;
	intptr_t first = (intptr_t)read_once(arg);
	unstick_shield_begin();
	atomic_fetch_add(&runs, 1);
	ssize_t n = read(fds[0], &byte, 1);
	unstick_shield_end();
	return (void *)(first == -ECANCELED ? (intptr_t)n : first);
}

Test(pool, of_a_job_behind_a_shield_that_is_told)
{
	struct unstick_outcome outcome;
	struct unstick_left left;
	char text[400];
	void *result = NULL;
	open_pool(1, 30 * 1000000);
	struct unstick_job *job = start(read_again_behind_a_shield, NULL);
	wait_blocked(SYS_read);
	unstick_job_cancel(job);
	cr_assert_eq(join(job, NULL), -ECANCELED);
	assert_state(job, UNSTICK_JOB_ABANDONED);
	wait_for(runs == 1 && is_blocked_in(job_tid, SYS_read));
	cr_assert_eq(unstick_job_outcome(job, &outcome), 0);
	unstick_outcome_print(&outcome, text, sizeof text);
	cr_assert(outcome.kind == UNSTICK_SHIELDED && outcome.nr == SYS_read && outcome.fd == fds[0], "%s", text);
	cr_assert(strstr(text, ": behind a shield: its clean-up has not ended"), "%s", text);
	cr_assert_eq(unstick_pool_close(pool, 0, &left), -EBUSY);
	cr_assert_eq(left.jobs[0].outcome.kind, UNSTICK_SHIELDED);
	cr_assert(strstr(left.what, ": behind a shield"), "%s", left.what);
	write_byte(fds[1]);
	wait_for(unstick_job_state(job) == UNSTICK_JOB_CANCELLED);
	cr_assert_eq(join(job, &result), -ECANCELED);
	cr_assert_eq((intptr_t)result, 1, "the shield held it off: %ld", (long)(intptr_t)result);
	unstick_job_unref(job);
	close_all();
}

static void *read_behind_a_shield(void *arg)
{
	unstick_shield_begin();
	void *result = read_once(arg);
	unstick_shield_end();
	return result;
}

Test(pool, an_outcome_is_the_jobs_own_and_that_of_its_last_moment)
{
	struct unstick_outcome outcome;
	open_pool(1, 30 * 1000000);
	struct unstick_job *before = start_blocked(NULL, 0);
	unstick_job_cancel(before);
	cr_assert_eq(join(before, NULL), -ECANCELED);
	atomic_store(&job_tid, 0);
	struct unstick_job *job = start(read_behind_a_shield, NULL);
	wait_blocked(SYS_read);
	unstick_job_cancel(job);
	cr_assert_eq(join(job, NULL), -ECANCELED);
	cr_assert_eq(unstick_job_outcome(job, &outcome), 0);
	cr_assert(outcome.kind == UNSTICK_SHIELDED && outcome.signals == 0, "the signal was the other job's");
	write_byte(fds[1]);
	wait_for(unstick_job_state(job) == UNSTICK_JOB_CANCELLED);
	cr_assert_eq(unstick_job_outcome(job, &outcome), 0);
	cr_assert_eq(outcome.kind, UNSTICK_FINISHED_FIRST, "%s", unstick_kind_name(outcome.kind));
	unstick_job_unref(before);
	unstick_job_unref(job);
	close_all();
}

Test(pool, too_many_abandoned_are_refused)
{
	const struct unstick_job_options options = {.size = sizeof options, .run = come};
	struct unstick_job *jobs[2];
	open_pool(0, 1000000);
	pthread_mutex_lock(&mutex);
	for (int i = 0; i < 2; i++) {
		atomic_store(&job_tid, 0);
		jobs[i] = start(lock_mutex, NULL);
		wait_blocked(SYS_futex);
		unstick_job_cancel(jobs[i]);
		cr_assert_eq(join(jobs[i], NULL), -ECANCELED);
	}
	cr_assert_eq(unstick_job_start(pool, &options, NULL), -EAGAIN);
	pthread_mutex_unlock(&mutex);
	wait_for(stats().came_back == 2);
	cr_assert_eq(unstick_job_start(pool, &options, NULL), 0);
	for (int i = 0; i < 2; i++)
		unstick_job_unref(jobs[i]);
	close_all();
}

/* ---- join */

Test(pool, join_until_a_time)
{
	open_pool(0, 0);
	struct unstick_job *job = start_blocked(NULL, 0);
	cr_assert_eq(unstick_job_join(job, 0, NULL), -EBUSY);
	cr_assert_eq(unstick_job_join(job, unstick_after_ms(5), NULL), -EBUSY);
	assert_state(job, UNSTICK_JOB_RUNNING);
	write_byte(fds[1]);
	cr_assert_eq(join(job, NULL), 0);
	unstick_job_unref(job);
	close_all();
}

Test(pool, a_scope_of_the_caller_cuts_the_join)
{
	struct unstick_scope scope;
	void *result = fds;
	open_pool(0, 0);
	struct unstick_job *job = start_blocked(NULL, 0);
	cr_assert_eq(unstick_scope_begin(&scope, NULL, unstick_after_ms(5)), 0);
	cr_assert_eq(join(job, &result), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	assert_state(job, UNSTICK_JOB_RUNNING);
	cr_assert_eq(result, fds, "left alone");
	write_byte(fds[1]);
	cr_assert_eq(join(job, NULL), 0);
	unstick_job_unref(job);
	close_all();
}

static void *misuse(void *arg)
{
	intptr_t joined = unstick_job_join(unstick_job_self(), UNSTICK_NEVER, NULL);
	intptr_t closed = unstick_pool_close(pool, UNSTICK_NEVER, NULL);
	bool refused = unstick_pool_free(pool) == pool;
	(void)arg;
	return (void *)(intptr_t)(joined == -EDEADLK && closed == -EDEADLK && refused);
}

Test(pool, a_job_that_waits_for_itself_is_told)
{
	void *result = NULL;
	open_pool(0, 0);
	struct unstick_job *job = start(misuse, NULL);
	cr_assert_eq(join(job, &result), 0);
	cr_assert_eq((intptr_t)result, 1);
	unstick_job_unref(job);
	close_all();
}

/* ---- close */

Test(pool, close_cancels_all_and_takes_no_more)
{
	const struct unstick_job_options options = {.size = sizeof options, .run = come};
	struct unstick_token *token = token_make(NULL);
	struct unstick_left left;
	open_pool(2, 0);
	struct unstick_job *own = start_blocked(token, 0), *plain = start_blocked(NULL, 0), *queued = start(come, NULL);
	cr_assert_eq(unstick_pool_close(pool, UNSTICK_NEVER, &left), 0);
	assert_state(own, UNSTICK_JOB_CANCELLED);
	assert_state(plain, UNSTICK_JOB_CANCELLED);
	assert_state(queued, UNSTICK_JOB_CANCELLED);
	cr_assert_eq(runs, 0);
	cr_assert_eq(unstick_token_error(token), 0, "the caller's token is the caller's");
	cr_assert_eq(unstick_job_start(pool, &options, NULL), -ESHUTDOWN);
	wait_for(stats().threads == 0);
	cr_assert_eq(unstick_pool_close(pool, 0, NULL), 0, "again");
	pool = unstick_pool_free(pool);
	cr_assert_eq(join(own, NULL), -ECANCELED, "handles outlive the pool");
	unstick_job_unref(own);
	unstick_job_unref(plain);
	unstick_job_unref(queued);
	unstick_token_unref(token);
}

Test(pool, close_names_what_is_left)
{
	struct unstick_left left;
	char text[1024];
	open_pool(1, 0);
	struct unstick_job *stuck = occupy(), *queued = start(come, NULL);
	cr_assert_eq(unstick_pool_close(pool, unstick_after_ms(5), &left), -EBUSY);
	cr_assert(left.count == 1 && left.listed == 1 && left.tid == job_tid && left.jobs[0].tid == job_tid);
	cr_assert_str_eq(left.jobs[0].name, "test");
	cr_assert(left.jobs[0].outcome.kind == UNSTICK_LOCK && left.jobs[0].running_ns > 0 && !left.holds_exit);
	int length = unstick_left_print(&left, text, sizeof text);
	cr_assert_eq(length, (int)strlen(text));
	char begin[80];
	snprintf(begin, sizeof begin, "\"test\" (thread %d) in futex", (int)job_tid);
	cr_assert_eq(strncmp(text, begin, strlen(begin)), 0, "%s", text);
	cr_assert(strstr(text, "a lock: only its owner"), "%s", text);
	cr_assert_eq(unstick_left_print(NULL, text, sizeof text), -EINVAL);
	assert_state(stuck, UNSTICK_JOB_ABANDONED);
	cr_assert_eq(join(stuck, NULL), -ECANCELED);
	cr_assert_eq(join(queued, NULL), -ECANCELED);
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(unstick_pool_close(pool, UNSTICK_NEVER, &left), 0, "it has come back");
	unstick_job_unref(stuck);
	unstick_job_unref(queued);
	pool = unstick_pool_free(pool);
}

static void *lock_other(void *mutex_of_its_own)
{
	atomic_store(&job_tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(mutex_of_its_own);
	pthread_mutex_unlock(mutex_of_its_own);
	return NULL;
}

Test(pool, what_is_left_is_told_of_the_oldest_though_another_was_abandoned_first)
{
	static pthread_mutex_t other = PTHREAD_MUTEX_INITIALIZER;
	struct unstick_left left;
	open_pool(2, 1000000);
	struct unstick_job *oldest = occupy();
	pid_t oldest_tid = job_tid;
	pthread_mutex_lock(&other);
	atomic_store(&job_tid, 0);
	struct unstick_job *first = start(lock_other, &other);
	wait_blocked(SYS_futex);
	unstick_job_cancel(first);
	cr_assert_eq(join(first, NULL), -ECANCELED);
	cr_assert_eq(unstick_pool_close(pool, unstick_now(), &left), -EBUSY);
	cr_assert(left.count == 2 && left.listed == 2 && left.jobs[0].tid == job_tid && left.jobs[1].tid == oldest_tid);
	cr_assert(left.tid == oldest_tid && left.oldest_ns == left.jobs[1].running_ns && left.oldest_ns > left.jobs[0].running_ns);
	char begin[80];
	snprintf(begin, sizeof begin, "\"test\" (thread %d) in futex", (int)oldest_tid);
	cr_assert_eq(strncmp(left.what, begin, strlen(begin)), 0, "%s", left.what);
	pthread_mutex_unlock(&mutex);
	pthread_mutex_unlock(&other);
	unstick_job_unref(oldest);
	unstick_job_unref(first);
	close_all();
}

Test(pool, a_pool_freed_with_a_stuck_job_lives_until_it_comes_back)
{
	open_pool(1, 0);
	struct unstick_job *stuck = occupy();
	pool = unstick_pool_free(pool);
	cr_assert_null(pool);
	assert_state(stuck, UNSTICK_JOB_ABANDONED);
	pthread_mutex_unlock(&mutex);
	wait_for(unstick_job_state(stuck) == UNSTICK_JOB_CANCELLED);
	unstick_job_unref(stuck);
	wait_for(threads_named("test") == 0);
}

/* ---- fork, masks, misuse */

static int use_parents(void *arg)
{
	const struct unstick_job_options options = {.size = sizeof options, .run = come};
	struct unstick_pool_counts unused;
	struct unstick_job *job = arg, *other = NULL;
	struct unstick_pool *own = NULL;
	if (unstick_job_start(pool, &options, NULL) != -EOWNERDEAD || unstick_job_cancel(job) != -EOWNERDEAD)
		return 1;
	if (join(job, NULL) != -EOWNERDEAD || unstick_pool_close(pool, 0, NULL) != -EOWNERDEAD)
		return 2;
	if (unstick_pool_stats(pool, &unused) != -EOWNERDEAD || unstick_pool_free(pool))
		return 3;
	if (unstick_job_state(job) != -EOWNERDEAD || unstick_job_exit(job, &(struct unstick_exit){0}) != -EOWNERDEAD)
		return 6;
	if (unstick_pool_new(&own, NULL) || unstick_job_start(own, &options, &other) || join(other, NULL))
		return 4;
	return unstick_pool_close(own, UNSTICK_NEVER, NULL) ? 5 : 0;
}

Test(pool, in_a_forked_child_it_is_the_parents)
{
	open_pool(0, 0);
	struct unstick_job *job = start_blocked(NULL, 0);
	assert_right_in_child(use_parents, job);
	write_byte(fds[1]);
	cr_assert_eq(join(job, NULL), 0, "the parent's goes on");
	unstick_job_unref(job);
	close_all();
}

static int ask_for_self(void *unused)
{
	(void)unused;
	return unstick_job_self() != NULL;
}

static void *fork_in_job(void *arg)
{
	bool self = unstick_job_self();
	return (void *)(intptr_t)(self ? in_child(ask_for_self, arg) : -1);
}

Test(pool, no_job_runs_in_the_child_of_a_job)
{
	void *wrong = fds;
	open_pool(0, 0);
	struct unstick_job *job = start(fork_in_job, NULL);
	cr_assert_eq(join(job, &wrong), 0);
	cr_assert_eq((intptr_t)wrong, 0);
	unstick_job_unref(job);
	close_all();
}

static void *tell_mask(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, arg);
	return NULL;
}

Test(pool, threads_have_the_mask_of_who_made_the_pool_without_our_signal)
{
	sigset_t all, mask;
	sigfillset(&all);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	cr_assert_eq(unstick_init(NULL), 0);
	sigaddset(&mask, unstick_signal());
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	open_pool(0, 0);
	pthread_sigmask(SIG_SETMASK, &all, NULL); /* who starts the thread does not matter */
	struct unstick_job *job = start(tell_mask, &mask);
	cr_assert_eq(join(job, NULL), 0);
	cr_assert(sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2) && !sigismember(&mask, unstick_signal()));
	unstick_job_unref(job);
	close_all();
}

static void *block_all(void *arg)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return arg;
}

Test(pool, a_mask_that_a_job_leaves_is_not_the_next_ones)
{
	open_pool(1, 0);
	struct unstick_job *job = start(block_all, NULL);
	cr_assert_eq(join(job, NULL), 0);
	unstick_job_unref(job);
	job = start_blocked(NULL, 0);
	unstick_job_cancel(job);
	cr_assert_eq(join(job, NULL), -ECANCELED);
	assert_state(job, UNSTICK_JOB_CANCELLED);
	unstick_job_unref(job);
	close_all();
}
