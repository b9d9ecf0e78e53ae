/* SPDX-License-Identifier: MIT
 *
 * The harness; see harness.h for what a run, a round and a block are.
 * Nothing is allocated, written or printed between the two ends of a measurement: the sample arrays are made before.
 */
#include "harness.h"

#include "os.h"
#include "progress.h"

#include <math.h>
#include <stdlib.h>

extern const struct benchmark bench_cancel_own, bench_cancel_foreign, bench_deadline, bench_deadline_busy, bench_overhead,
        bench_pool, bench_scope, bench_many_1000, bench_many_10000, bench_wheel, bench_wheel_expire, bench_engine_memory,
        bench_engine_deadlines, bench_engine_cancel, bench_across_nop, bench_across_pipe, bench_across_unix, bench_across_tcp,
        bench_own_nop, bench_own_pipe, bench_own_unix, bench_own_tcp, bench_echo;
#if BENCH_URING
extern const struct benchmark bench_engine_nop, bench_engine_pipe, bench_engine_unix, bench_engine_tcp, bench_engine_nop_1,
        bench_engine_pipe_1, bench_engine_unix_1, bench_engine_tcp_1, bench_link_nop, bench_link_pipe, bench_link_unix,
        bench_link_tcp;
#endif
#if BENCH_UV
extern const struct benchmark bench_echo_uv;
#endif

const struct benchmark *const benchmarks[] = {
        &bench_cancel_own,
        &bench_cancel_foreign,
        &bench_deadline,
        &bench_deadline_busy,
        &bench_overhead,
        &bench_pool,
        &bench_scope,
        &bench_many_1000,
        &bench_many_10000,
        &bench_wheel,
        &bench_wheel_expire,
        &bench_engine_memory, /* before all that have many operations */
        &bench_engine_deadlines,
        &bench_engine_cancel,
#if BENCH_URING
        &bench_engine_nop,
        &bench_engine_pipe,
        &bench_engine_unix,
        &bench_engine_tcp,
        &bench_engine_nop_1,
        &bench_engine_pipe_1,
        &bench_engine_unix_1,
        &bench_engine_tcp_1,
        &bench_link_nop,
        &bench_link_pipe,
        &bench_link_unix,
        &bench_link_tcp,
#endif
        &bench_across_nop,
        &bench_across_pipe,
        &bench_across_unix,
        &bench_across_tcp,
        &bench_own_nop,
        &bench_own_pipe,
        &bench_own_unix,
        &bench_own_tcp,
        &bench_echo,
#if BENCH_UV
        &bench_echo_uv,
#endif
};
const size_t benchmark_count = sizeof(benchmarks) / sizeof(benchmarks[0]);

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {
	        [VERDICT_NONE] = "", [VERDICT_MET] = "met", [VERDICT_NOISE] = "within noise", [VERDICT_MISSED] = "missed"};
	return names[verdict];
}

/* xorshift: the order need only be free of patterns, and the same in every run of the program. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void shuffle(size_t *order, size_t count, uint64_t *state)
{
	for (size_t i = count; i > 1; i--) {
		size_t other = (size_t)(next_random(state) % i), kept = order[i - 1];
		order[i - 1] = order[other];
		order[other] = kept;
	}
}

static void result_init(struct bench_result *result, const struct benchmark *benchmark, const struct bench_config *config)
{
	*result = (struct bench_result){
	        .benchmark = benchmark,
	        .runs = config->repeat,
	        .rounds = config->quick ? benchmark->quick_rounds : benchmark->rounds,
	        .block = config->quick ? benchmark->quick_block : benchmark->block,
	        .case_count = benchmark->case_count + 1,
	};
	result->cases = os_alloc(result->case_count, sizeof(*result->cases));
	size_t capacity = (size_t)result->rounds * result->block;
	for (size_t i = 0; i < result->case_count; i++) {
		bool again = i == benchmark->case_count;
		struct case_result *one = &result->cases[i];
		one->name = again ? "baseline again (A/A)" : benchmark->cases[i].name;
		one->bound = again ? 0 : benchmark->cases[i].bound;
		one->runs = os_alloc(result->runs, sizeof(*one->runs));
		for (size_t run = 0; run < result->runs; run++)
			one->runs[run] = (struct samples){.ns = os_alloc(capacity, sizeof(double)), .capacity = capacity};
	}
}

void harness_result_free(struct bench_result *result)
{
	for (size_t i = 0; i < result->case_count; i++) {
		for (size_t run = 0; run < result->runs; run++)
			free(result->cases[i].runs[run].ns);
		free(result->cases[i].runs);
	}
	free(result->cases);
}

static const struct bench_case *case_at(const struct benchmark *benchmark, size_t index)
{
	return &benchmark->cases[index == benchmark->case_count ? 0 : index];
}

static void warm_up(const struct bench_result *result, void **instances)
{
	double thrown_away[64];
	unsigned count = result->block < 64 ? result->block : 64;
	for (size_t i = 0; i < result->case_count; i++) {
		struct samples samples = {.ns = thrown_away, .capacity = 64};
		result->benchmark->block_run(instances[i], count, &samples);
	}
}

static void run_once(struct bench_result *result, const struct bench_config *config, size_t run, uint64_t *random)
{
	const struct benchmark *benchmark = result->benchmark;
	void **instances = os_alloc(result->case_count, sizeof(*instances));
	size_t *order = os_alloc(result->case_count, sizeof(*order));
	for (size_t i = 0; i < result->case_count; i++) {
		instances[i] = benchmark->open(case_at(benchmark, i), config);
		order[i] = i;
	}
	warm_up(result, instances);
	for (unsigned round = 0; round < result->rounds; round++) {
		shuffle(order, result->case_count, random);
		for (size_t i = 0; i < result->case_count; i++)
			benchmark->block_run(instances[order[i]], result->block, &result->cases[order[i]].runs[run]);
		progress_show(benchmark->name, run * result->rounds + round + 1, (size_t)result->runs * result->rounds);
	}
	for (size_t i = 0; i < result->case_count; i++)
		benchmark->close(instances[i]);
	free(order);
	free(instances);
}

static enum verdict judge(double ratio, double bound, double noise)
{
	if (bound <= 0)
		return VERDICT_NONE;
	if (ratio <= bound)
		return VERDICT_MET;
	return ratio <= bound * noise ? VERDICT_NOISE : VERDICT_MISSED;
}

static void evaluate_case(const struct bench_result *result, struct case_result *one, double *scratch)
{
	const struct samples *baseline = result->cases[0].runs;
	struct summary *summaries = os_alloc(result->runs, sizeof(*summaries));
	double *ratios = os_alloc(result->runs, sizeof(*ratios));
	for (size_t run = 0; run < result->runs; run++) {
		const struct samples *samples = &one->runs[run];
		if (samples->count != samples->capacity)
			die(one->name, "a block has given too few samples", "please report it");
		summaries[run] = stats_summary(samples->ns, samples->count, scratch);
		ratios[run] = stats_block_ratio(samples->ns, baseline[run].ns, result->rounds, result->block, scratch);
	}
	one->summary = stats_summary_of_runs(summaries, result->runs, scratch);
	one->ratio = stats_spread(ratios, result->runs, scratch);
	free(ratios);
	free(summaries);
}

static void evaluate(struct bench_result *result)
{
	double *scratch =
	        os_alloc((size_t)result->rounds * result->block + result->rounds + result->block + result->runs, sizeof(*scratch));
	for (size_t i = 0; i < result->case_count; i++)
		evaluate_case(result, &result->cases[i], scratch);
	free(scratch);
	result->aa = result->cases[result->case_count - 1].ratio;
	result->noise = fmax(1, fmax(result->aa.max, 1 / result->aa.min));
	for (size_t i = 1; i + 1 < result->case_count; i++)
		result->cases[i].verdict = judge(result->cases[i].ratio.median, result->cases[i].bound, result->noise);
}

void harness_run(const struct benchmark *benchmark, const struct bench_config *config, struct bench_result *ret)
{
	uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
	result_init(ret, benchmark, config);
	if (benchmark->begin)
		benchmark->begin(benchmark, config);
	for (size_t run = 0; run < ret->runs; run++)
		run_once(ret, config, run, &random);
	if (benchmark->end)
		benchmark->end(benchmark);
	progress_clear();
	evaluate(ret);
}
