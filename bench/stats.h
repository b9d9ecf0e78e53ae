/* SPDX-License-Identifier: MIT
 *
 * Statistics of raw samples: exact percentiles, ratios between interleaved blocks, medians over runs.
 * A percentile that the number of samples cannot carry is NAN, never a guess: p99.9 needs 1000 of them.
 * What it does not do: allocate, know what a sample means, or drop outliers. Callers lend the scratch memory, so that nothing is
 * allocated between two measurements.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* Raw samples in the order in which they were taken, in nanoseconds. */
struct samples {
	double *ns;
	size_t count, capacity;
};

struct summary {
	size_t count;
	double p50, p90, p99, p999, max;
};

/* Of one value a run: the middle one and the extremes. */
struct spread {
	double median, min, max;
};

/* False, and nothing added, once full. */
bool samples_add(struct samples *samples, double ns);

/* The smallest sample that at least the share `p` (0 < p <= 1) of all samples does not exceed. `sorted` ascending, count > 0. */
double stats_percentile(const double *sorted, size_t count, double p);

/* Of `count` values, mean of the middle two if even; NAN if there are none. Sorts `values`. */
double stats_median(double *values, size_t count);

/* `scratch`: room for `count` values. */
struct summary stats_summary(const double *values, size_t count, double *scratch);

/* Each percentile the median of the runs' percentiles; max the greatest, count the sum. `scratch`: room for `runs` values. */
struct summary stats_summary_of_runs(const struct summary *summaries, size_t runs, double *scratch);

/* Both arrays hold `blocks` blocks of `size` samples; the n-th blocks were taken side by side. The median over all n of
 * median(n-th block of values) / median(n-th block of baseline): slow drift of the machine cancels out.
 * `scratch`: room for blocks + size values. */
double stats_block_ratio(const double *values, const double *baseline, size_t blocks, size_t size, double *scratch);

/* `scratch`: room for `count` values. */
struct spread stats_spread(const double *values, size_t count, double *scratch);

#endif
