/* SPDX-License-Identifier: MIT
 *
 * What the benchmarks of the engine share: starting one, ending one, waiting for its worker.
 */
#ifndef BENCH_RIG_ENGINE_H
#define BENCH_RIG_ENGINE_H

#include "os.h"

#include <unstick.h>

struct bench_config;

/* Says once which baselines the program was built without. */
void rig_note_missing(void);

/* With --pin the main thread runs on CPU 0; the threads that it begins between these two run on CPU 1. */
void rig_far_begin(const struct bench_config *config);
void rig_far_end(const struct bench_config *config);

/* With one worker. Dies on failure. */
struct unstick_engine *engine_open(void);
void engine_close(struct unstick_engine *engine);

/* Dies unless 0. */
void engine_expect_ok(const char *call, int error);

/* Returns once all that was submitted before has been begun. */
void engine_barrier(struct unstick_engine *engine);
/* The worker's thread. */
pid_t engine_worker(struct unstick_engine *engine);

/* A count of things that are to end, on whatever thread. */
struct engine_gate {
	_Atomic uint32_t open;
};
void engine_gate_open(struct engine_gate *gate);
/* Waits until it is opened, and shuts it. */
void engine_gate_wait(struct engine_gate *gate);

#endif
