/* SPDX-License-Identifier: MIT
 *
 * The one background thread ("the monitor"). It sleeps until the earliest moment that its sources have given, and is rung
 * earlier by whoever made an earlier one. It knows nothing of what the sources are: scopes, token deadlines and watches
 * register a scan function.
 *
 * The pairing that loses no deadline (memory-model.md, B):
 *     whoever has a deadline:  publish it (seq_cst), then alarm_is_late_for() loads `due`; if late: alarm_ring()
 *     the monitor:             store `due` = NEVER (seq_cst), then scan; then store `due` = the earliest found
 */
#ifndef UNSTICK_LIMIT_ALARM_H
#define UNSTICK_LIMIT_ALARM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "limit/time.h"

/* Does what is due at `now`; returns the next moment at which it wants to run, or UNSTICK_NEVER. Runs on the monitor only. */
typedef unstick_time alarm_scan(unstick_time now);

extern _Atomic unstick_time alarm_due; /* the monitor runs at this moment at the latest; only it writes */

/* One more source, if it is new, also while the monitor runs; what it has due is then to be rung for. */
void alarm_add(alarm_scan *scan);

/* Ask for SCHED_FIFO. Before the start. */
void alarm_use_realtime(void);

/* Starts the monitor unless it runs. 0 or -EAGAIN. Not async-signal-safe. */
int alarm_start(void);

/* Would the monitor sleep past `when`? Then ring. Async-signal-safe. */
static inline bool alarm_is_late_for(unstick_time when)
{
	return when < atomic_load_explicit(&alarm_due, memory_order_seq_cst);
}

/* Makes the monitor scan soon. Async-signal-safe. */
void alarm_ring(void);

/* Is the calling thread the monitor? */
bool alarm_is_self(void);

/* In a forked child: there is no monitor. */
void alarm_after_fork(void);

#endif
