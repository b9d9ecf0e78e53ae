/* SPDX-License-Identifier: MIT
 *
 * The command of `unstick run` as a child. Invariant: it has the dispositions, the mask and the fds that this process was started with,
 * as with timeout(1); this process alone ignores what would end it over a message.
 * What it does not do: wait for it (course.c).
 */
#ifndef TOOLS_CHILD_H
#define TOOLS_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int pidfd;
	int signals; /* signalfd: what was sent to this process and is to be passed on; those are blocked from now on */
};

/* `chosen`: a signal to pass on besides the usual ones. False, after a line to stderr, if there is no child. A command that cannot be
 * executed is a child all the same: it says so, and exits with STATUS_NOT_RUNNABLE or STATUS_NOT_FOUND. */
bool child_start(struct child *child, char **argv, int chosen);

/* Ends this process by the signal that has ended the child, so that who started it sees what it would have seen of the child; a second
 * core file is not written. Returns where that cannot be had. */
void child_end_likewise(int signal);

#endif
