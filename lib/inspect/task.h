/* SPDX-License-Identifier: MIT
 *
 * What a thread is doing, read from /proc without stopping it, signalling it, or touching what it waits for. Everywhere: pid 0
 * is this process, `tid` is a thread of `pid`. Errors: -ESRCH the thread has ended, -ENOENT there is no /proc (or no such file
 * in it), -EACCES no right to read it, -EMFILE, -ENFILE, -ENOMEM. What it does not do: judge (wake/policy.c). What was read
 * may be over by the time that it is returned. Async-signal-safe.
 */
#ifndef UNSTICK_INSPECT_TASK_H
#define UNSTICK_INSPECT_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct task_call {
	long nr;               /* -1: blocked in no system call (a page fault, or stopped in user mode) */
	unsigned long args[6]; /* 0 when nr is -1 */
	unsigned long sp, pc;  /* both 0: the thread has ended, only its number is left */
};

enum {
	TASK_BLOCKED = 0,
	TASK_RUNNING = 1, /* or about to: nothing is filled in */
};

extern _Atomic uint64_t task_looks; /* by task_read_call() and task_read_call_fd(), ever */

/* The call that the thread is blocked in. TASK_BLOCKED, TASK_RUNNING or an error. A thread that looks at itself finds its own
 * read(). */
int task_read_call(pid_t pid, pid_t tid, struct task_call *ret);

/* The same with an fd that is kept, for a thread of this process: it still reads after setuid() has made the process undumpable.
 * The fd belongs to the caller; reading it from another process than the one that opened it (a forked child) shows the parent's. */
int task_open_call(pid_t tid);
int task_read_call_fd(int fd, struct task_call *ret);

/* State letter of proc_pid_stat(5); '?' unknown. */
char task_state(pid_t pid, pid_t tid);

/* The kernel function that it waits in: its length, 0 when it runs or the kernel does not tell. */
int task_wait_function(pid_t pid, pid_t tid, char *buf, size_t size);

/* 1: the thread blocks `sig` now (ppoll()'s mask counts too); 0: it does not. */
int task_blocks_signal(pid_t pid, pid_t tid, int sig);

/* 1: `sig` has been sent to the thread and has not arrived; 0: not so. */
int task_has_pending(pid_t pid, pid_t tid, int sig);

/* Blocks the thread `sig`, which was sent to it, and not merely because a handler runs on it that blocks everything? In the
 * handler of `sig` itself the signal is pending no more, and the thread runs. */
bool task_holds_back_signal(pid_t pid, pid_t tid, int sig);

/* In clock ticks since boot: with the tid, tells a thread from a later one of the same number. */
int task_start_time(pid_t pid, pid_t tid, uint64_t *ret);

int task_name(pid_t pid, pid_t tid, char buf[16]);

/* For how long it has not run, in nanoseconds; -1 unknown (needs a kernel with /proc/PID/sched). Too small by up to one
 * scheduler tick; if the thread last ran on another CPU than the caller, also off by what their clocks differ in (25 ms after
 * an hour of a busy virtual machine), but never more than the thread's age. For people, not for decisions. */
int64_t task_blocked_ns(pid_t pid, pid_t tid);

/* When the scheduler last charged the thread with run time, on the clock of its CPU: the start of its sleep if it sleeps. For who
 * asks of many threads and reads its own once. -1 unknown. */
int64_t task_last_run_ns(pid_t pid, pid_t tid);

/* Voluntary context switches so far: two equal numbers, and it has not moved between. Or an error. */
int64_t task_switches(pid_t pid, pid_t tid);

/* Is it that function? Compilers append .isra.0, .constprop.0, .part.0 and the like. */
bool task_waits_in(const char *wait_function, const char *name);

/* Stopped by a signal, a tracer or a freezer, from what task_state() and task_wait_function() gave. */
bool task_is_stopped(char state, const char *wait_function);

#endif
