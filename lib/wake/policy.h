/* SPDX-License-Identifier: MIT
 *
 * May the call that a thread is blocked in be cut short, how, and if not, why: the table's verdict (base/syscalls.def) put
 * beside what the fd is, what the kernel waits for, and whether the thread can be woken at all. Invariant: a thread that a
 * signal would make worse is never judged CALL_EINTR_ONLY or CALL_REWRITE by a full judgement. In a FUSE request the first
 * signal turns a sleep that can be killed into one that cannot; in a page fault on a userfaultfd inside a read or write it
 * makes the thread spin. The quick judgement keeps that promise for everything that it can see by the call and its fds; what
 * it does not see is a write to a full socket, or a datagram's read, stuck on a buffer mapped from a FUSE file or a
 * userfaultfd. What it does not do: send anything, count attempts, or look at signal masks and handlers. Async-signal-safe.
 */
#ifndef UNSTICK_WAKE_POLICY_H
#define UNSTICK_WAKE_POLICY_H

#include "base/calls.h"
#include "inspect/fd.h"
#include "inspect/task.h"
#include "unstick.h"

struct policy_verdict {
	enum call_verdict verdict;
	int kind;        /* enum unstick_kind that an attempt would come to; UNSTICK_WOKEN if it can be freed */
	int fd;          /* the call's fd argument; -1: none */
	const char *why; /* static text, for people, fewer than 80 bytes; never NULL */
	char state;      /* '?' if it was not read */
	char wait[40];   /* kernel function it waits in; "" if it was not read or is not known */
};

enum {
	POLICY_FIRST = 0, /* the quick judgement: the wait function is read only if the call needs it */
	POLICY_IN_SCOPE =
	        1 << 0, /* for a fired scope, or one call once: wait4 and waitid may be rewritten, event loops count as freed */
	POLICY_FULL = 1 << 1, /* also by state letter and wait function, whatever the call */
	POLICY_ALLOWED =
	        1 << 2, /* a scope allows the call (unstick_scope_allow()), unless it is CALL_NEVER or would be made worse */
};

/* A thread of this process is blocked in that call on a pipe or socket although the fd is ready: then it may be stuck in the
 * copy from or to a page of a userfaultfd or of a silent FUSE file, where a signal would make it worse, and the wait function
 * must be asked. Polling such an fd takes a twentieth of the time of reading the wait function. */
bool policy_may_be_copying(const struct call *known, int fd, const struct fd_info *info);

/* pid 0: this process. `call` is what task_read_call() gave with TASK_BLOCKED. */
void policy_judge(pid_t pid, pid_t tid, const struct task_call *call, unsigned how, struct policy_verdict *ret);

/* What the judgement saw, into an outcome: call, fd, state and wait function. Its kind is the caller's. */
void policy_note(const struct task_call *call, const struct policy_verdict *verdict, struct unstick_outcome *outcome);

#endif
