/* SPDX-License-Identifier: MIT
 *
 * The engine's timing wheel by itself (lib/engine/wheel.h, compiled in), with a thousand to a million deadlines in it.
 * The deadlines are moments made up beforehand: no clock is read but by the measurement.
 */
#include "harness.h"
#include "os.h"

#include "engine/wheel.h"

#include <stdlib.h>

#define QUICK_DIVISOR 10
#define OPERATIONS 1000
#define START INT64_C(1000000000)
#define MINUTE INT64_C(60000000000)
#define DAY INT64_C(86400000000000)

struct wheel_size {
	unsigned count;
};

struct full {
	const char *name;
	struct wheel wheel;
	struct wheel_link *links, one;
	unsigned count;
	uint64_t random;
	unstick_time moments[OPERATIONS];
};

static unstick_time some_moment(struct full *full, int64_t from, int64_t span)
{
	full->random ^= full->random << 13;
	full->random ^= full->random >> 7;
	full->random ^= full->random << 17;
	return START + from + (int64_t)(full->random % (uint64_t)span);
}

static void *open_empty(const struct bench_case *bench_case, const struct bench_config *config)
{
	unsigned count = ((const struct wheel_size *)bench_case->spec)->count;
	struct full *full = os_alloc(1, sizeof(*full));
	full->name = bench_case->name;
	full->random = UINT64_C(0x9e3779b97f4a7c15);
	full->count = config->quick ? count / QUICK_DIVISOR : count;
	full->links = os_alloc(full->count, sizeof(*full->links));
	return full;
}

static void fill(struct full *full, int64_t from, int64_t span)
{
	wheel_start(&full->wheel, START);
	for (unsigned i = 0; i < full->count; i++)
		wheel_insert(&full->wheel, &full->links[i], some_moment(full, from, span));
}

static void *open_full(const struct bench_case *bench_case, const struct bench_config *config)
{
	struct full *full = open_empty(bench_case, config);
	fill(full, MINUTE, DAY);
	for (unsigned i = 0; i < OPERATIONS; i++)
		full->moments[i] = some_moment(full, MINUTE, DAY);
	return full;
}

static void close_full(void *instance)
{
	struct full *full = instance;
	free(full->links);
	free(full);
}

static void insert_and_remove(struct full *full, unsigned operations)
{
	for (unsigned i = 0; i < operations; i++) {
		wheel_insert(&full->wheel, &full->one, full->moments[i]);
		wheel_remove(&full->wheel, &full->one);
	}
}

static void insert_block_run(void *instance, unsigned count, struct samples *samples)
{
	for (unsigned i = 0; i < count; i++) {
		insert_and_remove(instance, OPERATIONS);
		int64_t start = os_now();
		insert_and_remove(instance, OPERATIONS);
		samples_add(samples, (double)(os_now() - start) / OPERATIONS);
	}
}

static unsigned expire_all(struct wheel *wheel)
{
	unsigned expired = 0;
	for (unstick_time now; (now = wheel_next(wheel)) != UNSTICK_NEVER;) {
		while (wheel_expired(wheel, now))
			expired++;
	}
	return expired;
}

static void expire_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct full *full = instance;
	for (unsigned i = 0; i < count; i++) {
		fill(full, 0, MINUTE);
		int64_t start = os_now();
		unsigned expired = expire_all(&full->wheel);
		samples_add(samples, (double)(os_now() - start) / full->count);
		if (expired != full->count)
			die(full->name, "not all deadlines have expired", "please report it");
	}
}

static const struct bench_case insert_cases[] = {
        {.name = "1,000 in it", .spec = &(const struct wheel_size){1000}},
        {.name = "10,000 in it", .bound = 1.5, .spec = &(const struct wheel_size){10000}},
        {.name = "100,000 in it", .bound = 1.5, .spec = &(const struct wheel_size){100000}},
        {.name = "1,000,000 in it", .bound = 1.5, .spec = &(const struct wheel_size){1000000}},
};

static const struct bench_case expire_cases[] = {
        {.name = "1,000 in a minute", .spec = &(const struct wheel_size){1000}},
        {.name = "10,000 in a minute", .spec = &(const struct wheel_size){10000}},
        {.name = "100,000 in a minute", .spec = &(const struct wheel_size){100000}},
        {.name = "1,000,000 in a minute", .spec = &(const struct wheel_size){1000000}},
};

const struct benchmark bench_wheel = {
        .name = "wheel",
        .summary = "the engine's timing wheel: one deadline inserted and removed",
        .hypothesis = "the cost does not depend on how many are in it",
        .sample = "one insert + remove, mean of 1000",
        .cases = insert_cases,
        .case_count = sizeof(insert_cases) / sizeof(insert_cases[0]),
        .rounds = 200,
        .block = 1,
        .quick_rounds = 10,
        .quick_block = 1,
        .open = open_full,
        .block_run = insert_block_run,
        .close = close_full,
};

const struct benchmark bench_wheel_expire = {
        .name = "wheel_expire",
        .summary = "the engine's timing wheel: all deadlines of a minute expire",
        .hypothesis = "a deadline that passes is moved down a few levels, then taken out; more of them share the way",
        .sample = "one deadline, mean of all",
        .cases = expire_cases,
        .case_count = sizeof(expire_cases) / sizeof(expire_cases[0]),
        .rounds = 5,
        .block = 1,
        .quick_rounds = 2,
        .quick_block = 1,
        .open = open_empty,
        .block_run = expire_block_run,
        .close = close_full,
};
