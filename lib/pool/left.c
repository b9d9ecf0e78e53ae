/* SPDX-License-Identifier: MIT
 *
 * A job that does not come out is looked at when somebody asks: its thread, or its program. What the wake layer's attempts came to is
 * in the thread's record; what it is stuck in now, and why, is in /proc.
 */
#include "pool/left.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/raw.h"
#include "base/text.h"
#include "limit/time.h"
#include "pool/exit_wait.h"
#include "pool/job.h"
#include "pool/process.h"
#include "wake/outcome.h"
#include "wake/thread.h"

/* For those that are not named: a close has no time left. */
static const unstick_time LOOKS_BUDGET = 5 * TIME_NS_PER_MS;

/* ---- one job */

static void take_report(const struct unstick_report *report, struct unstick_outcome *outcome)
{
	outcome->tid = report->tid;
	outcome->nr = report->nr < 0 ? -1 : report->nr;
	outcome->fd = report->fd;
	outcome->state = report->state;
	outcome->error = 0;
	text_copy(outcome->wait, sizeof outcome->wait, report->wait);
	if (report->expect != UNSTICK_WOKEN) /* else the attempts know better: it comes out, and goes back */
		outcome->kind = report->expect;
}

/* A shield is the reason for all but what would hold up the clean-up without it, too. Of the attempts before it nothing is true any
 * more. */
static void take_shield(const struct unstick_job *job, struct unstick_outcome *outcome)
{
	const bool by_itself =
	        outcome->kind == UNSTICK_LOCK || outcome->kind == UNSTICK_UNINTERRUPTIBLE || outcome->kind == UNSTICK_STOPPED;
	if (thread_is_shielded(job->thread) && !by_itself)
		outcome->kind = UNSTICK_SHIELDED;
}

/* What a thread of ours could be freed from says nothing about a program: it is sent SIGTERM and SIGKILL. */
static void take_program(const struct unstick_job *job, struct unstick_outcome *outcome)
{
	const bool holds_out = outcome->state == 'D' || outcome->kind == UNSTICK_STOPPED;
	outcome->signals = process_signals(job->process);
	outcome->ns = job->cut ? unstick_now() - job->cut : 0;
	if (!holds_out)
		outcome->kind = UNSTICK_NONE;
	else if (outcome->state == 'D')
		outcome->kind = UNSTICK_UNINTERRUPTIBLE;
}

bool job_look(struct unstick_job *job, struct unstick_outcome *outcome, struct unstick_report *report)
{
	pid_t program = job->process ? process_pid(job->process) : 0;
	*outcome = (struct unstick_outcome){.nr = -1, .fd = -1, .state = '?'};
	if (!program)
		(void)unstick_thread_outcome(job->thread, outcome);
	if (unstick_look(program, program ? program : job->tid, report))
		return false;
	take_report(report, outcome);
	if (program)
		take_program(job, outcome);
	else
		take_shield(job, outcome);
	return true;
}

static bool is_stuck(const struct unstick_job *job)
{
	uint32_t state = atomic_load(&job->state);
	return state == UNSTICK_JOB_ABANDONED || (state == UNSTICK_JOB_RUNNING && job->cut);
}

/* The one that was kept. True: what it is stuck in now says more. */
static bool load_outcome(struct unstick_job *job, struct unstick_outcome *outcome)
{
	lock_take(&job->pool->lock);
	bool stuck = is_stuck(job);
	*outcome = job->outcome;
	lock_drop(&job->pool->lock);
	return stuck;
}

int unstick_job_outcome(const struct unstick_job *job, struct unstick_outcome *outcome)
{
	struct unstick_job *held = (struct unstick_job *)(uintptr_t)job; /* the look changes nothing in it */
	struct unstick_outcome kept, seen;
	struct unstick_report report;
	if (!job || !outcome)
		return job_refuse("unstick_job_outcome", NULL, -EINVAL, job ? "outcome is NULL" : "job is NULL");
	if (pool_is_parents(job->pool))
		return -EOWNERDEAD;
	bool looked = load_outcome(held, &kept);
	if (looked)
		(void)job_look(held, &seen, &report);
	looked = looked && load_outcome(held, &kept); /* else its thread may have been in something else */
	*outcome = looked ? seen : kept;
	return 0;
}

/* ---- all that are left */

static void describe(struct unstick_job *job, unstick_time now, struct unstick_left_job *ret)
{
	struct unstick_report report = {0};
	*ret = (struct unstick_left_job){.tid = job->tid, .pid = job->process ? process_pid(job->process) : 0};
	text_copy(ret->name, sizeof ret->name, job->name);
	ret->running_ns = now - job->begun;
	ret->cut_ns = job->cut ? now - job->cut : 0;
	if (job_look(job, &ret->outcome, &report))
		text_copy(ret->object, sizeof ret->object, report.object);
	bool uninterruptible = ret->outcome.kind == UNSTICK_UNINTERRUPTIBLE;
	ret->holds_exit = uninterruptible && !ret->pid && !exit_wait_ends(&ret->outcome);
}

struct picked {
	struct unstick_job *jobs[UNSTICK_LEFT_JOBS], *oldest; /* a reference to each */
	unsigned count;
	uint64_t last; /* the number of the last of them */
};

static void pick(struct unstick_pool *pool, struct unstick_left *left, struct picked *ret)
{
	*ret = (struct picked){0};
	lock_take(&pool->lock);
	left->count = pool->abandoned.count + pool->queue.count + pool->ending;
	for (struct unstick_job *job = pool->abandoned.first; job; job = job->next) {
		if (!ret->oldest || job->begun < ret->oldest->begun)
			ret->oldest = job;
		if (ret->count < UNSTICK_LEFT_JOBS) {
			ret->last = job->abandoned_number;
			ret->jobs[ret->count++] = unstick_job_ref(job);
		}
	}
	unstick_job_ref(ret->oldest);
	lock_drop(&pool->lock);
}

/* Was it found in a wait that no signal ends, or was it not tried yet? Reads nothing but memory. */
static bool may_hold_exit(const struct unstick_job *job)
{
	struct unstick_outcome outcome = {0};
	return !job->process && (unstick_thread_outcome(job->thread, &outcome) || outcome.kind == UNSTICK_NONE ||
	                         outcome.kind == UNSTICK_UNINTERRUPTIBLE);
}

/* The next behind that number, with a reference, or NULL. */
static struct unstick_job *next_that_may_hold_exit(struct unstick_pool *pool, uint64_t number)
{
	lock_take(&pool->lock);
	struct unstick_job *job = pool->abandoned.first;
	while (job && (job->abandoned_number <= number || !may_hold_exit(job)))
		job = job->next;
	unstick_job_ref(job);
	lock_drop(&pool->lock);
	return job;
}

static int print_one(const struct unstick_left_job *job, char *buf, size_t size)
{
	char where[128];
	bool program = job->pid;
	outcome_where(&job->outcome, where, sizeof where);
	return snprintf(buf, size, "\"%s\" (%s %d)%s%s%s, for %.1f s: %s%s", job->name, program ? "program" : "thread",
	                (int)(program ? job->pid : job->tid), where, job->object[0] ? ", " : "", job->object,
	                (double)job->running_ns / 1e9, outcome_meaning(&job->outcome),
	                job->holds_exit ? "; the process cannot exit before it has" : "");
}

/* Once a job, however often the pool is closed. */
static void tell(struct unstick_job *job, const struct unstick_left_job *left)
{
	char line[512];
	if (atomic_exchange(&job->left_told, true))
		return;
	print_one(left, line, sizeof line);
	log_line("unstick_pool_close: left: %s", line);
}

/* "4 more", if there are not as many as last time. */
static void tell_rest(struct unstick_pool *pool, unsigned more)
{
	if (atomic_exchange(&pool->more_told, more) != more && more)
		log_line("unstick_pool_close: left: %u more", more);
}

static void describe_listed(struct unstick_pool *pool, struct unstick_left *left, const struct picked *picked)
{
	left->listed = picked->count;
	for (unsigned i = 0; i < picked->count; i++) {
		describe(picked->jobs[i], unstick_now(), &left->jobs[i]);
		left->holds_exit |= left->jobs[i].holds_exit;
		tell(picked->jobs[i], &left->jobs[i]);
	}
	tell_rest(pool, left->count - left->listed);
}

/* Among those that are not named: the first that holds the exit is as good as all. */
static void look_at_rest(struct unstick_pool *pool, struct unstick_left *left, uint64_t number)
{
	struct unstick_job *job;
	const unstick_time end = unstick_now() + LOOKS_BUDGET;
	while (!left->holds_exit && (job = next_that_may_hold_exit(pool, number))) {
		struct unstick_left_job one;
		number = job->abandoned_number;
		describe(job, unstick_now(), &one);
		left->holds_exit = one.holds_exit;
		if (one.holds_exit)
			tell(job, &one);
		unstick_job_unref(job);
		if (unstick_now() >= end) {
			log_line("unstick_pool_close: left: too many to look at each: whether one of the rest holds up the exit is "
			         "not known");
			return;
		}
	}
}

static void describe_oldest(struct unstick_left *left, const struct picked *picked)
{
	struct unstick_left_job one;
	const struct unstick_left_job *oldest = &one;
	unsigned i = 0;
	while (i < picked->count && picked->jobs[i] != picked->oldest)
		i++;
	if (i < picked->count)
		oldest = &left->jobs[i];
	else
		describe(picked->oldest, unstick_now(), &one);
	left->oldest_ns = oldest->running_ns;
	left->tid = oldest->tid;
	left->fd = oldest->outcome.fd;
	print_one(oldest, left->what, sizeof left->what);
}

void left_fill(struct unstick_pool *pool, struct unstick_left *left)
{
	struct picked picked;
	*left = (struct unstick_left){.fd = -1};
	pick(pool, left, &picked);
	describe_listed(pool, left, &picked);
	if (picked.oldest)
		describe_oldest(left, &picked);
	else if (left->count)
		text_copy(left->what, sizeof left->what, "jobs that were queued and never run, which end at this moment");
	look_at_rest(pool, left, picked.last);
	for (unsigned i = 0; i < picked.count; i++)
		unstick_job_unref(picked.jobs[i]);
	unstick_job_unref(picked.oldest);
}

int unstick_left_print(const struct unstick_left *left, char *buf, size_t size)
{
	struct text text;
	char line[512];
	if (!left || (!buf && size))
		return job_refuse("unstick_left_print", NULL, -EINVAL, left ? "buf is NULL, but size is not 0" : "left is NULL");
	text_start(&text, buf, size);
	for (unsigned i = 0; i < left->listed && i < UNSTICK_LEFT_JOBS; i++) {
		print_one(&left->jobs[i], line, sizeof line);
		text_add(&text, i ? "\n" : "");
		text_add(&text, line);
	}
	if (!left->listed && left->count) /* an engine's; or jobs that never ran */
		text_add(&text, left->what);
	if (left->listed && left->listed < left->count) {
		snprintf(line, sizeof line, "\nand %u more", left->count - left->listed);
		text_add(&text, line);
	}
	return (int)text.length;
}
