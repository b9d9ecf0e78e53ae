/* SPDX-License-Identifier: MIT
 *
 * Time in one unit: absolute CLOCK_MONOTONIC nanoseconds. Everything here is async-signal-safe (clock_gettime is,
 * signal-safety(7)).
 */
#ifndef UNSTICK_LIMIT_TIME_H
#define UNSTICK_LIMIT_TIME_H

#include <time.h>

#include "unstick.h"

enum { TIME_NS_PER_MS = 1000000, TIME_NS_PER_S = 1000000000 };

/* t + ns, saturated on both sides. */
static inline unstick_time time_add(unstick_time t, int64_t ns)
{
	unstick_time sum;
	if (__builtin_add_overflow(t, ns, &sum))
		return ns > 0 ? UNSTICK_NEVER : INT64_MIN;
	return sum;
}

static inline unstick_time time_min(unstick_time a, unstick_time b)
{
	return a < b ? a : b;
}

/* A timespec that is not negative; the span or moment `ns`. */
static inline struct timespec time_to_timespec(int64_t ns)
{
	if (ns < 0)
		ns = 0;
	return (struct timespec){.tv_sec = ns / TIME_NS_PER_S, .tv_nsec = ns % TIME_NS_PER_S};
}

/* Saturates; the caller has checked that 0 <= tv_nsec < 10^9. */
static inline int64_t time_from_timespec(const struct timespec *ts)
{
	int64_t ns;
	if (__builtin_mul_overflow((int64_t)ts->tv_sec, (int64_t)TIME_NS_PER_S, &ns))
		return ts->tv_sec > 0 ? INT64_MAX : INT64_MIN;
	return time_add(ns, ts->tv_nsec);
}

#endif
