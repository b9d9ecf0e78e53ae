/* SPDX-License-Identifier: MIT
 *
 * bench/stats.c on data whose answers are known by hand. White-box: it is compiled into this test (meson: '../bench/stats.c').
 */
#include "../bench/stats.h"

#include <criterion/criterion.h>

#include <math.h>

/* Exact: all values here are exact in binary. */
#define assert_same(got, wanted) cr_assert((got) == (wanted), "%s is %.17g, not %.17g", #got, (double)(got), (double)(wanted))

/* 1, 2, ... count, in an order that is not sorted: 7 divides none of the counts used. */
static void fill(double *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = (double)((i * 7) % count + 1);
}

Test(bench_stats, samples_add_stops_at_capacity)
{
	double room[3] = {0, 0, -1};
	struct samples samples = {.ns = room, .capacity = 2};
	cr_assert(samples_add(&samples, 5));
	cr_assert(samples_add(&samples, 6));
	cr_assert_not(samples_add(&samples, 7));
	cr_assert_eq(samples.count, 2);
	assert_same(room[0], 5);
	assert_same(room[1], 6);
	assert_same(room[2], -1);
}

Test(bench_stats, percentile_is_the_nearest_rank)
{
	const double five[] = {15, 20, 35, 40, 50};
	assert_same(stats_percentile(five, 5, 0.05), 15);
	assert_same(stats_percentile(five, 5, 0.2), 15);
	assert_same(stats_percentile(five, 5, 0.30), 20);
	assert_same(stats_percentile(five, 5, 0.40), 20);
	assert_same(stats_percentile(five, 5, 0.41), 35);
	assert_same(stats_percentile(five, 5, 0.50), 35);
	assert_same(stats_percentile(five, 5, 1), 50);
}

Test(bench_stats, percentile_is_not_pushed_up_by_rounding)
{
	double hundred[100];
	for (size_t i = 0; i < 100; i++)
		hundred[i] = (double)i + 1;
	cr_assert_gt(0.07 * 100, 7, "the product must be inexact, or this tests nothing");
	assert_same(stats_percentile(hundred, 100, 0.07), 7);
}

Test(bench_stats, percentile_of_one_sample_is_that_sample)
{
	const double one[] = {42};
	assert_same(stats_percentile(one, 1, 0.001), 42);
	assert_same(stats_percentile(one, 1, 1), 42);
}

Test(bench_stats, median_odd_even_none)
{
	double odd[] = {9, 1, 5}, even[] = {8, 2, 4, 100};
	assert_same(stats_median(odd, 3), 5);
	assert_same(stats_median(even, 4), 6);
	cr_assert(isnan(stats_median(odd, 0)));
}

Test(bench_stats, summary_of_a_thousand)
{
	double values[1000], scratch[1000];
	fill(values, 1000);
	struct summary summary = stats_summary(values, 1000, scratch);
	cr_assert_eq(summary.count, 1000);
	assert_same(summary.p50, 500);
	assert_same(summary.p90, 900);
	assert_same(summary.p99, 990);
	assert_same(summary.p999, 999);
	assert_same(summary.max, 1000);
	assert_same(values[1], 8); /* the order in which they were taken is kept */
}

Test(bench_stats, summary_knows_no_percentile_that_its_samples_cannot_carry)
{
	double values[999], scratch[999];
	for (size_t i = 0; i < 999; i++)
		values[i] = (double)i;
	cr_assert(isnan(stats_summary(values, 999, scratch).p999));
	cr_assert_not(isnan(stats_summary(values, 999, scratch).p99));
	cr_assert_not(isnan(stats_summary(values, 100, scratch).p99));
	cr_assert(isnan(stats_summary(values, 99, scratch).p99));
	cr_assert(isnan(stats_summary(values, 9, scratch).p90));
	assert_same(stats_summary(values, 1, scratch).p50, 0);
	assert_same(stats_summary(values, 1, scratch).max, 0);
}

Test(bench_stats, summary_of_nothing_is_unknown)
{
	struct summary summary = stats_summary(NULL, 0, NULL);
	cr_assert_eq(summary.count, 0);
	cr_assert(isnan(summary.p50));
	cr_assert(isnan(summary.max));
}

Test(bench_stats, summary_of_runs_takes_medians_and_the_greatest_max)
{
	const struct summary runs[] = {
	        {.count = 10, .p50 = 3, .p90 = 30, .p99 = 300, .p999 = NAN, .max = 7000},
	        {.count = 10, .p50 = 1, .p90 = 10, .p99 = 100, .p999 = 1000, .max = 9000},
	        {.count = 10, .p50 = 2, .p90 = 99, .p99 = 200, .p999 = 2000, .max = 8000},
	};
	double scratch[3];
	struct summary all = stats_summary_of_runs(runs, 3, scratch);
	cr_assert_eq(all.count, 30);
	assert_same(all.p50, 2);
	assert_same(all.p90, 30);
	assert_same(all.p99, 200);
	cr_assert(isnan(all.p999));
	assert_same(all.max, 9000);
}

Test(bench_stats, block_ratio_pairs_blocks_that_were_taken_side_by_side)
{
	/* The machine slows down fourfold from block to block; the case is always twice the baseline. */
	const double values[] = {2, 2, 2, 8, 8, 8, 32, 32, 32};
	const double baseline[] = {1, 1, 1, 4, 4, 4, 16, 16, 16};
	double scratch[3 + 3];
	assert_same(stats_block_ratio(values, baseline, 3, 3, scratch), 2);
	assert_same(stats_block_ratio(baseline, baseline, 3, 3, scratch), 1);
}

Test(bench_stats, block_ratio_resists_one_outlier_in_a_block_and_one_bad_block)
{
	const double values[] = {3, 9000, 3, 3, 3, 3, 7000, 7000, 7000};
	const double baseline[] = {2, 2, 2, 2, 9000, 2, 2, 2, 2};
	double scratch[3 + 3];
	assert_same(stats_block_ratio(values, baseline, 3, 3, scratch), 1.5);
}

Test(bench_stats, block_ratio_of_single_samples)
{
	const double values[] = {10, 30, 20}, baseline[] = {10, 10, 10};
	double scratch[3 + 1];
	assert_same(stats_block_ratio(values, baseline, 3, 1, scratch), 2);
}

Test(bench_stats, spread_of_runs)
{
	const double ratios[] = {1.5, 1, 1.25, 4, 1.125};
	double scratch[5];
	struct spread spread = stats_spread(ratios, 5, scratch);
	assert_same(spread.median, 1.25);
	assert_same(spread.min, 1);
	assert_same(spread.max, 4);
	assert_same(ratios[0], 1.5);
	cr_assert(isnan(stats_spread(NULL, 0, NULL).median));
}
