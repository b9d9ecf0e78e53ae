/* SPDX-License-Identifier: MIT
 *
 * A thread runs each job in a scope on the job's token and deadline; that scope is all that cancelling needs. What a job may do to its
 * thread: fork, and return in the child, whose only thread then ends; leave it by pthread_exit() (then the job has failed, unless it was cut short), leave scopes and shields open (they are
 * dropped), change its signal mask (it is set again for the next job) or its credentials (its own affair: say so in the manual, not here).
 */
#include "pool/crew.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "limit/time.h"
#include "pool/job.h"
#include "pool/process.h"
#include "wake/thread.h"

static const int64_t IDLE_LIFE = 10 * (int64_t)TIME_NS_PER_S;

_Thread_local struct unstick_job *job_current __attribute__((tls_model("initial-exec")));

/* ---- one job */

struct run {
	struct unstick_job *job;
	struct unstick_thread *self; /* the thread's own reference */
	struct unstick_scope scope;
	int error; /* it could not be started, or was left by pthread_exit() */
	void *result;
};

/* Of the program, not of the thread that waited for it. Under the lock. */
static void fill_program_outcome(struct unstick_job *job, int error)
{
	const pid_t pid = process_last_pid(job->process);
	if (!pid)
		return;
	job->outcome =
	        (struct unstick_outcome){.kind = UNSTICK_WOKEN, .error = error, .tid = pid, .nr = -1, .fd = -1, .state = '?'};
	job->outcome.signals = process_signals(job->process);
	job->outcome.ns = job->cut ? unstick_now() - job->cut : 0;
}

/* True: the thread is still one of the pool's. */
static bool end_run(struct run *run)
{
	struct unstick_job *job = run->job;
	int end = unstick_scope_end(&run->scope);
	bool cut = end == -ECANCELED || end == -ETIMEDOUT;
	job_current = NULL;
	lock_take(&job->pool->lock);
	if (cut && job->process)
		fill_program_outcome(job, end);
	else if (cut || atomic_load(&job->state) == UNSTICK_JOB_ABANDONED) /* what it was stuck in is over */
		(void)unstick_thread_outcome(job->thread, &job->outcome);
	lock_drop(&job->pool->lock);
	int state = cut ? job_state_of(end) : run->error ? UNSTICK_JOB_FAILED : UNSTICK_JOB_DONE;
	return !job_end(job, state, cut ? end : run->error, run->result);
}

static void leave_crew(struct unstick_pool *pool, bool counted)
{
	lock_take(&pool->lock);
	pool->threads -= counted;
	bool more = crew_wants_thread(pool);
	lock_drop(&pool->lock);
	if (more)
		crew_start_or_fail(pool);
	pool_drop(pool);
}

/* pthread_exit(), or pthread_cancel(). */
static void thread_exits(void *arg)
{
	struct run *run = arg;
	struct unstick_pool *pool = run->job->pool;
	if (pool_is_parents(pool))
		return;
	run->error = -ESRCH;
	run->result = NULL;
	bool counted = end_run(run);
	unstick_thread_unref(run->self);
	leave_crew(pool, counted);
}

static void call(struct run *run)
{
	struct unstick_job *job = run->job;
	pthread_cleanup_push(thread_exits, run);
	if (job->process) {
		run->error = process_run(job->process);
		run->result = (void *)(uintptr_t)process_result(job->process);
	} else {
		run->result = job->run(job->arg);
	}
	if (pool_is_parents(job->pool)) /* a child that the job has forked: it has no pool to go back to */
		pthread_exit(NULL);
	pthread_cleanup_pop(0);
}

/* A job that was cut short before this never runs: unstick_check() tells, and marks the scope. */
static bool run_job(struct unstick_job *job, struct unstick_thread *self)
{
	struct run run = {.job = job, .self = self};
	job_current = job;
	pthread_sigmask(SIG_SETMASK, &job->pool->mask, NULL); /* the job before may have left another */
	prctl(PR_SET_NAME, job->name);
	if (self)
		thread_forget_outcome(self); /* it may be the last job's */
	run.error = unstick_scope_begin(&run.scope, job->token, job->deadline);
	if (!run.error && !unstick_check())
		call(&run);
	return end_run(&run);
}

/* ---- threads */

/* Under the lock, which is dropped while it sleeps. NULL: there is none, and the thread may end. */
static struct unstick_job *next_job(struct unstick_pool *pool)
{
	unstick_time until = unstick_after_ns(IDLE_LIFE);
	while (!pool->queue.first && !pool->closing && unstick_now() < until) {
		uint32_t seen = atomic_load(&pool->bell);
		pool->idle++;
		lock_drop(&pool->lock);
		prctl(PR_SET_NAME, "unstick-job"); /* not the last job's any more */
		futex_sleep(&pool->bell, seen, until);
		lock_take(&pool->lock);
		pool->idle--;
	}
	return pool->closing ? NULL : pool->queue.first; /* who closes ends what is queued */
}

/* Under the lock. */
static void take(struct unstick_pool *pool, struct unstick_job *job, struct unstick_thread *self)
{
	job_list_remove(&pool->queue, job);
	job_list_add(&pool->running, job);
	job->begun = unstick_now();
	job->tid = gettid();
	job->thread = unstick_thread_ref(self);
	atomic_store(&job->state, UNSTICK_JOB_RUNNING);
}

static bool work(struct unstick_pool *pool, struct unstick_thread *self)
{
	bool stays = true;
	struct unstick_job *job;
	lock_take(&pool->lock);
	pool->starting--;
	while (stays && (job = next_job(pool))) {
		take(pool, job, self);
		lock_drop(&pool->lock);
		stays = run_job(job, self);
		lock_take(&pool->lock);
	}
	lock_drop(&pool->lock);
	return stays;
}

static void *thread_main(void *arg)
{
	struct unstick_pool *pool = arg;
	pthread_sigmask(SIG_SETMASK, &pool->mask, NULL);
	prctl(PR_SET_TIMERSLACK, pool->timer_slack);         /* the monitor, which may have started it, has a short one */
	struct unstick_thread *self = unstick_thread_self(); /* NULL, without memory: unstick_scope_begin() then fails each job */
	bool counted = work(pool, self);
	unstick_thread_unref(self);
	leave_crew(pool, counted);
	return NULL;
}

static int create(struct unstick_pool *pool)
{
	pthread_attr_t attributes;
	pthread_t thread;
	if (pthread_attr_init(&attributes))
		return -ENOMEM;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pool->stack)
		pthread_attr_setstacksize(&attributes, pool->stack);
	int error = -pthread_create(&thread, &attributes, thread_main, pool);
	pthread_attr_destroy(&attributes);
	return error;
}

bool crew_wants_thread(struct unstick_pool *pool)
{
	if (pool->closing || pool->queue.count <= pool->idle + pool->starting || pool->threads >= pool->most_threads)
		return false;
	pool->threads++;
	pool->starting++;
	return true;
}

int crew_start(struct unstick_pool *pool)
{
	pool_hold(pool);
	int error = create(pool);
	if (!error)
		return 0;
	lock_take(&pool->lock);
	pool->threads--;
	pool->starting--;
	lock_drop(&pool->lock);
	pool_drop(pool);
	return error;
}

void crew_fail_unserved(struct unstick_pool *pool, int error)
{
	struct unstick_job *job;
	while ((job = job_take_queued(pool, 0))) {
		log_line("unstick: job \"%s\": %s", job->name, CREW_NO_THREAD);
		job_end(job, UNSTICK_JOB_FAILED, error, NULL);
	}
}

void crew_start_or_fail(struct unstick_pool *pool)
{
	int error = crew_start(pool);
	if (error)
		crew_fail_unserved(pool, error);
}

void crew_ring(struct unstick_pool *pool)
{
	atomic_fetch_add(&pool->bell, 1);
	futex_wake(&pool->bell, 1);
}

void crew_ring_all(struct unstick_pool *pool)
{
	atomic_fetch_add(&pool->bell, 1);
	futex_wake(&pool->bell, INT_MAX);
}
