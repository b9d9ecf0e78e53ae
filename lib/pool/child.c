/* SPDX-License-Identifier: MIT */
#include "pool/child.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/raw.h"
#include "limit/time.h"

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1u << 2) /* Linux 6.9 */
#endif

/* ---- signals */

/* Is its number taken by it still: has nobody reaped it? */
static bool holds_number(const struct child *child)
{
	siginfo_t info;
	return RAW_5(SYS_waitid, P_PIDFD, child->pidfd, &info, WEXITED | WNOHANG | WNOWAIT, NULL) == 0;
}

/* All of its group; -ESRCH: it is empty. */
static int signal_group(const struct child *child, int sig)
{
	long error = RAW_4(SYS_pidfd_send_signal, child->pidfd, sig, NULL, PIDFD_SIGNAL_PROCESS_GROUP);
	if (error == -EINVAL)
		error = holds_number(child) ? RAW_2(SYS_kill, -child->pid, sig) : -ESRCH;
	return (int)error;
}

void child_signal(const struct child *child, int sig)
{
	if (signal_group(child, sig) == -ESRCH || sig == SIGKILL)
		RAW_4(SYS_pidfd_send_signal, child->pidfd, sig, NULL, 0);
}

void child_signal_rest(const struct child *child, int sig)
{
	(void)signal_group(child, sig);
}

/* ---- its end */

static int status_of(const siginfo_t *info)
{
	switch (info->si_code) {
	case CLD_EXITED:
		return (info->si_status & 0xff) << 8;
	case CLD_DUMPED:
		return info->si_status | 0x80;
	default:
		return info->si_status;
	}
}

static int64_t ns_of(const struct timeval *tv)
{
	return (int64_t)tv->tv_sec * TIME_NS_PER_S + (int64_t)tv->tv_usec * 1000;
}

void child_reap(struct child *child, struct unstick_exit *exit)
{
	siginfo_t info;
	struct rusage usage;
	long error;
	do
		error = RAW_5(SYS_waitid, P_PIDFD, child->pidfd, &info, WEXITED, &usage);
	while (error == -EINTR);
	exit->status_taken = error != 0;
	exit->status = error ? -1 : status_of(&info);
	exit->user_ns = error ? -1 : ns_of(&usage.ru_utime);
	exit->system_ns = error ? -1 : ns_of(&usage.ru_stime);
	exit->max_rss = error ? -1 : (int64_t)usage.ru_maxrss * 1024;
	RAW_1(SYS_close, child->pidfd);
	child->pidfd = -1;
}
