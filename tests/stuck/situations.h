/* SPDX-License-Identifier: MIT
 *
 * The one source of stuck threads, for the tests, the benchmarks, the command's tests and Python's: every way in which an ordinary
 * process can get a thread stuck, each with the system call that must then be seen in /proc, and with what must become of an attempt
 * to free it.
 *
 *     struct stuck *stuck;
 *     if (stuck_new(&stuck, situation_find("tcp-recv"), STUCK_FOREIGN) == 0) {
 *             stuck_start(stuck);  stuck_wait_blocked(stuck);
 *             ... try to free it ...
 *             stuck_free(stuck);
 *     }
 *
 * Invariants: a situation blocks for at least 30 s if nobody touches it; whatever it makes (fds, processes, threads, files, System V
 * objects) is gone after stuck_free(); one process may hold several of them, except where a summary says otherwise.
 * Results are those of the calls, errors as -errno. SIGUSR2 belongs to this module: a handler without SA_RESTART, which does nothing.
 * What it does not do: use scopes or tokens. Those are the caller's business, in the hooks.
 */
#ifndef STUCK_SITUATIONS_H
#define STUCK_SITUATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <unstick.h>

struct place;
struct stuck;

enum stuck_way {
	STUCK_FOREIGN, /* a plain libc call */
	STUCK_RETRY,   /* the same in `do ... while (EINTR)` */
	STUCK_OWN,     /* the unstick_* call, or unstick_syscall() */
};

/* What an attempt to cut a foreign call short must give. An own call gives the reason wherever it can be freed, or its count. */
enum stuck_cut {
	STUCK_CUT_REASON, /* -ECANCELED or -ETIMEDOUT */
	STUCK_CUT_EINTR,  /* -EINTR: its callers accept no other error */
	STUCK_CUT_COUNT,  /* `count`, which has been moved; -1: any result >= 0, or the reason */
	STUCK_CUT_FAILS,  /* some error of the library function's own kind, after several pokes */
	STUCK_CUT_NEVER,  /* it stays until it is released */
};

enum stuck_flag {
	STUCK_UNTOUCHED = 1u << 0,  /* must not even get a signal */
	STUCK_OWN_STAYS = 1u << 1,  /* its own variant stays as well, unless the token fired before */
	STUCK_NO_RETRY = 1u << 2,   /* never shows EINTR, or cannot be repeated: STUCK_RETRY makes no sense */
	STUCK_SCOPE_ONLY = 1u << 3, /* an errno inside a scope; a lone interrupt may give EINTR instead */
	STUCK_CHILD = 1u << 4,      /* the child that it waits for lives on, and the outcome must name it */
	STUCK_NO_TSAN = 1u << 5,    /* ThreadSanitizer's interceptors or late handlers are in its way */
	STUCK_ROOT = 1u << 6,       /* needs root */
};

struct situation {
	const char *name;    /* "pipe-read" */
	const char *group;   /* fd net tty file ipc proc sleep poll aio futex lock libc mask seccomp stop spin fault */
	const char *summary; /* one line for --list */
	unsigned flags;      /* enum stuck_flag */
	long nr[3];          /* system calls that /proc may show; -1 none (a fault), -2 running; a zero ends it, except in front */
	enum stuck_cut cut;
	long count;
	int kind[2]; /* what unstick_thread_interrupt() may come to; enum unstick_kind; {0}: UNSTICK_WOKEN */
	long done;   /* the result after release */
	/* All but the first may be NULL. setup: 0, or -errno with place->why for the skip. It runs in the thread that calls stuck_new(). */
	int (*setup)(struct place *);
	long (*foreign)(struct place *);
	long (*own)(struct place *);
	/* Once it is seen to be blocked, in the thread that waits for that: what else must happen before nothing can free it. */
	int (*settle)(struct place *);
	/* Gives what it waits for. NULL: SIGUSR2 to the thread, which most calls show as -EINTR. */
	int (*release)(struct place *);
	void (*cleanup)(struct place *); /* beyond fds, child, directory, helper thread, which go by themselves */
};

/* All situations: situation_at(0), ... until NULL. */
const struct situation *situation_at(size_t index);
const struct situation *situation_find(const char *name);
/* Whether it can be made in this way at all. */
bool situation_has(const struct situation *situation, enum stuck_way way);
bool situation_has_nr(const struct situation *situation, long nr);
const char *stuck_way_name(enum stuck_way way);

/* Makes everything but the blocking call. 0; -errno: it cannot be made here, stuck_why_not() says why. */
int stuck_new(struct stuck **ret, const struct situation *situation, enum stuck_way way);
const char *stuck_why_not(void);
/* What its thread runs right before and right after the blocking call. */
void stuck_set_hooks(struct stuck *stuck, void (*before)(void *), void (*after)(void *), void *arg);
/* Blocks in a thread of its own, or in the calling one. */
int stuck_start(struct stuck *stuck);
void stuck_run(struct stuck *stuck);

/* Waits until /proc shows it blocked in an expected call. 0; -EALREADY: it has come out; -ETIMEDOUT after 10 s; -EACCES without /proc. */
int stuck_wait_blocked(struct stuck *stuck);
/* Whether it is blocked now. */
bool stuck_is_blocked(struct stuck *stuck);
/* Waits until the call has returned and the `after` hook has run. 0; -ETIMEDOUT. */
int stuck_wait_done(struct stuck *stuck, int timeout_ms);
bool stuck_is_done(struct stuck *stuck);

pid_t stuck_tid(struct stuck *stuck);
/* The system call it was last seen in, and the state letter. */
long stuck_nr(struct stuck *stuck);
char stuck_state(struct stuck *stuck);
/* Once the call has returned (also in the `after` hook). */
long stuck_result(struct stuck *stuck);
/* The process it waits for, talks to, or that holds its lock; 0: none. */
pid_t stuck_child(struct stuck *stuck);

/* Gives it what it waits for, once. 0; -errno. */
int stuck_release(struct stuck *stuck);
/* Ends the thread by whatever means (release, signals, pthread_cancel), undoes everything. 0; -EBUSY: it could not, and says so on
 * stderr; then all is left as it is. NULL is allowed. */
int stuck_free(struct stuck *stuck);
/* Removes what a killed process `pid` had left in the file system and among the System V objects. */
void stuck_sweep(pid_t pid);

#endif
