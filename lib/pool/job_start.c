/* SPDX-License-Identifier: MIT
 *
 * Starting a job: its options are checked, it is made and bound to its token, and queued, or refused. The log is told once a pool for
 * each reason that is the pool's, not the caller's. Invariant: what is refused is freed here, and is in no list.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "limit/moment.h"
#include "pool/crew.h"
#include "pool/job.h"
#include "pool/process.h"
#include "pool/warden.h"

static const char function[] = "unstick_job_start";

static const char *name_of(const struct unstick_job_options *options)
{
	const char *program = options->argv && options->argv[0] ? options->argv[0] : "job";
	const char *slash = strrchr(program, '/');
	return options->name ? options->name : slash ? slash + 1 : program;
}

/* NULL: nothing. */
static const char *find_process_fault(const struct unstick_job_options *options)
{
	if (options->grace_ns < 0)
		return "grace_ns is negative: it is a span in nanoseconds";
	if (options->input_size && !options->input)
		return "input is NULL, but input_size is not 0";
	if (options->input_size > PTRDIFF_MAX)
		return "input_size is more than any memory has: is it a negative number?";
	return NULL;
}

static const char *find_thread_fault(const struct unstick_job_options *options)
{
	const bool none = !options->flags && !options->env && !options->dir && !options->input && !options->input_size &&
	                  !options->most_output && !options->grace_ns;
	return none ? NULL
	            : "flags, env, dir, input, input_size, most_output and grace_ns are for programs: leave them out with run (the "
	              "grace "
	              "of thread jobs is the pool's)";
}

static const char *find_fault(const struct unstick_job_options *options)
{
	const unsigned known = UNSTICK_JOB_STDERR | UNSTICK_JOB_RESULT;
	if (options->run ? options->argv != NULL : !options->argv || !options->argv[0])
		return "give either run or argv, with at least the program in it";
	if (options->flags & ~known)
		return "a flag is not known to this version of the library: leave it out";
	return options->run ? find_thread_fault(options) : find_process_fault(options);
}

static int check(const struct unstick_job_options *options)
{
	if (options->size != sizeof *options)
		return job_refuse(function, NULL, -EINVAL, "size is not that of struct unstick_job_options: set it to sizeof");
	const char *fault = find_fault(options);
	if (fault)
		return job_refuse(function, name_of(options), -EINVAL, fault);
	return moment_check(function, "options.deadline", options->deadline);
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
	text_copy(job->name, sizeof job->name, name_of(options));
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
	/* Those that are queued for these do not wait for a thread: they wait for their own to look. */
	const unsigned free_threads = pool->idle + pool->starting + (pool->most_threads - pool->threads);
	if (pool->closing)
		return &closing;
	if (pool->queue.count >= (uint64_t)pool->most_queued + free_threads)
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
	return back ? discard(job, job_refuse(function, job->name, -EAGAIN, CREW_NO_THREAD)) : 0;
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
		job_refuse(function, job->name, refusal->error, refusal->why);
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
	            : job_refuse(function, name, -EOWNERDEAD,
	                         "the pool is the parent process's: in a forked child make another with unstick_pool_new()");
}

int unstick_job_start(struct unstick_pool *pool, const struct unstick_job_options *options, struct unstick_job **ret)
{
	struct unstick_job *job;
	if (!pool || !options)
		return job_refuse(function, NULL, -EINVAL, pool ? "options is NULL" : "pool is NULL");
	int error = check(options);
	if (error)
		return error;
	if (pool_is_parents(pool))
		return refuse_child(pool, name_of(options));
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
