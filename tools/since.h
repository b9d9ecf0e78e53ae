/* SPDX-License-Identifier: MIT
 *
 * For how long a thread has been in its call, where the kernel does not tell: it has been seen there before, with the same count of
 * context switches, so it has not come out in between. What it says is a lower bound. One memory for a whole run of a command; a
 * thread that was not seen in a round is forgotten at its end.
 */
#ifndef TOOLS_SINCE_H
#define TOOLS_SINCE_H

#include <stdbool.h>
#include <stdint.h>

#include <unstick.h>

struct since;

struct since *since_new(void);
void since_free(struct since *since);

/* Begins a round at the moment `now`, in nanoseconds of the monotonic clock. */
void since_begin(struct since *since, int64_t now);

/* For how long the thread of the report is known to have been in this very call, which it was seen in for the first time now: 0. */
int64_t since_seen(struct since *since, const struct unstick_report *report, int64_t switches);

/* Whether the same stay has been noted before, and notes it: for who speaks of each stuck thread once. */
bool since_note(struct since *since, const struct unstick_report *report);

void since_end(struct since *since);

#endif
