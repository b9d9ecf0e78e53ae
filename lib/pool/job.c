/* SPDX-License-Identifier: MIT
 *
 * Jobs: starting, cancelling, joining, ending. Who runs them is crew.c; what becomes of those that do not come out, warden.c and left.c.
 */
#include "pool/job.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "limit/time.h"
#include "pool/crew.h"
#include "pool/process.h"
#include "pool/warden.h"
#include "wake/sleep.h"

/* ---- lists; under the pool's lock */

void job_list_init(struct job_list *list)
{
	*list = (struct job_list){.last = &list->first};
}

void job_list_add(struct job_list *list, struct unstick_job *job)
{
	job->next = NULL;
	job->back = list->last;
	*list->last = job;
	list->last = &job->next;
	list->count++;
}

void job_list_remove(struct job_list *list, struct unstick_job *job)
{
	*job->back = job->next;
	if (job->next)
		job->next->back = job->back;
	else
		list->last = job->back;
	list->count--;
}

struct unstick_job *job_take_queued(struct unstick_pool *pool, unsigned most_threads)
{
	lock_take(&pool->lock);
	struct unstick_job *job = pool->threads <= most_threads ? pool->queue.first : NULL;
	if (job) {
		job_list_remove(&pool->queue, job);
		atomic_store(&job->state, 0); /* nobody else's any more */
		pool->ending++;
	}
	lock_drop(&pool->lock);
	return job;
}

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

/* ---- the end */

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
			job->error = unstick_token_error(job->token);
		pool->stats.abandoned_ever++;
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

/* ---- start */

static int refuse(const char *name, int error, const char *why)
{
	log_line("unstick: job \"%s\": %s", name, why);
	return error;
}

static void set_name(struct unstick_job *job, const struct unstick_job_options *options)
{
	const char *slash = options->argv ? strrchr(options->argv[0], '/') : NULL;
	const char *program = slash ? slash + 1 : options->argv ? options->argv[0] : "job";
	text_copy(job->name, sizeof job->name, options->name ? options->name : program);
}

static int check(const struct unstick_job_options *options)
{
	const char *name = options->name ? options->name : "job";
	const unsigned known = UNSTICK_JOB_STDERR | UNSTICK_JOB_RESULT;
	if (options->size != sizeof *options)
		return refuse("job", -EINVAL, "size is not that of struct unstick_job_options: set it to sizeof");
	if (options->run ? options->argv != NULL : !options->argv || !options->argv[0])
		return refuse(name, -EINVAL, "give either run or argv, with at least the program in it");
	if (options->flags & ~known)
		return refuse(name, -EINVAL, "a flag is not known to this version of the library: leave it out");
	if (options->grace_ns < 0)
		return refuse(name, -EINVAL, "grace_ns is negative: it is a span in nanoseconds");
	if (!options->run && options->input_size && !options->input)
		return refuse(name, -EINVAL, "input is NULL, but input_size is not 0");
	return 0;
}

/* Token and watch; the watch may be called at once, and leaves a job alone that is not queued yet. */
static int bind_token(struct unstick_job *job, struct unstick_token *parent)
{
	int error = unstick_token_new(&job->token, parent);
	if (!error)
		error = unstick_token_watch(job->token, &job->watch, warden_on_fired, job);
	if (!error && job->deadline != UNSTICK_NEVER)
		error = unstick_token_set_deadline(job->token, job->deadline);
	return error == -EALREADY ? 0 : error;
}

static int discard(struct unstick_job *job, int error)
{
	job->watch = unstick_watch_free(job->watch);
	unstick_job_unref(job);
	unstick_job_unref(job);
	return error;
}

static int make(struct unstick_pool *pool, const struct unstick_job_options *options, struct unstick_job **ret)
{
	struct unstick_job *job = calloc(1, sizeof *job);
	if (!job)
		return -ENOMEM;
	atomic_store(&job->refs, 2); /* the caller's and the pool's */
	pool_hold(pool);
	job->pool = pool;
	job->run = options->run;
	job->arg = options->arg;
	job->deadline = options->deadline ? options->deadline : UNSTICK_NEVER;
	job->has_own_parent = options->token;
	job->outcome = (struct unstick_outcome){.nr = -1, .fd = -1, .state = '?'};
	set_name(job, options);
	int error = options->run ? 0 : process_new(&job->process, options);
	if (!error)
		error = bind_token(job, options->token ? options->token : pool->token);
	if (error)
		return discard(job, error);
	*ret = job;
	return 0;
}

static const struct refusal {
	unsigned told; /* the log hears of each once a pool */
	int error;
	const char *why;
} closing = {TOLD_CLOSING, -ESHUTDOWN, "the pool is being closed, it takes no more: start jobs before unstick_pool_close()"},
  full = {TOLD_FULL, -EAGAIN, "as many jobs wait for a thread as options.queue allows: join some first, or raise it"},
  too_many_abandoned = {TOLD_ABANDONED, -EAGAIN,
                        "as many jobs are abandoned as options.abandoned allows: see to what they are stuck in"};

/* Under the lock. NULL: none. */
static const struct refusal *find_refusal(const struct unstick_pool *pool)
{
	if (pool->closing)
		return &closing;
	if (pool->queue.count >= pool->most_queued)
		return &full;
	return pool->abandoned.count >= pool->most_abandoned ? &too_many_abandoned : NULL;
}

/* No thread could be started, and none runs: takes it out again, unless it has been taken meanwhile. */
static bool take_back(struct unstick_pool *pool, struct unstick_job *job)
{
	lock_take(&pool->lock);
	bool hopeless = !pool->threads && atomic_load(&job->state) == UNSTICK_JOB_QUEUED;
	if (hopeless) {
		job_list_remove(&pool->queue, job);
		atomic_store(&job->state, 0);
		pool->stats.started--;
	}
	lock_drop(&pool->lock);
	return hopeless;
}

static int start_first_thread(struct unstick_pool *pool, struct unstick_job *job)
{
	int error = crew_start(pool);
	if (!error)
		return 0;
	bool back = take_back(pool, job);
	crew_fail_unserved(pool, error); /* others may have relied on this thread */
	return back ? discard(job,
	                      refuse(job->name, -EAGAIN, "no thread could be started, and none runs: see RLIMIT_NPROC, pids.max"))
	            : 0;
}

/* A job whose token fired before this never gets into the queue. */
static int enqueue(struct unstick_pool *pool, struct unstick_job *job)
{
	lock_take(&pool->lock);
	const struct refusal *refusal = find_refusal(pool);
	int fired = unstick_token_error(job->token);
	bool tell_it = refusal && !(pool->told & refusal->told), more = false;
	pool->told |= refusal ? refusal->told : 0;
	if (!refusal) {
		pool->stats.started++;
		pool->ending += fired != 0;
		if (!fired) {
			atomic_store(&job->state, UNSTICK_JOB_QUEUED);
			job_list_add(&pool->queue, job);
			more = crew_wants_thread(pool);
		}
	}
	lock_drop(&pool->lock);
	if (tell_it)
		refuse(job->name, refusal->error, refusal->why);
	if (refusal)
		return discard(job, refusal->error);
	if (fired) {
		job_end(job, job_state_of(fired), fired, NULL);
		return 0;
	}
	crew_ring(pool);
	return more ? start_first_thread(pool, job) : 0;
}

static int refuse_child(struct unstick_pool *pool, const char *name)
{
	bool told = pool->told & TOLD_FORKED; /* without the lock: nobody may be there to drop it */
	pool->told |= TOLD_FORKED;
	return told ? -EOWNERDEAD
	            : refuse(name, -EOWNERDEAD,
	                     "the pool is the parent process's: in a forked child make another with unstick_pool_new()");
}

int unstick_job_start(struct unstick_pool *pool, const struct unstick_job_options *options, struct unstick_job **ret)
{
	struct unstick_job *job;
	if (!pool || !options)
		return refuse("job", -EINVAL, pool ? "options is NULL" : "pool is NULL");
	int error = check(options);
	if (error)
		return error;
	if (pool_is_parents(pool))
		return refuse_child(pool, options->name ? options->name : "job");
	if ((error = make(pool, options, &job)))
		return error;
	if ((error = enqueue(pool, job)))
		return error;
	if (ret)
		*ret = job;
	else
		unstick_job_unref(job);
	return 0;
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
	uint32_t state;
	if (!job)
		return refuse("job", -EINVAL, "join: job is NULL");
	if (pool_is_parents(job->pool))
		return -EOWNERDEAD;
	if (job == job_current)
		return refuse(job->name, -EDEADLK, "join: called in the job itself, it would wait for itself: join it elsewhere");
	int error = wait_for_end(job, until, &state);
	if (error)
		return error;
	if (result)
		*result = state == UNSTICK_JOB_ABANDONED ? NULL : job->result;
	return state == UNSTICK_JOB_DONE ? 0 : job->error;
}

int unstick_job_state(const struct unstick_job *job)
{
	uint32_t state = job ? atomic_load(&job->state) : 0;
	if (!job)
		return -EINVAL;
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
	return job_current;
}

int unstick_job_exit(const struct unstick_job *job, struct unstick_exit *ret)
{
	if (!job || !ret || !job->process)
		return -EINVAL;
	uint32_t state = atomic_load(&job->state);
	if (!has_ended(state) || state == UNSTICK_JOB_ABANDONED)
		return -EINPROGRESS;
	return process_exit(job->process, ret);
}
