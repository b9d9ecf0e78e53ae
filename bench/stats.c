/* SPDX-License-Identifier: MIT
 *
 * Statistics of raw samples; see stats.h for the definitions. Pure functions of their arguments.
 */
#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool samples_add(struct samples *samples, double ns)
{
	if (samples->count == samples->capacity)
		return false;
	samples->ns[samples->count++] = ns;
	return true;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static void sort(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
}

double stats_percentile(const double *sorted, size_t count, double p)
{
	/* A product such as 0.07 * 100 = 7.000000000000001 must not be rounded up to the next rank. */
	double rank = ceil(p * (double)count - 1e-9 * (double)count);
	size_t index = rank < 1 ? 0 : (size_t)rank - 1;
	return sorted[index < count ? index : count - 1];
}

/* A percentile is known when at least one sample lies above it. */
static double percentile_if_known(const double *sorted, size_t count, double p)
{
	if ((1 - p) * (double)count < 1 - 1e-9)
		return NAN;
	return stats_percentile(sorted, count, p);
}

double stats_median(double *values, size_t count)
{
	if (count == 0)
		return NAN;
	sort(values, count);
	if (count % 2 == 1)
		return values[count / 2];
	return (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct summary stats_summary(const double *values, size_t count, double *scratch)
{
	if (count == 0)
		return (struct summary){.p50 = NAN, .p90 = NAN, .p99 = NAN, .p999 = NAN, .max = NAN};
	memcpy(scratch, values, count * sizeof(*values));
	sort(scratch, count);
	return (struct summary){
	        .count = count,
	        .p50 = stats_percentile(scratch, count, 0.5),
	        .p90 = percentile_if_known(scratch, count, 0.9),
	        .p99 = percentile_if_known(scratch, count, 0.99),
	        .p999 = percentile_if_known(scratch, count, 0.999),
	        .max = scratch[count - 1],
	};
}

static double field_of(const struct summary *summary, size_t offset)
{
	double value;
	memcpy(&value, (const char *)summary + offset, sizeof(value));
	return value;
}

/* NAN if any run does not know it: sorting a NAN has no meaning. */
static double median_of_field(const struct summary *summaries, size_t runs, size_t offset, double *scratch)
{
	for (size_t i = 0; i < runs; i++) {
		scratch[i] = field_of(&summaries[i], offset);
		if (isnan(scratch[i]))
			return NAN;
	}
	return stats_median(scratch, runs);
}

struct summary stats_summary_of_runs(const struct summary *summaries, size_t runs, double *scratch)
{
	struct summary all = {
	        .p50 = median_of_field(summaries, runs, offsetof(struct summary, p50), scratch),
	        .p90 = median_of_field(summaries, runs, offsetof(struct summary, p90), scratch),
	        .p99 = median_of_field(summaries, runs, offsetof(struct summary, p99), scratch),
	        .p999 = median_of_field(summaries, runs, offsetof(struct summary, p999), scratch),
	        .max = NAN,
	};
	for (size_t i = 0; i < runs; i++) {
		all.count += summaries[i].count;
		all.max = fmax(all.max, summaries[i].max);
	}
	return all;
}

double stats_block_ratio(const double *values, const double *baseline, size_t blocks, size_t size, double *scratch)
{
	double *ratios = scratch, *block = scratch + blocks;
	for (size_t i = 0; i < blocks; i++) {
		memcpy(block, values + i * size, size * sizeof(*block));
		double median = stats_median(block, size);
		memcpy(block, baseline + i * size, size * sizeof(*block));
		ratios[i] = median / stats_median(block, size);
	}
	return stats_median(ratios, blocks);
}

struct spread stats_spread(const double *values, size_t count, double *scratch)
{
	if (count == 0)
		return (struct spread){NAN, NAN, NAN};
	memcpy(scratch, values, count * sizeof(*values));
	double median = stats_median(scratch, count);
	return (struct spread){.median = median, .min = scratch[0], .max = scratch[count - 1]};
}
