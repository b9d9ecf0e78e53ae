/* SPDX-License-Identifier: MIT
 *
 * Looking for a while before a sleep. To sleep and to be woken takes 5 us where the processors never idle, and was measured at
 * 40 us and more on an idle virtual machine, on both sides; a thread whose partner is about to give it something does better
 * to look. So: after a sleep that was short (200 us), the next one is put off for up to 100 us. Looks that found nothing are
 * followed by 2, 4, ... 64 sleeps without any, so that they cost little where they are in vain; who sleeps long never looks.
 * On a single processor nobody does: the partner could not run meanwhile.
 */
#ifndef UNSTICK_ENGINE_LINGER_H
#define UNSTICK_ENGINE_LINGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A look takes about 20 ns. */
enum { LINGER_LOOKS = 5000, LINGER_SHORT_NS = 200000, LINGER_MOST_FAILURES = 6 };

/* One a waiter; zero at first. */
struct lingering {
	bool looks;
	unsigned failures; /* in a row */
	unsigned rests;    /* sleeps to come without looks */
};

extern _Atomic bool linger_is_alone; /* one processor; a hint, found out anew with each engine */

/* How often to look now. */
static inline unsigned linger_looks(const struct lingering *linger)
{
	bool may_look = linger->looks && !linger->rests && !atomic_load_explicit(&linger_is_alone, memory_order_relaxed);
	return may_look ? LINGER_LOOKS : 0;
}

/* It has looked that often. */
static inline void linger_looked(struct lingering *linger, bool found)
{
	linger->failures = found ? 0 : linger->failures + (linger->failures < LINGER_MOST_FAILURES);
	linger->rests = found ? 0 : 1u << linger->failures;
}

static inline void linger_slept(struct lingering *linger, int64_t ns)
{
	linger->looks = ns < LINGER_SHORT_NS;
	linger->rests -= linger->rests > 0;
}

#endif
