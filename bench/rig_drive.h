/* SPDX-License-Identifier: MIT
 *
 * Drives: ways to carry out a load, batch by batch. Each is one of the harness's instances; a sample is the mean time of one operation.
 *
 *     raw     the calling thread's own ring, one io_uring_submit_and_wait() a batch. "Linked": a LINK_TIMEOUT on each operation.
 *     across  the engine; another thread submits a batch, and waits for the oldest of DRIVE_FLIGHTS batches that are under way,
 *             so that throughput is measured, not the time it takes two threads to wake each other (in batches of 1: one under way).
 *     own     the engine; each operation is submitted again by its callback, on the worker's own thread.
 */
#ifndef BENCH_RIG_DRIVE_H
#define BENCH_RIG_DRIVE_H

#include "harness.h"
#include "rig_load.h"

enum { DRIVE_FLIGHTS = 4, DRIVE_DEADLINE_MS = 10000 };

struct drive;

struct drive_way {
	bool deadlines; /* each operation has one, ten seconds away; the clock is read once a batch */
	void (*open)(struct drive *drive);
	/* `operations` is a multiple of the batch. */
	void (*run)(struct drive *drive, unsigned operations);
	void (*close)(struct drive *drive);
};

/* What a benchmark's `spec` points to. */
struct drive_spec {
	enum load_kind kind;
	unsigned batch; /* LOAD_CYCLE or 1 */
};

struct drive {
	const char *name;
	const struct drive_way *way;
	unsigned batch;
	struct load load;
	void *state; /* the way's */
};

/* Dies unless an operation came to what the load says. */
void drive_check(const struct drive *drive, long result);

void drive_begin(const struct benchmark *benchmark, const struct bench_config *config);
void *drive_open(const struct bench_case *bench_case, const struct bench_config *config);
void drive_block_run(void *instance, unsigned count, struct samples *samples);
void drive_close(void *instance);

extern const struct drive_way drive_across, drive_across_deadlines, drive_own, drive_own_deadlines;
/* Only if built with liburing (BENCH_URING). */
extern const struct drive_way drive_raw, drive_raw_linked;

#endif
