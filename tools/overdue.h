/* SPDX-License-Identifier: MIT
 *
 * Threads that have been in one and the same call for too long, for `unstick run --call-timeout`, from samples of /proc (stays.h).
 * What it does not do: free anything, or judge whether that may be done.
 */
#ifndef TOOLS_OVERDUE_H
#define TOOLS_OVERDUE_H

#include <unstick.h>

#include "stays.h"
#include "targets.h"

/* Takes a sample of all threads of the processes. Each that has been in its call since before `start` is handed to found(), with the
 * moment that it was first seen there; once for each call, until it moves. */
void overdue_sample(struct stays *stays, const struct pid_list *processes, unstick_time start,
                    void (*found)(void *arg, pid_t pid, pid_t tid, unstick_time since), void *arg);

#endif
