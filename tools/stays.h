/* SPDX-License-Identifier: MIT
 *
 * Since when threads have been in the call that they are in, from looks at /proc that are compared: a thread that was in the same call
 * with the same arguments, and has since made no voluntary context switch, has not come out of it in between; to be asleep in another call it
 * would have had to go to sleep again. What is said is never too early, and late by up to the time between two looks. One
 * object for many rounds of looks; a thread that is not seen in a round is forgotten.
 * What it does not do: look.
 */
#ifndef TOOLS_STAYS_H
#define TOOLS_STAYS_H

#include <stdbool.h>
#include <stdint.h>

#include <unstick.h>

#include "inspect/task.h"

struct stays;

struct stay {
	pid_t pid, tid;
	struct task_call call;
	int64_t switches;
	unstick_time since; /* known to be in this call from then on */
	bool told;          /* the caller's: it has spoken of this stay. Kept from round to round */
};

struct stays *stays_new(void);
struct stays *stays_free(struct stays *stays);

void stays_begin(struct stays *stays); /* a round */

/* The thread is in that call, and after that was read it had made so many voluntary switches (negative: unknown), and then it was `now`.
 * The stay is the caller's until the next call of this module. */
struct stay *stays_see(struct stays *stays, pid_t pid, pid_t tid, const struct task_call *call, int64_t switches, unstick_time now);

/* The same from a report of the thread; reads its switches, then the clock. */
struct stay *stays_see_report(struct stays *stays, const struct unstick_report *report);

#endif
