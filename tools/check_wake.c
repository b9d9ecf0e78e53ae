/* SPDX-License-Identifier: MIT
 *
 * Checks of `unstick doctor`: what the library needs to cut calls short, and to do so in time.
 */
#include "finding.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <unstick.h>

enum { SLICE_NS = 100000 };

void check_kernel(struct finding *finding)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	unsigned version = major * 1000 + minor;
	if (version >= 5013)
		finding_ok(finding, "%s %s", name.sysname, name.release);
	else if (version >= 5004)
		finding_set(finding, LEVEL_LIMITED, "The engine works without io_uring.",
		            "Linux 5.13 or newer; best 6.12 or newer.", "%s %s", name.sysname, name.release);
	else
		finding_set(finding, LEVEL_MISSING, "The library is not made for it.", "Linux 5.4 or newer; best 6.12 or newer.",
		            "%s %s", name.sysname, name.release);
}

/* ---- the signal */

static void note(void *arg, const char *message)
{
	snprintf(arg, sizeof(((struct finding *)NULL)->found), "%s", message);
}

static const char *signal_text(int number, char *buf, size_t size)
{
	if (sigabbrev_np(number))
		snprintf(buf, size, "SIG%s", sigabbrev_np(number));
	else
		snprintf(buf, size, "SIGRTMIN+%d", number - SIGRTMIN);
	return buf;
}

void check_signal(struct finding *finding)
{
	char noted[sizeof(finding->found)] = "", text[24];
	const struct unstick_options options = {.size = sizeof(options), .log = note, .log_arg = noted};
	const char *wish = getenv("UNSTICK_SIGNAL");

	if (unstick_init(&options) < 0) {
		finding_set(finding, LEVEL_MISSING, "No blocked call can be cut short.",
		            "Leave a signal free, or name one in UNSTICK_SIGNAL.", "%s", noted[0] ? noted : "none is free");
		return;
	}
	signal_text(unstick_signal(), text, sizeof(text));
	if (noted[0])
		finding_set(finding, LEVEL_LIMITED, "It is not the signal that was wished for.",
		            "Set UNSTICK_SIGNAL to URG, USR1, USR2, IO or RTMIN+n.", "%s: UNSTICK_SIGNAL=%s cannot be used", text,
		            wish);
	else if (wish && *wish)
		finding_ok(finding, "%s, by UNSTICK_SIGNAL", text);
	else if (unstick_signal() == SIGURG)
		finding_ok(finding, "%s", text);
	else
		finding_set(finding, LEVEL_LIMITED, "Cannot be sent once RLIMIT_SIGPENDING is used up; pending at exec it kills.",
		            "Start programs with SIGURG unblocked and not ignored.", "%s: SIGURG is ignored or blocked here", text);
}

/* The whole of it: a scope with a deadline around a call of libc's, which knows nothing of it. */
void check_wake(struct finding *finding)
{
	enum { PATIENCE_MS = 2000 };
	struct unstick_scope scope;
	unstick_time begin = unstick_now();

	int error = unstick_scope_begin(&scope, NULL, unstick_after_ms(1));
	int result = error ? 0 : poll(NULL, 0, PATIENCE_MS);
	int wrong = errno;
	double took = (double)(unstick_now() - begin) / 1e6;
	if (!error)
		error = unstick_scope_end(&scope);
	if (result < 0 && wrong == ETIMEDOUT)
		finding_ok(finding, "a poll() with a deadline of 1 ms ended after %.2f ms", took);
	else if (result < 0)
		finding_set(finding, LEVEL_LIMITED, "Code that goes on after EINTR is freed only by signal after signal.",
		            "See the line proc-syscall.", "a poll() with a deadline of 1 ms ended with %s", strerrorname_np(wrong));
	else
		finding_set(finding, LEVEL_MISSING, "No blocked call can be cut short.",
		            "See the line signal; let seccomp filters pass tgkill, or rt_tgsigqueueinfo.",
		            "a poll() with a deadline of 1 ms went on");
}

void check_membarrier(struct finding *finding)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0 &&
	    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
		finding_ok(finding, "private expedited");
	else
		finding_set(finding, LEVEL_LIMITED, "Threads that run get signals that they do not need.",
		            "A kernel with CONFIG_MEMBARRIER; let seccomp filters pass membarrier.", "refused (%s)",
		            strerrorname_np(errno));
}

/* ---- punctual deadlines */

void check_timer_slack(struct finding *finding)
{
	int own = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);

	if (prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0 && prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) == 1)
		finding_ok(finding, "1 ns can be had; this process has %d ns", own);
	else
		finding_set(finding, LEVEL_LIMITED, "Deadlines are late by as much.", "Let seccomp filters pass prctl.",
		            "%d ns, and it cannot be made less", own);
}

/* struct sched_attr of sched_setattr(2), which glibc 2.36 does not declare. */
struct schedule {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void check_slice(struct finding *finding)
{
	struct schedule slice = {.size = sizeof(slice), .runtime = SLICE_NS}, got = {0};

	if (syscall(SYS_sched_setattr, 0, &slice, 0) == 0 && syscall(SYS_sched_getattr, 0, &got, sizeof(got), 0) == 0 &&
	    got.runtime == SLICE_NS)
		finding_ok(finding, "0.1 ms can be had");
	else
		finding_set(finding, LEVEL_LIMITED, "While all processors are busy deadlines are late by milliseconds.",
		            "Linux 6.12 or newer; or the option UNSTICK_REALTIME and CAP_SYS_NICE.", "the kernel's own");
}
