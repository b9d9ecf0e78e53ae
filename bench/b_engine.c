/* SPDX-License-Identifier: MIT
 *
 * What an operation costs through the engine that need not wait, with and without a deadline, beside a bare ring.
 * One benchmark a baseline, because a bound is a ratio to a benchmark's baseline:
 *
 *     engine_KIND, engine_KIND_1   baseline a bare ring; batches of 32, and single operations
 *     link_KIND                    baseline a bare ring with linked timeouts: what the kernel asks for a deadline
 *     across_KIND, own_KIND        baseline the engine without deadlines: what the engine asks for one
 */
#include "rig_drive.h"

#if BENCH_URING

static const struct bench_case batched[] = {
        {.name = "raw liburing", .spec = &drive_raw},
        {.name = "raw, LINK_TIMEOUT", .spec = &drive_raw_linked},
        {.name = "engine, across", .bound = 1.5, .spec = &drive_across},
        {.name = "engine, across, deadlines", .spec = &drive_across_deadlines},
        {.name = "engine, own", .bound = 1.15, .spec = &drive_own},
        {.name = "engine, own, deadlines", .spec = &drive_own_deadlines},
};

static const struct bench_case single[] = {
        {.name = "raw liburing", .spec = &drive_raw},      {.name = "raw, LINK_TIMEOUT", .spec = &drive_raw_linked},
        {.name = "engine, across", .spec = &drive_across}, {.name = "engine, across, deadlines", .spec = &drive_across_deadlines},
        {.name = "engine, own", .spec = &drive_own},       {.name = "engine, own, deadlines", .spec = &drive_own_deadlines},
};

/* Where the operation itself costs something, so does a linked timeout beside it less: no promise. */
static const struct bench_case linked_beside_work[] = {
        {.name = "raw, LINK_TIMEOUT", .spec = &drive_raw_linked},
        {.name = "engine, across, deadlines", .spec = &drive_across_deadlines},
        {.name = "engine, own, deadlines", .spec = &drive_own_deadlines},
};

static const struct bench_case linked[] = {
        {.name = "raw, LINK_TIMEOUT", .spec = &drive_raw_linked},
        {.name = "engine, across, deadlines", .bound = 0.4, .spec = &drive_across_deadlines},
        {.name = "engine, own, deadlines", .bound = 0.4, .spec = &drive_own_deadlines},
};

#endif

static const struct bench_case across[] = {
        {.name = "engine, across", .spec = &drive_across},
        {.name = "engine, across, deadlines", .bound = 1.06, .spec = &drive_across_deadlines},
};

static const struct bench_case own[] = {
        {.name = "engine, own", .spec = &drive_own},
        {.name = "engine, own, deadlines", .bound = 1.06, .spec = &drive_own_deadlines},
};

#define DRIVE(table)                                                                                                 \
	.cases = table, .case_count = sizeof(table) / sizeof(table[0]), .rounds = 16, .block = 1, .quick_rounds = 3, \
	.quick_block = 1, .begin = drive_begin, .open = drive_open, .block_run = drive_block_run, .close = drive_close

#define SPEC(kind_, batch_)                    \
	.spec = &(const struct drive_spec)     \
	{                                      \
		.kind = kind_, .batch = batch_ \
	}
#define BATCHED_SAMPLE "one operation, mean of 16384 in batches of 32 (across: up to 4 batches under way)"
#define SINGLE_SAMPLE "one operation, mean of 256, one under way"

#define AGAINST_ENGINE(kind, KIND, what)                                                     \
	const struct benchmark bench_across_##kind = {                                       \
	        .name = "across_" #kind,                                                     \
	        .summary = "a deadline on each of 32 " what ", submitted by another thread", \
	        .hypothesis = "a deadline costs an operation of the engine at most 6 %",     \
	        .sample = BATCHED_SAMPLE,                                                    \
	        SPEC(KIND, LOAD_CYCLE),                                                      \
	        DRIVE(across),                                                               \
	};                                                                                   \
	const struct benchmark bench_own_##kind = {                                          \
	        .name = "own_" #kind,                                                        \
	        .summary = "a deadline on each of 32 " what ", submitted by callbacks",      \
	        .hypothesis = "a deadline costs an operation of the engine at most 6 %",     \
	        .sample = BATCHED_SAMPLE,                                                    \
	        SPEC(KIND, LOAD_CYCLE),                                                      \
	        DRIVE(own),                                                                  \
	}

AGAINST_ENGINE(nop, LOAD_NOP, "NOPs");
AGAINST_ENGINE(pipe, LOAD_PIPE, "pipe writes and reads");
AGAINST_ENGINE(unix, LOAD_UNIX, "unix socket sends and receives");
AGAINST_ENGINE(tcp, LOAD_TCP, "TCP sends and receives");

#if BENCH_URING

/* NOPs are reported without a bound beside a bare ring: the kernel does nothing for one, so all that the engine does shows. */
#define AGAINST_RAW(kind, KIND, what, batched_cases, linked_cases)                                                               \
	const struct benchmark bench_engine_##kind = {                                                                           \
	        .name = "engine_" #kind,                                                                                         \
	        .summary = what ", 32 at a time, on a bare ring and through the engine",                                         \
	        .hypothesis = "at most 1.5 times a bare ring when submitted by another thread, 1.15 times when by callbacks "    \
	                      "(NOPs: more)",                                                                                    \
	        .sample = BATCHED_SAMPLE,                                                                                        \
	        SPEC(KIND, LOAD_CYCLE),                                                                                          \
	        DRIVE(batched_cases),                                                                                            \
	};                                                                                                                       \
	const struct benchmark bench_engine_##kind##_1 = {                                                                       \
	        .name = "engine_" #kind "_1",                                                                                    \
	        .summary = what ", one by one, on a bare ring and through the engine",                                           \
	        .hypothesis = "one by one, waking the worker costs more than the operation (across); callbacks save that (own)", \
	        .sample = SINGLE_SAMPLE,                                                                                         \
	        SPEC(KIND, 1),                                                                                                   \
	        DRIVE(single),                                                                                                   \
	};                                                                                                                       \
	const struct benchmark bench_link_##kind = {                                                                             \
	        .name = "link_" #kind,                                                                                           \
	        .summary = what ", 32 at a time with deadlines: the kernel's and the engine's",                                  \
	        .hypothesis = "on NOPs a linked timeout on each is at least 2.5 times slower than the engine",                   \
	        .sample = BATCHED_SAMPLE,                                                                                        \
	        SPEC(KIND, LOAD_CYCLE),                                                                                          \
	        DRIVE(linked_cases),                                                                                             \
	}

AGAINST_RAW(nop, LOAD_NOP, "NOPs", single, linked);
AGAINST_RAW(pipe, LOAD_PIPE, "pipe writes and reads", batched, linked_beside_work);
AGAINST_RAW(unix, LOAD_UNIX, "unix socket sends and receives", batched, linked_beside_work);
AGAINST_RAW(tcp, LOAD_TCP, "TCP sends and receives", batched, linked_beside_work);

#endif
