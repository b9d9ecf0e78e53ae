/* SPDX-License-Identifier: MIT
 *
 * How often a thread has been given a processor, by /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst). One that waits
 * for the GIL wakes every 5 ms; one that waits for a lock does not.
 */
#ifndef UNSTICK_PYTHON_TURNS_H
#define UNSTICK_PYTHON_TURNS_H

#include "python.h"

/* -1: the kernel does not tell. */
int64_t turns_of(pid_t tid);

#endif
