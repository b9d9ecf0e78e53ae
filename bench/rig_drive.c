/* SPDX-License-Identifier: MIT
 *
 * The harness's side of a drive; see rig_drive.h.
 */
#include "rig_drive.h"

#include "os.h"
#include "rig_engine.h"

#include <stdio.h>
#include <stdlib.h>

#define OPERATIONS_BATCHED 16384 /* the first is handed to a worker and the last awaited: 40 us and more on an idle machine */
#define OPERATIONS_SINGLE 256

/* Benchmarks run one after the other. */
static const struct drive_spec *current;

void drive_check(const struct drive *drive, long result)
{
	char why[80];
	if (result == load_result(&drive->load))
		return;
	snprintf(why, sizeof(why), "an operation came to %ld instead of %ld", result, load_result(&drive->load));
	die(drive->name, why, "please report it");
}

void drive_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)config;
	rig_note_missing();
	current = benchmark->spec;
}

void *drive_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	struct drive *drive = os_alloc(1, sizeof(*drive));
	drive->name = bench_case->name;
	drive->way = bench_case->spec;
	drive->batch = current->batch;
	load_open(&drive->load, current->kind);
	rig_far_begin(config);
	drive->way->open(drive);
	rig_far_end(config);
	return drive;
}

void drive_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct drive *drive = instance;
	unsigned operations = drive->batch == 1 ? OPERATIONS_SINGLE : OPERATIONS_BATCHED;
	for (unsigned i = 0; i < count; i++) {
		/* Wakes the worker, and warms caches that belong to the case before. */
		drive->way->run(drive, operations / 8);
		int64_t start = os_now();
		drive->way->run(drive, operations);
		samples_add(samples, (double)(os_now() - start) / operations);
	}
}

void drive_close(void *instance)
{
	struct drive *drive = instance;
	drive->way->close(drive);
	load_close(&drive->load);
	free(drive);
}
