/* SPDX-License-Identifier: MIT
 *
 * Echo servers with 256 connections under the same load: unstick's engine beside a bare ring, libuv, and a thread a connection.
 * Half of the time is the client's and the kernel's TCP, in every case.
 */
#include "rig_echo.h"

#define ECHO(table)                                                                                                    \
	.sample = "one echo of 64 bytes, mean of 2048 on 256 connections", .cases = table,                             \
	.case_count = sizeof(table) / sizeof(table[0]), .rounds = 40, .block = 1, .quick_rounds = 3, .quick_block = 1, \
	.begin = echo_begin, .open = echo_open, .block_run = echo_block_run, .close = echo_close

/* Without liburing the engine is the baseline. */
static const struct bench_case cases[] = {
#if BENCH_URING
        {.name = "raw liburing", .spec = &echo_raw},
        {.name = "engine", .bound = 1.11, .spec = &echo_engine},
#else
        {.name = "engine", .spec = &echo_engine},
#endif
        {.name = "engine, deadlines", .spec = &echo_engine_deadlines},
#if BENCH_UV
        {.name = "libuv", .spec = &echo_uv},
#endif
        {.name = "threads, own calls", .spec = &echo_threads},
};

const struct benchmark bench_echo = {
        .name = "echo",
        .summary = "echo servers with 256 connections over TCP on loopback",
        .hypothesis = "the engine serves at least 0.9 times as many echoes as a bare ring",
        ECHO(cases),
};

#if BENCH_UV

static const struct bench_case uv_cases[] = {
        {.name = "libuv", .spec = &echo_uv},
        {.name = "engine", .bound = 1.0, .spec = &echo_engine},
        {.name = "engine, deadlines", .spec = &echo_engine_deadlines},
};

const struct benchmark bench_echo_uv = {
        .name = "echo_uv",
        .summary = "the same against libuv",
        .hypothesis = "the engine is not slower than libuv",
        ECHO(uv_cases),
};

#endif
