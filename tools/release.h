/* SPDX-License-Identifier: MIT
 *
 * Frees one thread of any process: which errno its call may be given, or why none; and in words what was found, what was done, and what
 * the thread did next. For `wake`, and for who frees threads without being asked for each.
 */
#ifndef TOOLS_RELEASE_H
#define TOOLS_RELEASE_H

#include <stdbool.h>
#include <stddef.h>

#include "tracer.h"

enum { RELEASE_LINE = 512 };

struct release_wish {
	int error;        /* positive; 0: ECANCELED, or EINTR where the callers of the call accept no other */
	bool event_loops; /* their waits too, with EINTR */
	bool unsure;      /* also where nothing tells whether it can be freed, as under a seccomp supervisor */
};

/* The errno that the call of the thread would be given; 0: none, and `why` says why. Stops nothing. */
int release_judge(const struct unstick_report *report, const struct release_wish *wish, char *why, size_t size);

/* Why it cannot be freed, after what release_where() has said of it. */
const char *release_reason(const struct unstick_report *report);

/* Ends the call with that errno. Whether the call is over; it may have got there by itself. `line` has what became of it: "freed, ECANCELED
 * (stopped for 0.085 ms); then it ended", otherwise why not. Waits up to a tenth of a second to see what the thread does next. */
bool release_thread(const struct unstick_report *report, int error, char *line, size_t size);

/* "1234/1240: in recvfrom on fd 7 (socket ...), for 5m02s". What another process can give a name to has its control characters replaced:
 * the line may go to a terminal. */
void release_where(const struct unstick_report *report, char *line, size_t size);

#endif
