/* SPDX-License-Identifier: MIT
 *
 * Making a system call through the window.
 */
#ifndef UNSTICK_WAKE_CALL_H
#define UNSTICK_WAKE_CALL_H

#include "base/raw.h"
#include "wake/thread.h"

/* To be made again, with the time that is left: our signal interrupted it though nothing had fired; or it was not made because
 * of a scope that turned out to be gone. No kernel result has these values. */
#define CALL_AGAIN (ARCH_CUT + 1)
#define CALL_NOT_MADE ARCH_CUT

static inline bool call_is_again(long result)
{
	return result == CALL_AGAIN || result == CALL_NOT_MADE;
}

/* The record, if a scope is in force on this thread; else the bare call is to be made. */
static inline struct unstick_thread *call_scope(void)
{
	struct unstick_thread *self = thread_current;
	return thread_is_armed(self) ? self : NULL;
}

/* One attempt in a scope: the kernel's answer, -ECANCELED or -ETIMEDOUT, CALL_AGAIN or CALL_NOT_MADE. */
long call_once(struct unstick_thread *self, long nr, long a, long b, long c, long d, long e, long f);

/* The call, in a scope or not; nothing to be made again. For calls without a relative timeout. */
long call_make(long nr, long a, long b, long c, long d, long e, long f);

#define CALL_2(nr, a, b) call_make((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define CALL_3(nr, a, b, c) call_make((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define CALL_4(nr, a, b, c, d) call_make((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define CALL_6(nr, a, b, c, d, e, f) call_make((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
