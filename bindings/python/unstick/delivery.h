/* SPDX-License-Identifier: MIT
 *
 * One exception on its way to one thread. There are two ways in, and whichever comes first takes it:
 *
 *   the error of the call    the thread is blocked in a call: the library ends the call with an errno; when CPython makes an
 *                            exception of that errno, ours is raised in its place (arrival.c)
 *   the asynchronous slot    the thread computes, or waits for the GIL or a lock: PyThreadState_SetAsyncExc(), which raises at
 *                            the next bytecode that looks. Condition.wait() has its own rules (condition.h); code that holds
 *                            locks in Python is spared for a while (frames.h)
 *
 * Invariants: taken once; the slot is empty while a call is being ended (but for code that is known to swallow
 * the error), and is emptied by whoever takes the exception the other
 * way, and by delivery_close(). A call is looked at and ended while the GIL is held, so that the thread cannot run Python code, and so
 * not leave a scope, between the look and the end of the attempt.
 * What it does not do: decide when to look again (scope.c, interrupt.c; `at` says when it makes sense).
 */
#ifndef UNSTICK_PYTHON_DELIVERY_H
#define UNSTICK_PYTHON_DELIVERY_H

#include "python.h"

struct delivery {
	/* Set by the owner before delivery_open(): */
	unsigned long ident; /* of the thread, as threading.get_ident() */
	pid_t tid;
	void (*raise)(
	        struct delivery *me); /* runs in the thread, sets the Python error. `me` may be gone once it runs Python code */

	/* Read by the owner: */
	bool open, taken;
	bool by_slot;          /* taken that way */
	bool cut;              /* a call of the thread was ended for this; its error may have become another exception, or none */
	bool off_list;         /* it waited to be notified, and has been woken by us in place of that: not to be withdrawn */
	bool gone;             /* there is no such thread any more */
	_Atomic uint32_t word; /* 1 once taken; futex */
	unstick_time at;       /* next look that makes sense */
	unstick_time begun, taken_at;
	struct unstick_outcome outcome; /* of the call that was ended; else of the last look */

	/* delivery.c's own: */
	struct delivery *next;
	struct unstick_thread *thread;
	bool in_slot;
	bool swallowed; /* the error of its call will not be seen: the slot is used at once */
	unsigned looks_since_cut, looks_in_call, cuts;
	int64_t turns; /* when last looked at in a wait; -1: not yet */
	unstick_time turns_seen;
	unstick_time gap;
};

/* Those that are open; arrival.c asks before it does anything else. */
extern struct delivery *delivery_list;

/* 0, or -ENOMEM; a thread that has ended is `gone`. */
int delivery_open(struct delivery *me);
/* One look at the thread, and what can be done about what it does. */
void delivery_push(struct delivery *me);
/* Withdraws what has not arrived. Afterwards nothing of it can. */
void delivery_close(struct delivery *me);

enum delivery_way { DELIVERY_BY_CALL, DELIVERY_BY_SLOT };
/* In the thread: raises what is on its way to it. false: nothing is. */
bool delivery_take(enum delivery_way way);
/* Is one in the calling thread's slot, and raised as soon as it runs bytecode? C code that waits ends its wait. */
bool delivery_for_caller(void);

/* What is in the slot of a thread that has entered a shield is taken out, until the next look. */
void delivery_hold(unsigned long ident);

void delivery_after_fork(void);

#endif
