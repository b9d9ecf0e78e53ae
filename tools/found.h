/* SPDX-License-Identifier: MIT
 *
 * The threads that a command line means, each with what could be done to it. Stops nothing.
 */
#ifndef TOOLS_FOUND_H
#define TOOLS_FOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "release.h"

struct found_wish {
	struct release_wish release;
	long nr, fd;        /* only threads in that call, on that fd; -1: any */
	int64_t blocked_ns; /* only threads blocked for longer; -1: any */
};

struct found {
	struct unstick_report report;
	int error; /* what its call may be given; 0: it cannot be freed, and `why` */
	char why[160];
};

struct found_list {
	struct found *at;
	size_t count, room;
	size_t freeable; /* of them */
};

/* Adds the thread `tid` of the process, or with tid 0 those of its threads that the wish is for: at least one, or false and it has
 * said why there is none. */
bool found_look(struct found_list *list, const struct found_wish *wish, pid_t pid, pid_t tid);
void found_free(struct found_list *list);

#endif
