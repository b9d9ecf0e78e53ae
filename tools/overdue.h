/* SPDX-License-Identifier: MIT
 *
 * Threads that have been in one and the same call for too long, for `unstick run --call-timeout`, from samples of /proc.
 * Invariant: a thread is never found overdue too early. Between two samples with the same call, the same arguments and the same
 * count of voluntary context switches it has not moved: to be asleep in another call it would have had to go to sleep again. It
 * is found late by up to the time between two samples.
 * What it does not do: free anything, or judge whether that may be done.
 */
#ifndef TOOLS_OVERDUE_H
#define TOOLS_OVERDUE_H

#include <unstick.h>

#include "targets.h"

struct overdue;

struct overdue *overdue_new(void);
struct overdue *overdue_free(struct overdue *overdue);

/* Takes a sample of all threads of the processes, which are in the order of their numbers. Each that has been in its call since
 * before `start` is handed to found(), with the moment that it was first seen there; once for each call, until it moves. */
void overdue_sample(struct overdue *overdue, const struct pid_list *processes, unstick_time start,
                    void (*found)(void *arg, pid_t pid, pid_t tid, unstick_time since), void *arg);

#endif
