/* SPDX-License-Identifier: MIT
 *
 * Between object.c and object_fds.c: what is asked of a call, and where the answer goes.
 */
#ifndef TOOLS_QUESTION_H
#define TOOLS_QUESTION_H

#include "base/calls.h"
#include "object.h"

struct question {
	pid_t pid;
	long nr;
	const struct call *call; /* NULL: not in the table */
	const unsigned long *arguments;
	struct text *text;
	struct holder *holder; /* NULL: not asked for */
};

enum fd_part { NOT_ITS_PEER, AND_ITS_PEER };

void object_add_fd(const struct question *question, int fd, enum fd_part part);

/* object_fds.c */
void object_poll(const struct question *question);
void object_select(const struct question *question);
void object_epoll(const struct question *question);

#endif
