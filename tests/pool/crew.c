/* SPDX-License-Identifier: MIT
 *
 * The threads of a pool. None can be started: a job that was taken fails, one that is refused is nobody's, whoever else wants to end it
 * at that moment. A job forks, and returns in the child. The monitor starts one, and nothing of the monitor's goes with it.
 * pthread_create() is this file's, for the library too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "unstick.h"

typedef int create_fn(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg);

/* Of the calling thread: its next threads cannot be started, */
static _Thread_local bool fails;
static _Thread_local struct unstick_token *to_cancel; /* ... which takes so long that this is cancelled, */
static _Thread_local pthread_barrier_t *to_wait_for;  /* ... or another thread has come to the same. */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *arg)
{
	static _Atomic(create_fn *) real;
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
	if (!fails)
		return real(thread, attributes, run, arg);
	if (to_wait_for)
		pthread_barrier_wait(to_wait_for);
	if (to_cancel)
		unstick_token_cancel(to_cancel);
	for (int i = rand() % 1000; to_cancel && i > 0; i--)
		(void)unstick_now();
	return EAGAIN;
}

static struct unstick_pool *pool;

static void *come(void *arg)
{
	return arg;
}

static void open_pool(unsigned threads)
{
	const struct unstick_pool_options options = {.size = sizeof options, .threads = threads, .grace_ns = 1000000};
	CHECK(unstick_pool_new(&pool, &options) == 0, "unstick_pool_new");
}

static void close_pool(void)
{
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close");
	pool = unstick_pool_free(pool);
}

static int start(struct unstick_token *token, struct unstick_job **ret)
{
	const struct unstick_job_options options = {.size = sizeof options, .run = come, .token = token};
	return unstick_job_start(pool, &options, ret);
}

static struct unstick_job *start_good(void *(*run)(void *))
{
	struct unstick_job *job = NULL;
	const struct unstick_job_options options = {.size = sizeof options, .run = run};
	CHECK(unstick_job_start(pool, &options, &job) == 0, "unstick_job_start");
	return job;
}

/* Each has queued its job, and relies on the other's thread. */
static pthread_barrier_t both;
static struct unstick_job *jobs[2];
static int errors[2];

static void *start_without_thread(void *number)
{
	long i = (long)number;
	fails = true;
	to_wait_for = &both;
	errors[i] = start(NULL, &jobs[i]);
	return NULL;
}

static void two_at_once(void)
{
	pthread_t threads[2];
	open_pool(0);
	CHECK(pthread_barrier_init(&both, NULL, 2) == 0, "pthread_barrier_init");
	for (long i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, start_without_thread, (void *)i) == 0, "pthread_create");
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK(errors[0] == -EAGAIN || errors[1] == -EAGAIN, "%d, %d", errors[0], errors[1]);
	for (int i = 0; i < 2; i++) {
		CHECK(errors[i] || unstick_job_join(jobs[i], UNSTICK_NEVER, NULL) == -EAGAIN, "join");
		CHECK(errors[i] || unstick_job_state(jobs[i]) == UNSTICK_JOB_FAILED, "state");
		unstick_job_unref(jobs[i]);
	}
	close_pool();
}

/* The monitor takes it out of the queue at the same time. */
static void cancelled_meanwhile(void)
{
	enum { ROUNDS = 20000 };
	struct unstick_pool_counts counts;
	open_pool(0);
	for (int i = 0; i < ROUNDS; i++) {
		struct unstick_job *job = NULL;
		CHECK(unstick_token_new(&to_cancel, NULL) == 0, "unstick_token_new");
		fails = true;
		int error = start(to_cancel, &job);
		fails = false;
		CHECK(error == 0 || error == -EAGAIN, "%d", error);
		CHECK(error || unstick_job_join(job, UNSTICK_NEVER, NULL) == -ECANCELED, "join");
		unstick_job_unref(job);
		to_cancel = unstick_token_unref(to_cancel);
	}
	CHECK(unstick_pool_stats(pool, &counts) == 0, "stats");
	CHECK(counts.queued == 0 && counts.started == counts.cancelled, "%u queued, %lu started, %lu cancelled", counts.queued,
	      (unsigned long)counts.started, (unsigned long)counts.cancelled);
	close_pool();
}

static _Atomic bool go_on;
static pid_t parent;

/* The child, too, comes back to where the pool has called it. */
static void *fork_and_return(void *unused)
{
	int status = -1;
	WAIT_UNTIL(go_on);
	pid_t pid = fork();
	if (pid > 0)
		waitpid(pid, &status, 0);
	CHECK(pid == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "the child: %x", (unsigned)status);
	return unused;
}

static void *run_in_parent(void *unused)
{
	if (getpid() != parent)
		_exit(1);
	return unused;
}

static void child_returns(void)
{
	parent = getpid();
	open_pool(1);
	struct unstick_job *job = start_good(fork_and_return), *next = start_good(run_in_parent);
	atomic_store(&go_on, true);
	CHECK(unstick_job_join(job, UNSTICK_NEVER, NULL) == 0 && unstick_job_join(next, UNSTICK_NEVER, NULL) == 0, "join");
	unstick_job_unref(job);
	unstick_job_unref(next);
	close_pool();
}

static void *spin(void *unused)
{
	while (!atomic_load(&go_on))
		sched_yield();
	return unused;
}

static _Atomic int slack, policy;

static void *tell(void *unused)
{
	slack = prctl(PR_GET_TIMERSLACK);
	policy = sched_getscheduler(0);
	return unused;
}

/* The first is stuck, and what waits is given a thread by who abandons it. */
static void in_place_of(unsigned flags)
{
	const struct unstick_options options = {.size = sizeof options, .flags = flags};
	CHECK(unstick_init(&options) == 0, "unstick_init");
	open_pool(1);
	struct unstick_job *stuck = start_good(spin);
	WAIT_UNTIL(unstick_job_state(stuck) == UNSTICK_JOB_RUNNING);
	struct unstick_job *next = start_good(tell);
	unstick_job_cancel(stuck);
	CHECK(unstick_job_join(next, UNSTICK_NEVER, NULL) == 0, "join");
	CHECK(unstick_job_state(stuck) == UNSTICK_JOB_ABANDONED, "%s", unstick_job_state_name(unstick_job_state(stuck)));
	atomic_store(&go_on, true);
	CHECK(slack == prctl(PR_GET_TIMERSLACK), "timer slack %d ns", slack);
	CHECK(policy == SCHED_OTHER, "policy %d", policy);
	unstick_job_unref(stuck);
	unstick_job_unref(next);
	close_pool();
}

static void in_place(void)
{
	in_place_of(0);
}

static void in_place_realtime(void)
{
	in_place_of(UNSTICK_REALTIME);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "two jobs at once, each of which relies on the other's thread", two_at_once},
	        {2, "one that is cancelled just then", cancelled_meanwhile},
	        {3, "a job forks: the child ends with it, and runs none of the parent's", child_returns},
	        {4, "the monitor starts one: it has the creator's timer slack", in_place},
	        {5, "and no real-time priority", in_place_realtime},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
