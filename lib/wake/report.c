/* SPDX-License-Identifier: MIT
 *
 * unstick_look(): all that can be told of a thread from outside, and what an attempt to free it would come to.
 * Invariant: the report is filled from what could be read; what could not stays "unknown", and `why` says what was missing.
 * What it does not do: stop or signal anything. The fields are read one after the other, so a thread that moves may show some of
 * before and some of after.
 */
#include <errno.h>
#include <signal.h>
#include "base/raw.h"
#include "base/text.h"
#include "inspect/fd.h"
#include "wake/policy.h"
#include "wake/report.h"
#include "unstick.h"

enum {
	NR_RUNNING = -2,
	NR_UNKNOWN = -3,
};

static void conclude(struct unstick_report *report, int freeable, int expect, const char *why)
{
	report->freeable = (signed char)freeable;
	report->expect = expect;
	text_copy(report->why, sizeof(report->why), why);
}

static void fill_call(struct unstick_report *report, const struct task_call *task_call)
{
	const struct call *call = call_find(task_call->nr);
	struct text name;

	report->nr = task_call->nr;
	report->sp = task_call->sp;
	report->pc = task_call->pc;
	for (int i = 0; i < 6; i++)
		report->args[i] = task_call->args[i];
	report->fd = call_fd(call, task_call->args);
	text_start(&name, report->call, sizeof(report->call));
	if (call != NULL) {
		text_add(&name, call->name);
	} else if (task_call->nr >= 0) {
		text_add(&name, "syscall_");
		text_add_decimal(&name, task_call->nr);
	}
}

static void judge(struct unstick_report *report, bool own, const struct task_call *task_call)
{
	struct policy_verdict verdict;
	int signal = !own ? 0 : unstick_signal() > 0 ? unstick_signal() : SIGURG; /* not chosen yet: the likeliest */

	policy_judge(own ? 0 : report->pid, report->tid, task_call, POLICY_FULL, &verdict);
	report->state = verdict.state;
	text_copy(report->wait, sizeof(report->wait), verdict.wait);
	if (verdict.kind == UNSTICK_NOT_INSPECTABLE)
		conclude(report, -1, verdict.kind, verdict.why);
	else if (verdict.kind == UNSTICK_WOKEN && signal > 0 && task_blocks_signal(0, report->tid, signal) == 1)
		conclude(report, 0, UNSTICK_SIGNAL_BLOCKED, "it blocks the signal that unstick uses");
	else if (verdict.kind == UNSTICK_WOKEN && text_after(verdict.wait, "seccomp_do_user_notification") != NULL)
		/* SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV does not show: with it a signal makes the sleep uninterruptible. */
		conclude(report, -1, UNSTICK_WOKEN, "a seccomp supervisor has the call, and may keep it in spite of a signal");
	else
		conclude(report, verdict.kind == UNSTICK_WOKEN, verdict.kind, verdict.why);
}

static const char *error_text(int error)
{
	switch (error) {
	case -EACCES:
		return "no right to see its system call (needs the same user, or CAP_SYS_PTRACE)";
	case -EMFILE:
	case -ENFILE:
		return "too many open files to look into /proc";
	case -ENOMEM:
		return "no memory in the kernel to look into /proc";
	default:
		return "its system call cannot be read";
	}
}

static void fill_unread(struct unstick_report *report, bool own, int read_result)
{
	pid_t pid = own ? 0 : report->pid;

	report->state = task_state(pid, report->tid);
	task_wait_function(pid, report->tid, report->wait, sizeof(report->wait));
	if (report->state == 'Z' || report->state == 'X') { /* on the last steps of its exit it still runs */
		report->nr = NR_UNKNOWN;
		conclude(report, 0, UNSTICK_GONE, "it has ended");
	} else if (read_result == TASK_RUNNING) {
		report->nr = NR_RUNNING;
		conclude(report, 0, UNSTICK_NOT_BLOCKED, "it runs: it is blocked in no call");
	} else {
		report->nr = NR_UNKNOWN;
		conclude(report, -1, UNSTICK_NOT_INSPECTABLE, error_text(read_result));
	}
}

/* The kernel's own threads, and its workers in a process (io_uring), have no registers of a program: /proc shows zeros, which would be a
 * read() of fd 0. */
static bool is_of_kernel(const struct task_call *task_call)
{
	return task_call->nr >= 0 && task_call->sp == 0 && task_call->pc == 0; /* a zombie has -1 */
}

static void fill_kernel(struct unstick_report *report, bool own)
{
	pid_t pid = own ? 0 : report->pid;

	report->nr = NR_UNKNOWN;
	report->state = task_state(pid, report->tid);
	task_wait_function(pid, report->tid, report->wait, sizeof(report->wait));
	text_copy(report->call, sizeof(report->call), "(kernel)");
	conclude(report, 0, UNSTICK_LEFT_ALONE, "a thread of the kernel: it is in no call");
}

int report_look(pid_t pid, pid_t tid, unsigned parts, struct unstick_report *report)
{
	struct unstick_report result = {.pid = pid, .tid = tid, .state = '?', .fd = -1, .blocked_ns = -1};
	bool own = pid == (pid_t)RAW_0(SYS_getpid);
	struct task_call task_call;
	int r = task_read_call(own ? 0 : pid, tid, &task_call);

	if (r == -ESRCH || r == -ENOENT)
		return r;
	/* It would find itself in the read() of its own file. */
	if (own && tid == (pid_t)RAW_0(SYS_gettid))
		r = TASK_RUNNING;
	if (r == TASK_BLOCKED && is_of_kernel(&task_call)) {
		fill_kernel(&result, own);
	} else if (r == TASK_BLOCKED) {
		fill_call(&result, &task_call);
		judge(&result, own, &task_call);
	} else {
		fill_unread(&result, own, r);
	}
	if ((parts & REPORT_OBJECT) != 0 && result.fd >= 0)
		fd_describe(own ? 0 : pid, result.fd, result.object, sizeof(result.object));
	if ((parts & REPORT_BLOCKED) != 0)
		result.blocked_ns = task_blocked_ns(own ? 0 : pid, tid);
	task_name(own ? 0 : pid, tid, result.name);
	*report = result;
	return 0;
}

int unstick_look(pid_t pid, pid_t tid, struct unstick_report *report)
{
	if (pid < 0 || tid < 0)
		return -ESRCH;
	if (report == NULL)
		return -EINVAL;
	if (pid == 0)
		pid = (pid_t)RAW_0(SYS_getpid);
	return report_look(pid, tid > 0 ? tid : pid, REPORT_ALL, report);
}
