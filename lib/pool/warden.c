/* SPDX-License-Identifier: MIT */
#include "pool/warden.h"

#include <errno.h>
#include <pthread.h>

#include "inspect/task.h"
#include "limit/alarm.h"
#include "pool/job.h"
#include "pool/process.h"

static const unstick_time LOOK_GAP = 10 * TIME_NS_PER_MS, MOST_GAP = 100 * TIME_NS_PER_MS;
static const unstick_time BUDGET = 500000; /* of a pass: the monitor has deadlines to keep */

static struct lock warden_lock; /* order: after a pool's */
static struct unstick_job *watched, **watched_end = &watched;

/* ---- the list; under the lock */

static void watch(struct unstick_job *job, unstick_time at)
{
	struct warden_entry *entry = &job->warden;
	entry->at = at;
	entry->next = NULL;
	entry->back = watched_end;
	*watched_end = job;
	watched_end = &entry->next;
}

static void unwatch(struct unstick_job *job)
{
	struct warden_entry *entry = &job->warden;
	*entry->back = entry->next;
	if (entry->next)
		entry->next->warden.back = entry->back;
	else
		watched_end = entry->back;
	entry->back = NULL;
}

void warden_forget(struct unstick_job *job)
{
	lock_take(&warden_lock);
	if (job->warden.back)
		unwatch(job);
	job->warden.forgotten = true;
	lock_drop(&warden_lock);
}

void warden_cut(struct unstick_job *job)
{
	lock_take(&warden_lock);
	bool wanted = !job->warden.forgotten && !job->warden.back; /* else it has ended, or been cut */
	if (wanted) {
		job->warden.uncut = true;
		watch(job, 0);
	}
	lock_drop(&warden_lock);
	if (wanted)
		alarm_ring();
}

static unstick_time end_of_grace(const struct unstick_job *job)
{
	unstick_time grace = job->pool->grace_ns;
	if (job->process)
		grace = time_add(grace, process_grace(job->process));
	return time_add(job->cut, grace);
}

static unstick_time next_look(const struct unstick_job *job, unstick_time gap)
{
	return time_min(time_add(unstick_now(), gap), end_of_grace(job));
}

/* ---- fired */

/* From its cut on. */
static void watch_cut(struct unstick_job *job)
{
	lock_take(&warden_lock);
	if (job->warden.back)
		unwatch(job);
	job->warden.uncut = false;
	job->warden.switches = -1;
	job->warden.gap = LOOK_GAP;
	if (!job->warden.forgotten)
		watch(job, next_look(job, LOOK_GAP));
	lock_drop(&warden_lock);
}

void warden_on_fired(void *arg, int error)
{
	struct unstick_job *job = arg;
	struct unstick_pool *pool = job->pool;
	lock_take(&pool->lock);
	uint32_t state = atomic_load(&job->state);
	if (state == UNSTICK_JOB_QUEUED) {
		job_list_remove(&pool->queue, job);
		atomic_store(&job->state, 0); /* nobody else's any more */
		pool->ending++;
	}
	if (state == UNSTICK_JOB_RUNNING) {
		job->cut = unstick_now();
		job->error = error;
		watch_cut(job);
	}
	lock_drop(&pool->lock);
	if (state == UNSTICK_JOB_QUEUED)
		job_end(job, job_state_of(error), error, NULL);
	else if (state == UNSTICK_JOB_RUNNING)
		alarm_ring(); /* this pass may have gone by our source already */
}

/* ---- looks */

/* What the pokes came to; reads nothing but memory. */
static bool was_uninterruptible(const struct unstick_job *job)
{
	struct unstick_outcome outcome;
	return unstick_thread_outcome(job->thread, &outcome) == 0 && outcome.kind == UNSTICK_UNINTERRUPTIBLE;
}

/* The number of its sleeps, if it seems to be in one that no signal ends. */
static int64_t uninterruptible_switches(const struct unstick_job *job)
{
	return !job->process && was_uninterruptible(job) ? task_switches(0, job->tid) : -1;
}

/* In the same sleep as at the look before? */
static bool is_hopeless(struct unstick_job *job, struct unstick_outcome *outcome)
{
	struct unstick_report report;
	return job->warden.switches >= 0 && job_look(job, outcome, &report) && outcome->kind == UNSTICK_UNINTERRUPTIBLE &&
	       task_switches(0, job->tid) == job->warden.switches;
}

/* The gap doubles while there is nothing to be compared: most that need their grace compute, or clean up. */
static unstick_time next_gap(struct unstick_job *job)
{
	const unstick_time gap = job->warden.switches >= 0 ? LOOK_GAP : job->warden.gap;
	job->warden.gap = time_min(2 * job->warden.gap, MOST_GAP);
	return gap;
}

/* The next moment to look at it, or UNSTICK_NEVER: it has been abandoned. */
static unstick_time look(struct unstick_job *job)
{
	struct unstick_outcome outcome;
	struct unstick_report report;
	const bool hopeless = is_hopeless(job, &outcome);
	if (!hopeless && unstick_now() < end_of_grace(job)) {
		job->warden.switches = uninterruptible_switches(job);
		return next_look(job, next_gap(job));
	}
	if (!hopeless)
		(void)job_look(job, &outcome, &report);
	job_abandon(job, &outcome);
	return UNSTICK_NEVER;
}

/* The watch of its token then puts it on the list; but if somebody else has cut it, that was done before, and it stays. */
static unstick_time cut(struct unstick_job *job)
{
	unstick_token_cancel(job->token);
	return job->warden.gap ? next_look(job, LOOK_GAP) : UNSTICK_NEVER;
}

/* One that is due, with a reference, or NULL. Under the lock. */
static struct unstick_job *take_due(unstick_time now)
{
	struct unstick_job *job = watched;
	while (job && job->warden.at > now)
		job = job->warden.next;
	if (job)
		unwatch(job);
	return unstick_job_ref(job);
}

static unstick_time next_due(void)
{
	unstick_time due = UNSTICK_NEVER;
	for (struct unstick_job *job = watched; job; job = job->warden.next)
		due = time_min(due, job->warden.at);
	return due;
}

static unstick_time scan(unstick_time now)
{
	struct unstick_job *job;
	unstick_time end = now + BUDGET;
	lock_take(&warden_lock);
	while (unstick_now() < end && (job = take_due(now))) {
		const bool uncut = job->warden.uncut;
		job->warden.uncut = false;
		lock_drop(&warden_lock);
		unstick_time next = uncut ? cut(job) : look(job);
		lock_take(&warden_lock);
		if (next != UNSTICK_NEVER && !job->warden.forgotten && !job->warden.back) /* else who closes has put it there */
			watch(job, next);
		lock_drop(&warden_lock);
		unstick_job_unref(job);
		lock_take(&warden_lock);
	}
	unstick_time due = next_due();
	lock_drop(&warden_lock);
	return due <= now ? time_add(unstick_now(), BUDGET) : due;
}

/* ---- fork */

static void after_fork_child(void)
{
	warden_lock.word = 0;
	watched = NULL; /* the jobs are the parent's */
	watched_end = &watched;
}

static void register_once(void)
{
	alarm_add(scan);
	pthread_atfork(NULL, NULL, after_fork_child);
}

void warden_initialise(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, register_once);
}
