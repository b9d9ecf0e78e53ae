/* SPDX-License-Identifier: MIT
 *
 * One job: its references, its end, what its callers may do with it. Who starts it is job_start.c, who runs it crew.c; what becomes of
 * those that do not come out, warden.c and left.c.
 */
#include "pool/job.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/log.h"
#include "limit/moment.h"
#include "pool/crew.h"
#include "pool/process.h"
#include "pool/warden.h"
#include "wake/sleep.h"

/* ---- references */

struct unstick_job *unstick_job_ref(struct unstick_job *job)
{
	if (job)
		atomic_fetch_add_explicit(&job->refs, 1, memory_order_relaxed);
	return job;
}

struct unstick_job *unstick_job_unref(struct unstick_job *job)
{
	if (!job || atomic_fetch_sub_explicit(&job->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	unstick_token_unref(job->token);
	unstick_thread_unref(job->thread);
	process_free(job->process);
	pool_drop(job->pool);
	free(job);
	return NULL;
}

int job_refuse(const char *function, const char *name, int error, const char *why)
{
	if (name)
		log_line("%s: job \"%s\": %s", function, name, why);
	else
		log_line("%s: %s", function, why);
	return error;
}

/* ---- the end */

bool job_is_over(const struct unstick_job *job)
{
	uint32_t state = atomic_load(&job->state);
	return state != UNSTICK_JOB_QUEUED && state != UNSTICK_JOB_RUNNING && state != UNSTICK_JOB_ABANDONED;
}

int job_reason(const struct unstick_job *job)
{
	int error = unstick_token_error(job->token);
	return error ? error : -ECANCELED;
}

int job_state_of(int reason)
{
	return reason == -ETIMEDOUT ? UNSTICK_JOB_TIMED_OUT : UNSTICK_JOB_CANCELLED;
}

static void count_end(struct unstick_pool_counts *stats, int state)
{
	stats->done += state == UNSTICK_JOB_DONE;
	stats->cancelled += state == UNSTICK_JOB_CANCELLED;
	stats->timed_out += state == UNSTICK_JOB_TIMED_OUT;
	stats->failed += state == UNSTICK_JOB_FAILED;
}

static void tell(struct unstick_job *job, int state)
{
	atomic_store(&job->state, (uint32_t)state);
	futex_wake(&job->state, INT_MAX);
}

static void tell_return(const struct unstick_job *job, int state)
{
	log_line("unstick: job \"%s\": has come back after %.3f s: %s", job->name,
	         (double)(unstick_now() - job->abandoned_at) / 1e9, unstick_job_state_name(state));
}

bool job_end(struct unstick_job *job, int state, int error, void *result)
{
	struct unstick_pool *pool = job->pool;
	job->watch = unstick_watch_free(job->watch); /* after it, nobody else moves the job but for abandoning it */
	warden_forget(job);
	lock_take(&pool->lock);
	uint32_t before = atomic_load(&job->state);
	bool abandoned = before == UNSTICK_JOB_ABANDONED;
	pool->ending -= before == 0;
	if (before == UNSTICK_JOB_RUNNING || abandoned)
		job_list_remove(abandoned ? &pool->abandoned : &pool->running, job);
	if (abandoned)
		state = job_state_of(job->error);
	else
		job->error = error;
	job->result = result;
	pool->stats.came_back += abandoned;
	count_end(&pool->stats, state);
	tell(job, state);
	lock_drop(&pool->lock);
	atomic_fetch_add(&pool->ended, 1);
	futex_wake(&pool->ended, INT_MAX);
	if (abandoned)
		tell_return(job, state);
	unstick_job_unref(job);
	return abandoned;
}

void job_abandon(struct unstick_job *job, const struct unstick_outcome *outcome)
{
	struct unstick_pool *pool = job->pool;
	char line[256];
	lock_take(&pool->lock);
	bool running = atomic_load(&job->state) == UNSTICK_JOB_RUNNING;
	bool more = false;
	if (running) {
		job_list_remove(&pool->running, job);
		job_list_add(&pool->abandoned, job);
		job->outcome = outcome ? *outcome : job->outcome;
		if (!job->cut) /* else the monitor may be reading it */
			job->cut = unstick_now();
		if (!job->error)
			job->error = job_reason(job);
		job->abandoned_number = ++pool->stats.abandoned_ever;
		job->abandoned_at = unstick_now();
		pool->threads--;
		more = crew_wants_thread(pool);
		tell(job, UNSTICK_JOB_ABANDONED);
	}
	lock_drop(&pool->lock);
	if (more)
		crew_start_or_fail(pool);
	if (running && outcome) {
		unstick_outcome_print(outcome, line, sizeof line);
		log_line("unstick: job \"%s\": abandoned: %s", job->name, line);
	}
}

/* ---- what the caller may do with one */

int unstick_job_cancel(struct unstick_job *job)
{
	if (!job)
		return -EINVAL;
	if (pool_is_parents(job->pool))
		return -EOWNERDEAD;
	return unstick_token_cancel(job->token);
}

static bool has_ended(uint32_t state)
{
	return state != 0 && state != UNSTICK_JOB_QUEUED && state != UNSTICK_JOB_RUNNING;
}

static int wait_for_end(struct unstick_job *job, unstick_time until, uint32_t *state)
{
	while (!has_ended(*state = atomic_load(&job->state))) {
		if (unstick_now() >= until)
			return -EBUSY;
		int error = sleep_on(&job->state, *state, until);
		if (error)
			return error;
	}
	return 0;
}

int unstick_job_join(struct unstick_job *job, unstick_time until, void **result)
{
	static const char function[] = "unstick_job_join";
	uint32_t state;
	if (!job)
		return job_refuse(function, NULL, -EINVAL, "job is NULL");
	if (pool_is_parents(job->pool))
		return -EOWNERDEAD;
	if (job == job_current)
		return job_refuse(function, job->name, -EDEADLK,
		                  "called in the job itself, it would wait for itself: join it elsewhere");
	int error = moment_check(function, "until", until);
	if (error || (error = wait_for_end(job, until, &state)))
		return error;
	if (result)
		*result = state == UNSTICK_JOB_ABANDONED ? NULL : job->result;
	return state == UNSTICK_JOB_DONE ? 0 : job->error;
}

int unstick_job_state(const struct unstick_job *job)
{
	if (!job)
		return -EINVAL;
	if (pool_is_parents(job->pool))
		return -EOWNERDEAD;
	uint32_t state = atomic_load(&job->state);
	return state ? (int)state : UNSTICK_JOB_QUEUED; /* 0: taken out of the queue, to be ended this moment */
}

const char *unstick_job_state_name(int state)
{
	static const char *const names[] = {
	        [UNSTICK_JOB_QUEUED] = "queued",       [UNSTICK_JOB_RUNNING] = "running",     [UNSTICK_JOB_DONE] = "done",
	        [UNSTICK_JOB_CANCELLED] = "cancelled", [UNSTICK_JOB_TIMED_OUT] = "timed out", [UNSTICK_JOB_ABANDONED] = "abandoned",
	        [UNSTICK_JOB_FAILED] = "failed",
	};
	return state > 0 && state <= UNSTICK_JOB_FAILED ? names[state] : "unknown";
}

struct unstick_job *unstick_job_self(void)
{
	return job_current && !pool_is_parents(job_current->pool) ? job_current : NULL;
}

int unstick_job_exit(const struct unstick_job *job, struct unstick_exit *ret)
{
	static const char function[] = "unstick_job_exit";
	if (!job || !ret)
		return job_refuse(function, NULL, -EINVAL, job ? "ret is NULL" : "job is NULL");
	if (pool_is_parents(job->pool))
		return -EOWNERDEAD;
	if (!job->process)
		return job_refuse(function, job->name, -EINVAL, "it is no process job, it was started with run");
	uint32_t state = atomic_load(&job->state);
	if (!has_ended(state) || state == UNSTICK_JOB_ABANDONED)
		return -EINPROGRESS;
	return process_exit(job->process, ret);
}
