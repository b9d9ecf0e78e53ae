/* SPDX-License-Identifier: MIT */
#include "main_thread.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "delivery.h"

static bool queued; /* CPython has room for 32 such calls */

/* In the main thread, which holds the GIL. */
static int take(void *unused)
{
	(void)unused;
	queued = false;
	if (!delivery_take(DELIVERY_BY_SLOT))
		return 0;
	PyThreadState_SetAsyncExc(PyThread_get_thread_ident(), NULL);
	return -1;
}

void main_thread_wake(void)
{
	pid_t pid = getpid();
	int signal = unstick_signal();
	if (signal <= 0)
		return;
	/* If there is no room for the call, the next look tries again. */
	queued = queued || Py_AddPendingCall(take, NULL) == 0;
	if (queued)
		syscall(SYS_tgkill, pid, pid, signal);
}

void main_thread_after_fork(void)
{
	queued = false;
}
