/* SPDX-License-Identifier: MIT
 *
 * Making and ending pools; what they have done. A close has four steps: take no more, cut all, wait, abandon the rest. It waits for
 * nothing but the time and the jobs: no lock that a stuck thread could hold is taken.
 */
#include "pool/pool.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "limit/alarm.h"
#include "limit/moment.h"
#include "pool/crew.h"
#include "pool/job.h"
#include "pool/left.h"
#include "pool/warden.h"
#include "wake/scope.h"
#include "wake/signal.h"
#include "wake/sleep.h"

enum { DEFAULT_THREADS = 64, DEFAULT_QUEUE = 1024, DEFAULT_ABANDONED = 256, MOST_THREADS = 65536 };
enum { ENDED_BLINDLY = 32 }; /* of the queue, before a close looks at the time */
static const int64_t DEFAULT_GRACE = TIME_NS_PER_S;
static const size_t MOST_STACK = (size_t)1 << 40;
static const int64_t FIRE_NS = 100000; /* of a fire, for each thread that is blocked: 15 us alone, more where they crowd */

bool pool_is_parents(const struct unstick_pool *pool)
{
	return pool->fork_epoch != scope_fork_epoch;
}

void pool_hold(struct unstick_pool *pool)
{
	atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
}

void pool_drop(struct unstick_pool *pool)
{
	if (atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
		return;
	unstick_token_unref(pool->token);
	free(pool);
}

/* ---- new */

static int refuse(const char *function, int error, const char *why)
{
	log_line("%s: %s", function, why);
	return error;
}

static const char new_function[] = "unstick_pool_new", close_function[] = "unstick_pool_close";

static int check_options(const struct unstick_pool_options *options)
{
	if (options->size != sizeof *options)
		return refuse(new_function, -EINVAL, "size is not that of struct unstick_pool_options: set it to sizeof");
	if (options->flags)
		return refuse(new_function, -EINVAL, "a flag is not known to this version of the library: leave it out");
	if (options->threads > MOST_THREADS)
		return refuse(new_function, -EINVAL, "options.threads is more than 65536: take fewer, jobs wait for one");
	if (options->grace_ns < 0)
		return refuse(new_function, -EINVAL, "options.grace_ns is negative: it is a span in nanoseconds");
	if (options->stack && options->stack < (size_t)PTHREAD_STACK_MIN)
		return refuse(new_function, -EINVAL, "options.stack is less than PTHREAD_STACK_MIN: it is in bytes");
	if (options->stack > MOST_STACK)
		return refuse(new_function, -EINVAL, "options.stack is more than 1 TiB: it is in bytes; 0 is the system's default");
	return 0;
}

static unsigned or_default(unsigned value, unsigned otherwise)
{
	return value ? value : otherwise;
}

static void fill(struct unstick_pool *pool, const struct unstick_pool_options *options)
{
	atomic_store(&pool->refs, 1);
	pool->fork_epoch = scope_fork_epoch;
	pool->most_threads = or_default(options->threads, DEFAULT_THREADS);
	pool->most_queued = or_default(options->queue, DEFAULT_QUEUE);
	pool->most_abandoned = or_default(options->abandoned, DEFAULT_ABANDONED);
	pool->stack = options->stack;
	pool->grace_ns = options->grace_ns ? options->grace_ns : DEFAULT_GRACE;
	job_list_init(&pool->queue);
	job_list_init(&pool->running);
	job_list_init(&pool->abandoned);
	pthread_sigmask(SIG_SETMASK, NULL, &pool->mask);
	sigdelset(&pool->mask, unstick_signal());
	pool->timer_slack = prctl(PR_GET_TIMERSLACK);
}

int unstick_pool_new(struct unstick_pool **ret, const struct unstick_pool_options *options)
{
	const struct unstick_pool_options defaults = {.size = sizeof defaults};
	options = options ? options : &defaults;
	int error = ret ? check_options(options) : refuse(new_function, -EINVAL, "ret is NULL");
	if (error || (error = signal_initialise()) || (error = alarm_start()))
		return error;
	warden_initialise();
	struct unstick_pool *pool = calloc(1, sizeof *pool);
	if (!pool)
		return -ENOMEM;
	fill(pool, options);
	error = unstick_token_new(&pool->token, NULL);
	if (error)
		pool_drop(pool);
	else
		*ret = pool;
	return error;
}

/* ---- close */

/* One fire of the pool's token cuts all that were given no other, and cannot be interrupted: a signal each, to threads that then
 * want the processor. One by one each costs a look at all threads as well, but the time can be looked at in between. Under the lock. */
static bool may_fire_at_once(const struct unstick_pool *pool, unstick_time until)
{
	return time_add(unstick_now(), pool->running.count * FIRE_NS) <= until;
}

/* Under the lock: all, or those that the pool's token does not cut, with a reference each, for who closes first. */
static struct unstick_job *list_to_cut(const struct job_list *list, bool own_parents_only, struct unstick_job *next)
{
	for (struct unstick_job *job = list->first; job; job = job->next) {
		if (own_parents_only && !job->has_own_parent)
			continue;
		job->next_to_cut = next;
		next = unstick_job_ref(job);
	}
	return next;
}

/* What there is no time for, the monitor cuts. */
static void cut_all(struct unstick_job *job, unstick_time until)
{
	while (job) {
		struct unstick_job *next = job->next_to_cut;
		if (job_is_over(job))
			; /* it was queued, or has come out */
		else if (unstick_now() < until)
			unstick_token_cancel(job->token);
		else
			warden_cut(job);
		unstick_job_unref(job);
		job = next;
	}
}

/* What there is no time for, the monitor ends: its token will be fired. */
static void end_queued(struct unstick_pool *pool, unstick_time until)
{
	struct unstick_job *job;
	for (unsigned i = 0; i < ENDED_BLINDLY || unstick_now() < until; i++) {
		if (!(job = job_take_queued(pool, UINT_MAX)))
			return;
		int reason = job_reason(job);
		job_end(job, job_state_of(reason), reason, NULL);
	}
}

static void stop(struct unstick_pool *pool, unstick_time until)
{
	struct unstick_job *to_cut = NULL;
	lock_take(&pool->lock);
	const bool at_once = may_fire_at_once(pool, until);
	if (!pool->closing)
		to_cut = list_to_cut(&pool->running, at_once, list_to_cut(&pool->queue, at_once, NULL));
	pool->closing = true;
	lock_drop(&pool->lock);
	if (at_once)
		unstick_token_cancel(pool->token);
	end_queued(pool, until);
	cut_all(to_cut, until);
	crew_ring_all(pool);
}

static unsigned count_live(struct unstick_pool *pool)
{
	lock_take(&pool->lock);
	unsigned live = pool->queue.count + pool->running.count + pool->abandoned.count + pool->ending;
	lock_drop(&pool->lock);
	return live;
}

/* 0; -EBUSY at `until`; what cut the wait short. */
static int wait_for_all(struct unstick_pool *pool, unstick_time until)
{
	for (;;) {
		uint32_t seen = atomic_load(&pool->ended);
		if (!count_live(pool))
			return 0;
		if (unstick_now() >= until)
			return -EBUSY;
		int error = sleep_on(&pool->ended, seen, until);
		if (error)
			return error;
	}
}

static struct unstick_job *take_running(struct unstick_pool *pool)
{
	lock_take(&pool->lock);
	struct unstick_job *job = unstick_job_ref(pool->running.first);
	lock_drop(&pool->lock);
	return job;
}

static void abandon_rest(struct unstick_pool *pool)
{
	struct unstick_job *job;
	while ((job = take_running(pool))) {
		job_abandon(job, NULL);
		unstick_job_unref(job);
	}
}

static bool is_in_job_of(const struct unstick_pool *pool)
{
	return job_current && job_current->pool == pool;
}

int unstick_pool_close(struct unstick_pool *pool, unstick_time until, struct unstick_left *left)
{
	struct unstick_left unused;
	if (!pool)
		return refuse(close_function, -EINVAL, "pool is NULL");
	int error = moment_check(close_function, "until", until);
	if (error)
		return error;
	left = left ? left : &unused;
	*left = (struct unstick_left){.fd = -1};
	if (pool_is_parents(pool))
		return -EOWNERDEAD;
	if (is_in_job_of(pool))
		return refuse(close_function, -EDEADLK,
		              "called in a job of the pool's own, it would wait for itself: call it in another thread");
	stop(pool, until);
	error = wait_for_all(pool, until);
	if (error != -EBUSY)
		return error;
	abandon_rest(pool);
	left_fill(pool, left);
	return left->count ? -EBUSY : 0;
}

struct unstick_pool *unstick_pool_free(struct unstick_pool *pool)
{
	struct unstick_left left;
	if (!pool || pool_is_parents(pool)) /* a child has no threads to free it from, and perhaps a lock that nobody holds */
		return NULL;
	if (is_in_job_of(pool)) {
		log_line("unstick_pool_free: called in a job of the pool's own: it would wait for itself, so it is not freed: free "
		         "it in "
		         "another thread");
		return pool;
	}
	stop(pool, UNSTICK_NEVER);
	if (count_live(pool)) {
		abandon_rest(pool);
		left_fill(pool, &left);
	}
	pool_drop(pool);
	return NULL;
}

int unstick_pool_stats(struct unstick_pool *pool, struct unstick_pool_counts *ret)
{
	if (!pool || !ret)
		return refuse("unstick_pool_stats", -EINVAL, pool ? "ret is NULL" : "pool is NULL");
	if (pool_is_parents(pool))
		return -EOWNERDEAD;
	lock_take(&pool->lock);
	*ret = pool->stats;
	ret->queued = pool->queue.count;
	ret->running = pool->running.count;
	ret->abandoned = pool->abandoned.count;
	ret->threads = pool->threads;
	lock_drop(&pool->lock);
	return 0;
}
