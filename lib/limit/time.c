/* SPDX-License-Identifier: MIT */
#include "limit/time.h"

unstick_time unstick_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unstick_time)now.tv_sec * TIME_NS_PER_S + now.tv_nsec;
}

/* Soon after the machine's start the past is short: no moment is negative, and 0 means "none" in options. */
unstick_time unstick_after_ns(int64_t ns)
{
	unstick_time moment = time_add(unstick_now(), ns);
	return moment > 0 ? moment : 1;
}

unstick_time unstick_after_ms(int64_t ms)
{
	int64_t ns;
	if (__builtin_mul_overflow(ms, (int64_t)TIME_NS_PER_MS, &ns))
		return ms > 0 ? UNSTICK_NEVER : 1;
	return unstick_after_ns(ns);
}
