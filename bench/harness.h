/* SPDX-License-Identifier: MIT
 *
 * The harness: runs the cases of a benchmark interleaved in blocks, all in one process and one run, in an order shuffled anew each
 * round, and the baseline twice (A and A'): what A' differs from A is the noise that every other ratio must be read against.
 *
 *     run:    open every case                           --repeat of them
 *     round:  one block of each case, shuffled          a few hundred a run
 *     block:  a few samples, or one mean over a loop    long enough for the clock, short against the machine's drift
 *
 * A ratio is: block against the baseline's block of the same round; median over the rounds; of that the median, least and greatest
 * over the runs.
 * What it does not do: pin (unless asked), set governors or priorities, drop outliers.
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include "stats.h"

#include <stdbool.h>
#include <stdint.h>

struct bench_config {
	unsigned repeat;
	bool quick; /* small sizes: shows that it works, not how fast */
	bool pin;   /* canceller to CPU 0, stuck threads to CPU 1 */
};

struct bench_case {
	const char *name;
	double bound;     /* the greatest ratio to the baseline that is promised; 0: none */
	const void *spec; /* for the benchmark's own functions */
};

struct benchmark {
	const char *name, *summary, *hypothesis;
	const char *sample; /* what one sample is */
	const struct bench_case *cases;
	size_t case_count;      /* cases[0] is the baseline */
	unsigned rounds, block; /* rounds a run; samples a block */
	unsigned quick_rounds, quick_block;
	const void *spec;
	/* Once, around all runs; may be NULL. */
	void (*begin)(const struct benchmark *benchmark, const struct bench_config *config);
	void (*end)(const struct benchmark *benchmark);
	/* One instance a case and run; the baseline has two. */
	void *(*open)(const struct bench_case *bench_case, const struct bench_config *config);
	void (*block_run)(void *instance, unsigned count, struct samples *samples);
	void (*close)(void *instance);
};

enum verdict {
	VERDICT_NONE, /* no bound */
	VERDICT_MET,
	VERDICT_NOISE, /* beyond the bound, but not beyond the bound times the noise */
	VERDICT_MISSED,
};

struct case_result {
	const char *name;
	double bound;
	struct samples *runs; /* raw, one a run */
	struct summary summary;
	struct spread ratio;
	enum verdict verdict;
};

struct bench_result {
	const struct benchmark *benchmark;
	unsigned runs, rounds, block;
	struct case_result *cases; /* benchmark->case_count of them, then A' */
	size_t case_count;         /* with A' */
	struct spread aa;          /* A' to A */
	double noise;              /* how far they are from 1 at most, as a factor >= 1: which of A and A' is right nobody knows */
};

extern const struct benchmark *const benchmarks[];
extern const size_t benchmark_count;

void harness_run(const struct benchmark *benchmark, const struct bench_config *config, struct bench_result *ret);
void harness_result_free(struct bench_result *result);
const char *verdict_name(enum verdict verdict);

#endif
