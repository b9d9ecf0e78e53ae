/* SPDX-License-Identifier: MIT
 *
 * The offload threads: threads that make the calls that no ring and no epoll can wait for, or that may hang: files, opens,
 * closes, terminals. Each call is made in a scope, so that one that a signal ends comes out when it is cut. One that does not,
 * because its file system hangs, is left behind: the call becomes an orphan, which owns its memory and cleans up if the kernel
 * ever returns, and another thread takes the thread's place. What it does not do: keep deadlines, call back; that is the
 * worker's.
 */
#ifndef UNSTICK_ENGINE_OFFLOAD_H
#define UNSTICK_ENGINE_OFFLOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "unstick.h"

struct helper_call;
struct op;
struct offload;

enum offload_class { OFFLOAD_FILES, OFFLOAD_BLOCKING, OFFLOAD_CLASSES };

/* Whose it is: */
enum offload_state {
	OFFLOAD_QUEUED,    /* the offload's, and anybody's who takes it out of this state */
	OFFLOAD_RUNNING,   /* a thread is in the call */
	OFFLOAD_RETURNING, /* it has come out, and copies to the caller's memory */
	OFFLOAD_ALONE,     /* the worker gave it up, but it is to be made all the same, and freed */
	OFFLOAD_LEFT,      /* the worker gave it up: the thread's or the queue's, which frees it */
};

struct offload_call {
	_Atomic int state;
	unsigned class_;
	struct op *op; /* not to be touched once OFFLOAD_LEFT */
	struct offload_call *next, **back;
	struct unstick_token *token; /* ends the call, if a signal can; else NULL */
	bool may_be_left;            /* all that the kernel may write to is the call's */
	bool ends_by_signal;         /* or nothing but its file system ends it */
	bool is_due;                 /* to be made even if nobody waits for it: a close */
	bool makes_fd;               /* its result is an fd: to be closed if nobody wants it */
	short wait_events;           /* the fd waits by poll() on EAGAIN; 0: EAGAIN is the answer */
	bool also_waits_to_write;    /* and then its second one, args[2] */
	long nr, args[6];
	struct helper_call *isolated; /* made by a helper in place of `nr`; owned */
	long result;
	/* Memory that the kernel works on in the caller's stead, and where to copy what it wrote: */
	void *copy;
	struct unstick_buffer *buffer;
	void *to;                   /* NULL: nothing to copy back */
	size_t to_size;             /* 0: as many bytes as the result says */
	const struct iovec *to_iov; /* or here */
	int to_count;
	char *path;
	const char *name;
	unstick_time started, left;
	_Atomic pid_t tid;
	int fd;
};

struct offload_limits {
	unsigned most[OFFLOAD_CLASSES]; /* threads */
	unsigned orphans;
};

/* One reference. 0 or -ENOMEM. */
int offload_new(struct offload **ret, const struct offload_limits *limits);
void offload_unref(struct offload *offload);
/* May another one be submitted? False: too many orphans. */
bool offload_accepts(struct offload *offload);

/* Queues the call; its op gets NOTE_RETURNED. 0, or -EAGAIN: no thread could be started and none runs. */
int offload_submit(struct offload *offload, struct offload_call *call);
/* Ends its call if a signal can. True: it had not begun, and is gone. */
bool offload_cut(struct offload *offload, struct offload_call *call);
/* After calls were given up: threads in the place of theirs, if calls are queued. False: none could be
 * started; try again. */
bool offload_tend(struct offload *offload);
/* Gives it up: true: it is the offload's now, and nothing that the caller gave will be touched; false: it has come out, its
 * note is on the way, or it must be waited for. */
bool offload_leave(struct offload *offload, struct offload_call *call);

/* The call that op asks for; `request` has what op has no room for, NULL when a back end passes it on. NULL: no memory. */
struct offload_call *offload_call_new(struct op *op, const struct unstick_request *request);
/* For isolate.c: nothing but what each has. */
struct offload_call *offload_call_blank(struct op *op, const struct unstick_request *request);
/* Makes it, in a scope on its token: the result. */
long offload_call_make(struct offload_call *call);
/* A close for which there is no thread: the result. */
long offload_call_close_here(struct offload_call *call);
void offload_call_copy_back(struct offload_call *call);
/* Nobody wants its result: closes the fd that it may have made. */
void offload_call_discard(struct offload_call *call);
/* NULL is allowed. */
void offload_call_free(struct offload_call *call);

struct offload_report {
	unsigned orphans;
	uint64_t orphans_ever;
	unstick_time oldest_left;   /* when it was left */
	struct unstick_left oldest; /* filled if there is one */
};
void offload_look(struct offload *offload, struct offload_report *ret);
/* No thread of it is needed any more: idle ones end. */
void offload_close(struct offload *offload);
/* Until no orphan is left: true; or until the time. */
bool offload_wait_orphans(struct offload *offload, unstick_time until);

#endif
