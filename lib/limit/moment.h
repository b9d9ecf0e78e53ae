/* SPDX-License-Identifier: MIT
 *
 * Moments that callers give: the likeliest slip is a span in the place of one. A negative number is no moment, and refused; one that lies
 * absurdly far back is taken as it is, for it may be right, and asked about in the log, once a process.
 * What it does not do: look at 0 (a time long past) or UNSTICK_NEVER. Not async-signal-safe: the log is told.
 */
#ifndef UNSTICK_LIMIT_MOMENT_H
#define UNSTICK_LIMIT_MOMENT_H

#include <stdbool.h>

#include "unstick.h"

/* 0; -EINVAL for a negative one, and the log is told. `function` is the caller's, as it is named in the manual. */
int moment_check(const char *function, const char *parameter, unstick_time moment);

/* Does it lie more than a day back, or in the first hour of the machine and more than an hour back? */
bool moment_is_suspect(unstick_time moment, unstick_time now);

#endif
