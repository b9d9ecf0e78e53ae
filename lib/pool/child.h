/* SPDX-License-Identifier: MIT
 *
 * A program that runs as the leader of a process group: signals to all of the group, and its end. Known by its pidfd, so that none
 * of it can hit another process, whoever has reaped it: the group too, from Linux 6.9 on. Before, it is signalled by number, while
 * its leader is there to keep the number taken, and not at all once somebody else has reaped it.
 * What it does not do: decide when, or wait for anything but the one that has ended.
 */
#ifndef UNSTICK_POOL_CHILD_H
#define UNSTICK_POOL_CHILD_H

#include <sys/types.h>

#include "unstick.h"

struct child {
	pid_t pid;
	int pidfd; /* -1: none, or reaped */
};

/* To all of its group, and to it though it has left the group. */
void child_signal(const struct child *child, int sig);
/* To all of its group but for itself: it has ended. */
void child_signal_rest(const struct child *child, int sig);
/* Waits for its end; behind a shield, since it must not be cut short. Closes the pidfd. Fills in status and rusage, or that the
 * application has taken them: it has reaped it, or has the kernel do so. */
void child_reap(struct child *child, struct unstick_exit *exit);

#endif
