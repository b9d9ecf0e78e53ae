/* SPDX-License-Identifier: MIT
 *
 * A thread's open scopes, innermost first, and which of them is to be fired now. Scopes are entered and left by their own thread;
 * anybody who holds the GIL may look at them and fire them.
 *
 * Of several that are due the outermost is fired, unless an inner one is at it: one exception at a time is on its way to a thread. One
 * that has been taken is followed by another only when the thread blocks or computes again outside of clean-up code, or still does so
 * after a second: a scope is a total limit, also for code that tries again, but the code that clears up after it is to be left
 * in peace.
 */
#ifndef UNSTICK_PYTHON_LANE_H
#define UNSTICK_PYTHON_LANE_H

#include "delivery.h"

struct scope;

struct lane {
	struct lane *next;
	unsigned long ident;
	pid_t tid;
	struct scope *top;
	unstick_time taken_at; /* the last exception of a scope here */
	_Atomic bool ended;    /* the thread has: set without the GIL */
};

/* Private to lane_self(). Initial-exec: no call to find it, for 8 bytes of what ld.so keeps free. */
extern _Thread_local struct lane *lane_own __attribute__((tls_model("initial-exec")));
struct lane *lane_new(void);

/* The calling thread's; made on first use. NULL: no memory. */
static inline struct lane *lane_self(void)
{
	return lane_own ? lane_own : lane_new();
}

/* Looks at one lane (at all of them): fires what is due. Returns when to look again. May let other threads run. */
unstick_time lane_step(struct lane *lane, unstick_time now);
unstick_time lane_step_all(unstick_time now);

/* Is that thread in a shield? Then nothing is raised in it. */
bool lane_is_shielded(unsigned long ident);

int lane_initialise(void);
void lane_after_fork(void);

#endif
