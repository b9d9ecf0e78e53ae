/* SPDX-License-Identifier: MIT
 *
 * Time: one unit, saturating on both sides.
 */
#include "helpers.h"
#include "limit/moment.h"
#include "limit/time.h"

static int64_t clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

Test(time, now_is_the_monotonic_clock)
{
	int64_t before = clock_ns();
	unstick_time now = unstick_now();
	cr_assert_leq(before, now);
	cr_assert_leq(now, clock_ns());
}

Test(time, after_adds_to_now_in_its_unit)
{
	int64_t before = clock_ns();
	unstick_time ns = unstick_after_ns(5000000000), ms = unstick_after_ms(5000);
	int64_t after = clock_ns();
	cr_assert(before + 5000000000 <= ns && ns <= after + 5000000000);
	cr_assert(before + 5000000000 <= ms && ms <= after + 5000000000);
}

Test(time, a_negative_span_gives_the_past)
{
	cr_assert_lt(unstick_after_ns(-1000000000), unstick_now());
	cr_assert_lt(unstick_after_ms(-1000), unstick_now());
	cr_assert_eq(unstick_after_ns(INT64_MIN), 1, "no moment is negative, and 0 may mean \"none\"");
	cr_assert_eq(unstick_after_ms(INT64_MIN), 1);
}

Test(time, a_moment_that_must_be_a_span_is_suspect)
{
	const int64_t second = 1000000000, hour = 3600 * second, day = 24 * hour;
	const unstick_time spans[] = {1, 200, 200000000, 5 * second};
	for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
		cr_assert(moment_is_suspect(spans[i], 30 * day));
		cr_assert(moment_is_suspect(spans[i], 2 * hour));
		cr_assert(!moment_is_suspect(spans[i], hour), "the machine was started a while ago");
	}
	cr_assert(!moment_is_suspect(0, 30 * day), "a time long past");
	cr_assert(!moment_is_suspect(UNSTICK_NEVER, 30 * day));
	cr_assert(!moment_is_suspect(29 * day + second, 30 * day));
	cr_assert(moment_is_suspect(29 * day - second, 30 * day));
	cr_assert(!moment_is_suspect(30 * day + second, 30 * day));
}

Test(time, too_far_is_never)
{
	cr_assert_eq(unstick_after_ns(INT64_MAX), UNSTICK_NEVER);
	cr_assert_eq(unstick_after_ms(INT64_MAX), UNSTICK_NEVER, "the product overflows");
	cr_assert_eq(unstick_after_ms(INT64_MAX / 1000000), UNSTICK_NEVER, "the sum overflows");
}

Test(time, sums_saturate_on_both_sides)
{
	cr_assert_eq(time_add(1, 2), 3);
	cr_assert_eq(time_add(UNSTICK_NEVER, 1), UNSTICK_NEVER);
	cr_assert_eq(time_add(INT64_MIN, -1), INT64_MIN);
	cr_assert_eq(time_add(UNSTICK_NEVER, -1), INT64_MAX - 1);
	cr_assert_eq(time_min(3, -4), -4);
	cr_assert_eq(time_min(-4, 3), -4);
}

Test(time, timespecs_keep_every_nanosecond)
{
	static const int64_t moments[] = {0, 1, 999999999, 1000000000, 1000000001, 86400000000123, INT64_MAX};
	for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
		struct timespec ts = time_to_timespec(moments[i]);
		cr_assert(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
		cr_assert_eq(time_from_timespec(&ts), moments[i]);
	}
}

Test(time, timespecs_saturate)
{
	struct timespec far = {.tv_sec = INT64_MAX, .tv_nsec = 999999999}, before = {.tv_sec = INT64_MIN};
	struct timespec edge = {.tv_sec = INT64_MAX / 1000000000, .tv_nsec = 999999999};
	struct timespec none = time_to_timespec(-1);
	cr_assert(none.tv_sec == 0 && none.tv_nsec == 0, "the kernel refuses negative spans");
	cr_assert_eq(time_from_timespec(&far), INT64_MAX);
	cr_assert_eq(time_from_timespec(&edge), INT64_MAX);
	cr_assert_eq(time_from_timespec(&before), INT64_MIN);
}
