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
#include "pool/job.h"
#include "pool/process.h"
#include "wake/outcome.h"

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

bool job_look(struct unstick_job *job, struct unstick_outcome *outcome, struct unstick_report *report)
{
	pid_t program = job->process ? process_pid(job->process) : 0;
	*outcome = (struct unstick_outcome){.nr = -1, .fd = -1, .state = '?'};
	(void)unstick_thread_outcome(job->thread, outcome);
	if (unstick_look(program, program ? program : job->tid, report))
		return false;
	take_report(report, outcome);
	if (program)
		outcome->kind = report->state == 'D' ? UNSTICK_UNINTERRUPTIBLE : outcome->kind;
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
		return -EINVAL;
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

/* Waits that only look as if nothing ended them: SIGKILL, and with it exit, does. vfork(2)'s parent, a userfaultfd's faults, autofs and
 * fanotify waits (kernel/fork.c, fs/userfaultfd.c, fs/autofs/waitq.c, fs/notify/fanotify/fanotify.c). */
static bool ends_by_kill(const struct unstick_outcome *outcome)
{
	static const char *const waits[] = {"handle_userfault", "autofs_wait", "fanotify_handle_event"};
	if (outcome->nr == SYS_vfork || outcome->nr == SYS_clone || outcome->nr == SYS_clone3)
		return true;
	for (unsigned i = 0; i < sizeof waits / sizeof waits[0]; i++)
		if (strcmp(outcome->wait, waits[i]) == 0)
			return true;
	return false;
}

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
	ret->holds_exit = uninterruptible && !ret->pid && !ends_by_kill(&ret->outcome);
}

static unsigned pick(struct unstick_pool *pool, struct unstick_left *left, struct unstick_job *picked[UNSTICK_LEFT_JOBS])
{
	unsigned count = 0;
	unstick_time now = unstick_now();
	lock_take(&pool->lock);
	left->count = pool->abandoned.count;
	for (struct unstick_job *job = pool->abandoned.first; job; job = job->next) {
		left->oldest_ns = now - job->begun > left->oldest_ns ? now - job->begun : left->oldest_ns;
		if (count < UNSTICK_LEFT_JOBS)
			picked[count++] = unstick_job_ref(job);
	}
	lock_drop(&pool->lock);
	return count;
}

static int print_one(const struct unstick_left_job *job, char *buf, size_t size)
{
	char where[128];
	bool program = job->pid;
	outcome_where(&job->outcome, where, sizeof where);
	return snprintf(buf, size, "\"%s\" (%s %d)%s%s%s, for %.1f s: %s%s", job->name, program ? "program" : "thread",
	                (int)(program ? job->pid : job->tid), where, job->object[0] ? ", " : "", job->object,
	                (double)job->running_ns / 1e9, outcome_advice(job->outcome.kind),
	                job->holds_exit ? "; the process cannot exit before it has" : "");
}

void left_fill(struct unstick_pool *pool, struct unstick_left *left)
{
	struct unstick_job *picked[UNSTICK_LEFT_JOBS];
	char line[512];
	*left = (struct unstick_left){.fd = -1};
	left->listed = pick(pool, left, picked);
	for (unsigned i = 0; i < left->listed; i++) {
		struct unstick_left_job *job = &left->jobs[i];
		describe(picked[i], unstick_now(), job);
		unstick_job_unref(picked[i]);
		left->holds_exit |= job->holds_exit;
		print_one(job, line, sizeof line);
		log_line("unstick: pool: close: left: %s", line);
	}
	if (left->listed < left->count)
		log_line("unstick: pool: close: left: %u more", left->count - left->listed);
	if (left->listed) {
		left->tid = left->jobs[0].tid;
		left->fd = left->jobs[0].outcome.fd;
		print_one(&left->jobs[0], left->what, sizeof left->what);
	}
}

int unstick_left_print(const struct unstick_left *left, char *buf, size_t size)
{
	struct text text;
	char line[512];
	if (!left || (!buf && size))
		return -EINVAL;
	text_start(&text, buf, size);
	for (unsigned i = 0; i < left->listed && i < UNSTICK_LEFT_JOBS; i++) {
		print_one(&left->jobs[i], line, sizeof line);
		text_add(&text, i ? "\n" : "");
		text_add(&text, line);
	}
	if (!left->listed && left->count) /* an engine's */
		text_add(&text, left->what);
	if (left->listed && left->listed < left->count) {
		snprintf(line, sizeof line, "\nand %u more", left->count - left->listed);
		text_add(&text, line);
	}
	return (int)text.length;
}
