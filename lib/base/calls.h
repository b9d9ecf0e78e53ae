/* SPDX-License-Identifier: MIT
 *
 * What is known of each system call: its name, its arguments, which of them is the fd, and whether a thread that is blocked in
 * it may be cut short. The table itself is syscalls.def; policy, the reports, the refusals of unstick_scope_allow() and a man
 * page come from it. What it does not do: look at a thread. A verdict with flags is only the beginning of one (wake/policy.c).
 * Async-signal-safe.
 */
#ifndef UNSTICK_BASE_CALLS_H
#define UNSTICK_BASE_CALLS_H

#include <sys/syscall.h>

/* Younger than some kernel headers; from 424 on the numbers are the same on all architectures. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_map_shadow_stack
#define SYS_map_shadow_stack 453
#endif
#ifndef SYS_futex_wake
#define SYS_futex_wake 454
#endif
#ifndef SYS_futex_wait
#define SYS_futex_wait 455
#endif
#ifndef SYS_futex_requeue
#define SYS_futex_requeue 456
#endif
#ifndef SYS_statmount
#define SYS_statmount 457
#endif
#ifndef SYS_listmount
#define SYS_listmount 458
#endif
#ifndef SYS_mseal
#define SYS_mseal 462
#endif

enum call_verdict {
	CALL_LEAVE = 0,  /* no signal, no errno */
	CALL_EINTR_ONLY, /* a signal, no errno of ours */
	CALL_REWRITE,    /* a signal, and the reason's errno in place of EINTR */
};

enum {
	CALL_NEVER = 1u << 0,        /* must never be given an errno, whatever a scope allows */
	CALL_LOCK = 1u << 1,         /* futex family */
	CALL_BY_FD = 1u << 2,        /* the verdict holds only if the fd is no regular file, directory or block device */
	CALL_BY_WAIT = 1u << 3,      /* the verdict holds only in the wait functions of FIFO and lease opens; else CALL_LEAVE */
	CALL_LOCK_COMMAND = 1u << 4, /* the verdict holds only if args[1] is F_SETLKW or F_OFD_SETLKW */
	CALL_EVENT_LOOP = 1u << 5,   /* the wait of an event loop, which goes back into it after EINTR */
	CALL_CHILD = 1u << 6,        /* CALL_REWRITE inside a fired scope, and at most three times running */
	CALL_RESTART = 1u << 7,      /* hides the call that it restarts: signal without errno, look again */
	CALL_FILE_LOCK = 1u << 8,    /* its fd is a file by nature, and the file system's own daemon may be asked for the lock */
	CALL_TWO_FDS = 1u << 9,      /* CALL_BY_FD holds for the second fd of the format as well */
	CALL_BY_NAME = 1u << 10,     /* an AF_UNIX address is a path, so that it may wait for a file system */
	CALL_GIVES = 1u << 12,       /* it moves data into the fd, not out of it */
	CALL_ON_SOCKET = 1u << 13,   /* its fd is a socket, or the call would have failed */
	CALL_ANY_FDS = 1u << 11,     /* waits on many fds, and asks the daemon of each that is a FUSE file */
};

struct call {
	const char *name;
	const char *args;     /* a letter an argument; syscalls.def has the list */
	signed char fd_arg;   /* index of the fd argument; -1: none */
	signed char verdict;  /* enum call_verdict */
	unsigned short flags; /* CALL_NEVER, ... */
	const char *reason;   /* for the verdict, to people: fewer than 80 bytes */
};

/* NULL: not in the table, so CALL_LEAVE, "not known to be safe to cut short". */
const struct call *call_find(long nr);

/* One more than the greatest number that call_find() may know. */
long call_limit(void);

/* The fd that the call is about, -1 for none or for a value that cannot be one (AT_FDCWD). `call` may be NULL. */
int call_fd(const struct call *call, const unsigned long args[6]);

/* The second fd of splice, tee, sendfile, ...; -1 for none. */
int call_second_fd(const struct call *call, const unsigned long args[6]);

#endif
