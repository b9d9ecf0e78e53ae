/* SPDX-License-Identifier: MIT
 *
 * What one operation more costs an engine that has a thousand, or a million of them, each with its deadline; and the memory of an idle one.
 * The operation: a timeout is submitted and cancelled, by the callback of the one before, so that no thread has to be woken for it.
 */
#include "harness.h"
#include "rig_engine.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define QUICK_DIVISOR 10
#define LINES 32
#define TURNS 64
#define AT_ONCE 1024
#define DAY INT64_C(86400000000000)
#define MINUTE INT64_C(60000000000)

struct crowd_size {
	unsigned live;
};

struct crowd;

/* Operations one after the other, beside others. */
struct line {
	struct crowd *crowd;
	unsigned left; /* of the worker */
};

struct crowd {
	const char *name;
	struct unstick_engine *engine;
	uint64_t random; /* of the submitting thread: the main thread, then the worker */
	struct line lines[LINES];
	unsigned running;
	struct engine_gate gate;
};

/* Somewhere in the day that begins a minute from now: spread over the wheel, and none passes while it is measured. */
static unstick_time some_moment(struct crowd *crowd)
{
	crowd->random ^= crowd->random << 13;
	crowd->random ^= crowd->random >> 7;
	crowd->random ^= crowd->random << 17;
	return unstick_after_ns(MINUTE + (int64_t)(crowd->random % (uint64_t)DAY));
}

static void ignore(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	(void)result;
	(void)arg;
}

static void submit_crowd(struct crowd *crowd, unsigned live)
{
	struct unstick_request *requests = os_alloc(AT_ONCE, sizeof(*requests));
	while (live > 0) {
		unsigned count = live < AT_ONCE ? live : AT_ONCE;
		for (unsigned i = 0; i < count; i++) {
			requests[i] = UNSTICK_TIMEOUT(some_moment(crowd));
			requests[i].done = ignore;
		}
		int begun = unstick_engine_submit_many(crowd->engine, requests, count, NULL);
		engine_expect_ok("unstick_engine_submit_many", begun);
		live -= (unsigned)begun;
	}
	free(requests);
	engine_barrier(crowd->engine);
}

static void *crowd_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	unsigned live = ((const struct crowd_size *)bench_case->spec)->live;
	struct crowd *crowd = os_alloc(1, sizeof(*crowd));
	crowd->name = bench_case->name;
	crowd->random = UINT64_C(0x9e3779b97f4a7c15);
	rig_far_begin(config);
	crowd->engine = engine_open();
	rig_far_end(config);
	submit_crowd(crowd, config->quick ? live / QUICK_DIVISOR : live);
	return crowd;
}

static void one_more(struct line *line);

static void one_done(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	struct line *line = arg;
	struct crowd *crowd = line->crowd;
	if (result != -ECANCELED)
		die(crowd->name, "a cancelled timeout did not end with -ECANCELED", "please report it");
	if (--line->left > 0)
		one_more(line);
	else if (--crowd->running == 0)
		engine_gate_open(&crowd->gate);
}

static void one_more(struct line *line)
{
	struct crowd *crowd = line->crowd;
	struct unstick_op *op;
	struct unstick_request request = UNSTICK_TIMEOUT(some_moment(crowd));
	request.done = one_done;
	request.arg = line;
	engine_expect_ok("unstick_engine_submit", unstick_engine_submit(crowd->engine, &request, &op));
	unstick_op_cancel(op);
	unstick_op_unref(op);
}

/* On the worker, so that all lines are its own from their first operation. */
static void start_lines(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	(void)result;
	struct crowd *crowd = arg;
	for (unsigned i = 0; i < LINES; i++)
		one_more(&crowd->lines[i]);
}

static void run_lines(struct crowd *crowd, unsigned turns)
{
	struct unstick_request nop = UNSTICK_NOP();
	nop.done = start_lines;
	nop.arg = crowd;
	crowd->running = LINES;
	for (unsigned i = 0; i < LINES; i++)
		crowd->lines[i] = (struct line){.crowd = crowd, .left = turns};
	engine_expect_ok("unstick_engine_submit", unstick_engine_submit(crowd->engine, &nop, NULL));
	engine_gate_wait(&crowd->gate);
}

static void crowd_block_run(void *instance, unsigned count, struct samples *samples)
{
	for (unsigned i = 0; i < count; i++) {
		run_lines(instance, TURNS / 8);
		int64_t start = os_now();
		run_lines(instance, TURNS);
		samples_add(samples, (double)(os_now() - start) / (LINES * TURNS));
	}
}

static void crowd_close(void *instance)
{
	struct crowd *crowd = instance;
	engine_close(crowd->engine);
	free(crowd);
}

static const struct bench_case cases[] = {
        {.name = "1,000 live", .spec = &(const struct crowd_size){1000}},
        {.name = "10,000 live", .bound = 1.5, .spec = &(const struct crowd_size){10000}},
        {.name = "100,000 live", .bound = 1.5, .spec = &(const struct crowd_size){100000}},
        {.name = "1,000,000 live", .bound = 1.5, .spec = &(const struct crowd_size){1000000}},
};

const struct benchmark bench_engine_deadlines = {
        .name = "engine_deadlines",
        .summary = "a timeout submitted and cancelled, beside up to a million live ones",
        .hypothesis = "the cost of a deadline does not grow with how many there are",
        .sample = "one submit + cancel + callback, mean of 2048",
        .cases = cases,
        .case_count = sizeof(cases) / sizeof(cases[0]),
        .rounds = 40,
        .block = 1,
        .quick_rounds = 5,
        .quick_block = 1,
        .open = crowd_open,
        .block_run = crowd_block_run,
        .close = crowd_close,
};

/* ---- memory ---- */

#define PROMISED 192.0

static double bytes_each;

static long resident_bytes(void)
{
	long pages = -1;
	FILE *file = fopen("/proc/self/statm", "re");
	if (!file || fscanf(file, "%*s %ld", &pages) != 1)
		die_errno("/proc/self/statm", errno);
	fclose(file);
	return pages * sysconf(_SC_PAGESIZE);
}

/* Once in the process: the memory of operations is used again, so a second crowd would seem to need none. The table of benchmarks has this
 * one before the others that have many operations. */
static void memory_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)benchmark;
	unsigned live = config->quick ? 1000000 / QUICK_DIVISOR : 1000000;
	struct crowd crowd = {.random = 1, .engine = engine_open()};
	engine_barrier(crowd.engine);
	malloc_trim(0); /* what a benchmark before has freed would be used again, and not seem to grow */
	long before = resident_bytes();
	submit_crowd(&crowd, live);
	bytes_each = (double)(resident_bytes() - before) / live;
	engine_close(crowd.engine);
}

static void *memory_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	(void)config;
	double *bytes = os_alloc(1, sizeof(*bytes));
	*bytes = bench_case->spec ? *(const double *)bench_case->spec : bytes_each;
	return bytes;
}

static void memory_block_run(void *instance, unsigned count, struct samples *samples)
{
	while (count-- > 0)
		samples_add(samples, *(const double *)instance);
}

static const double promised = PROMISED;

static const struct bench_case memory_cases[] = {
        {.name = "promised", .spec = &promised},
        {.name = "an idle operation", .bound = 1.0},
};

const struct benchmark bench_engine_memory = {
        .name = "engine_memory",
        .summary = "resident memory of an idle operation: BYTES, where the table says ns",
        .hypothesis = "192 bytes",
        .sample = "growth of the resident set with a million operations, an operation",
        .cases = memory_cases,
        .case_count = sizeof(memory_cases) / sizeof(memory_cases[0]),
        .rounds = 1,
        .block = 1,
        .quick_rounds = 1,
        .quick_block = 1,
        .begin = memory_begin,
        .open = memory_open,
        .block_run = memory_block_run,
        .close = free,
};
