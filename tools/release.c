/* SPDX-License-Identifier: MIT
 *
 * See release.h. The judgement is the library's (report_look(), by its table of calls), with what differs when it is not a signal that
 * frees the thread but a tracer: the thread's signal mask does not matter, a call that is being restarted (poll() or a sleep after
 * SIGSTOP and SIGCONT, or after another tracer) can be given an errno as the call that it was, and somebody may be tracing already.
 * Invariant: whoever is refused here is not stopped.
 */
#include "release.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/calls.h"
#include "base/text.h"
#include "inspect/fd.h"
#include "object.h"
#include "parse.h"
#include "rights.h"
#include "sockets.h"
#include "wake/outcome.h"
#include "wake/report.h"

enum {
	LOOKS = 40, /* for what the thread does next: a tenth of a second */
	LOOK_GAP_NS = 2500000,
	LAST_CLOCK = 15, /* MAX_CLOCKS - 1 */
};

/* ---- may it */

static int refuse(char *why, size_t size, const char *reason)
{
	snprintf(why, size, "%s", reason);
	return 0;
}

static int judge_event_loop(const struct release_wish *wish, char *why, size_t size)
{
	if (!wish->event_loops)
		return refuse(why, size,
		              "an event loop's wait: such loops accept no error but EINTR: --yes-event-loop gives it that");
	if (wish->error && wish->error != EINTR)
		return refuse(why, size, "an event loop's wait: such loops accept no error but EINTR: leave out --error");
	return EINTR;
}

/* The kernel's functions for a relative sleep that goes on count as the scheduler's, which it passes over when it names the one that a
 * thread waits in. Those of futex do not, and no futex is at an address that could be a clock's number. */
static bool is_restarted_sleep(const struct unstick_report *report)
{
	return text_equal(report->wait, "do_syscall_64") && report->args[0] <= LAST_CLOCK && report->args[1] == 0;
}

/* restart_syscall hides which call it is. The kernel has it for futex, poll, and the sleeps; where it waits tells them apart. */
static int judge_restarted(const struct unstick_report *report, const struct release_wish *wish, char *why, size_t size)
{
	static const char *const waits[] = {"poll_schedule_timeout", "do_poll", "do_sys_poll", "do_nanosleep", "hrtimer_nanosleep"};

	if (text_after(report->wait, "futex") || text_after(report->wait, "do_futex"))
		return refuse(why, size, outcome_advice(UNSTICK_LOCK));
	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		if (text_after(report->wait, waits[i]))
			return wish->error ? wish->error : ECANCELED;
	}
	if (is_restarted_sleep(report))
		return wish->error ? wish->error : ECANCELED;
	return refuse(why, size, "a call that was stopped and goes on, and nothing tells which");
}

static const char a_lock[] = "a lock";

static bool is_lock(const struct unstick_report *report)
{
	const struct call *call = call_find(report->nr);
	return call && (call->flags & CALL_LOCK);
}

const char *release_reason(const struct unstick_report *report)
{
	switch (report->expect) {
	case UNSTICK_LOCK: /* "a lock: only ..." */
		return outcome_advice(UNSTICK_LOCK) + (is_lock(report) ? strlen(a_lock) + strlen(": ") : 0);
	case UNSTICK_STOPPED:
		return outcome_advice(report->expect);
	case UNSTICK_NOT_BLOCKED:
		return "it computes, in no call: nothing to end";
	default:
		return report->why;
	}
}

static bool may_be_free(const struct unstick_report *report, const struct release_wish *wish)
{
	return report->freeable == 1 || (report->freeable < 0 && report->expect == UNSTICK_WOKEN && wish->unsure);
}

int release_judge(const struct unstick_report *report, const struct release_wish *wish, char *why, size_t size)
{
	const struct call *call = call_find(report->nr);
	pid_t tracer = tracer_of(report->pid, report->tid);

	if (report->pid == getpid())
		return refuse(why, size, "this command itself");
	if (tracer > 0) {
		tracer_complain(tracer, why, size);
		return 0;
	}
	if (rights_lack(report)) {
		snprintf(why, size, "no right to see its call: %s", rights_remedy());
		return 0;
	}
	if (report->expect == UNSTICK_EVENT_LOOP)
		return judge_event_loop(wish, why, size);
	if (!may_be_free(report, wish) || !call)
		return refuse(why, size, release_reason(report));
	if (call->flags & CALL_RESTART)
		return judge_restarted(report, wish, why, size);
	if (call->verdict == CALL_REWRITE)
		return wish->error ? wish->error : ECANCELED;
	if (wish->error && wish->error != EINTR)
		return refuse(why, size, "callers of this call accept no error but EINTR: leave out --error");
	return EINTR;
}

/* ---- in words */

static void make_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

/* " on fd 7 (socket tcp ...)", " (fd 3 pipe:[12], ...)"; and what an event loop watches. */
static void describe(const struct unstick_report *report, char *on, size_t size)
{
	char object[160] = "";
	struct text text;

	if (is_lock(report)) {
		snprintf(object, sizeof(object), "%s", a_lock); /* its address means nothing to a person */
	} else if (report->fd >= 0 && report->expect != UNSTICK_EVENT_LOOP) {
		fd_describe(report->pid, report->fd, object, sizeof(object));
	} else if (report->nr >= 0) {
		sockets_forget(); /* that of an earlier look may be another connection */
		text_start(&text, object, sizeof(object));
		object_describe(report->pid, report->nr, report->args, &text, NULL);
	}
	make_printable(object);
	if (report->fd >= 0)
		snprintf(on, size, object[0] ? " on fd %d (%s)" : " on fd %d", report->fd, object);
	else if (object[0])
		snprintf(on, size, " (%s)", object);
}

void release_where(const struct unstick_report *report, char *line, size_t size)
{
	char on[192] = "", since[16], blocked[32] = "";

	if (report->sp)
		describe(report, on, sizeof(on));
	if (report->blocked_ns >= 0) {
		format_duration(report->blocked_ns, since, sizeof(since));
		snprintf(blocked, sizeof(blocked), ", for %s", since);
	}
	if (report->nr >= 0 && report->sp)
		snprintf(line, size, "%d/%d: in %s%s%s", (int)report->pid, (int)report->tid, report->call, on, blocked);
	else
		snprintf(line, size, "%d/%d", (int)report->pid, (int)report->tid);
}

/* ---- what it did next */

/* `then` was seen twice, with a gap between, or is the last of many looks. The freed call is over: one like it is a new one. */
static void tell_next(const struct unstick_report *before, const struct unstick_report *then, char *buf, size_t size)
{
	if (then->nr < 0)
		snprintf(buf, size, "then it ran");
	else if (trace_is_same_wait(before, then))
		snprintf(buf, size, "then it made the same call again: the program retries");
	else if (then->fd >= 0)
		snprintf(buf, size, "then in %s on fd %d", then->call, then->fd);
	else
		snprintf(buf, size, "then in %s", then->call);
}

static void watch_next(const struct unstick_report *before, char *buf, size_t size)
{
	const struct timespec gap = {.tv_nsec = LOOK_GAP_NS};
	struct unstick_report last = {.nr = -3}, then;

	for (int i = 0; i < LOOKS; i++) {
		nanosleep(&gap, NULL);
		if (report_look(before->pid, before->tid, 0, &then) < 0 || then.expect == UNSTICK_GONE) {
			snprintf(buf, size, "then it ended");
			return;
		}
		if (then.nr >= 0 && trace_is_same_wait(&last, &then))
			break;
		last = then;
	}
	tell_next(before, &then, buf, size);
}

/* What goes on without the call. */
static void tell_left_over(const struct unstick_report *report, char *buf, size_t size)
{
	pid_t child = report->nr == SYS_wait4                                          ? (pid_t)report->args[0]
	              : report->nr == SYS_waitid && (idtype_t)report->args[0] == P_PID ? (pid_t)report->args[1]
	                                                                               : 0;
	buf[0] = '\0';
	if (report->nr == SYS_connect)
		snprintf(buf, size, "; the connect goes on in the kernel until the fd is closed");
	else if (child > 0)
		snprintf(buf, size, "; child %d lives on", (int)child);
}

bool release_thread(const struct unstick_report *report, int error, char *line, size_t size)
{
	struct trace trace;
	char next[96], aside[64];

	trace_end_call(report, error, &trace);
	if (trace.kind != UNSTICK_WOKEN) {
		snprintf(line, size, "%s", trace.why);
		return trace.kind == UNSTICK_FINISHED_FIRST;
	}
	watch_next(report, next, sizeof(next));
	tell_left_over(report, aside, sizeof(aside));
	snprintf(line, size, "%s, %s (stopped for %.3f ms); %s%s", outcome_advice(UNSTICK_WOKEN), strerrorname_np(error),
	         (double)trace.pause_ns / 1e6, next, aside);
	return true;
}
