/* SPDX-License-Identifier: MIT
 *
 * What the pieces cost by themselves, without any blocking call: opening and closing a scope, a checkpoint, a shield.
 * The unit is one clock_gettime(), which any home-made deadline needs at least once.
 */
#include "harness.h"
#include "os.h"

#include <unstick.h>

#include <stdlib.h>

#define OPERATIONS 1000
#define FAR_MS 86400000

struct meter {
	const char *name;
	void (*loop)(struct meter *meter, unsigned operations);
	struct unstick_token *token;
	unstick_time far;
	int64_t sum; /* of all results: keeps the loops from being optimised away; 0 unless a call has failed */
};

static void clock_loop(struct meter *meter, unsigned operations)
{
	int64_t sum = 0;
	while (operations-- > 0)
		sum |= os_now();
	meter->sum = sum != 0 ? 0 : 1;
}

static inline void begin_end(struct meter *meter, unsigned operations, struct unstick_token *token, unstick_time deadline)
{
	int64_t sum = 0;
	while (operations-- > 0) {
		struct unstick_scope scope;
		sum += unstick_scope_begin(&scope, token, deadline);
		sum += unstick_scope_end(&scope);
	}
	meter->sum = sum;
}

static void empty_loop(struct meter *meter, unsigned operations)
{
	begin_end(meter, operations, NULL, UNSTICK_NEVER);
}

static void token_loop(struct meter *meter, unsigned operations)
{
	begin_end(meter, operations, meter->token, UNSTICK_NEVER);
}

static void far_loop(struct meter *meter, unsigned operations)
{
	begin_end(meter, operations, NULL, meter->far);
}

static void both_loop(struct meter *meter, unsigned operations)
{
	begin_end(meter, operations, meter->token, meter->far);
}

static void check_loop(struct meter *meter, unsigned operations)
{
	int64_t sum = 0;
	while (operations-- > 0)
		sum += unstick_check();
	meter->sum = sum;
}

static void shield_loop(struct meter *meter, unsigned operations)
{
	while (operations-- > 0) {
		unstick_shield_begin();
		unstick_shield_end();
	}
	meter->sum = 0;
}

static void in_scope(struct meter *meter, unsigned operations, void (*loop)(struct meter *meter, unsigned operations))
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, meter->token, meter->far);
	loop(meter, operations);
	if (unstick_scope_end(&scope) < 0)
		meter->sum = -1;
}

static void check_in_scope_loop(struct meter *meter, unsigned operations)
{
	in_scope(meter, operations, check_loop);
}

static void nested_loop(struct meter *meter, unsigned operations)
{
	in_scope(meter, operations, both_loop);
}

static void shield_in_scope_loop(struct meter *meter, unsigned operations)
{
	in_scope(meter, operations, shield_loop);
}

struct way {
	void (*loop)(struct meter *meter, unsigned operations);
};

static void *meter_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	(void)config;
	struct meter *meter = os_alloc(1, sizeof(*meter));
	meter->name = bench_case->name;
	meter->loop = ((const struct way *)bench_case->spec)->loop;
	meter->far = unstick_after_ms(FAR_MS);
	int error = unstick_token_new(&meter->token, NULL);
	if (error < 0)
		die_errno("unstick_token_new", -error);
	return meter;
}

static void meter_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct meter *meter = instance;
	for (unsigned i = 0; i < count; i++) {
		meter->loop(meter, OPERATIONS / 20);
		int64_t start = os_now();
		meter->loop(meter, OPERATIONS);
		samples_add(samples, (double)(os_now() - start) / OPERATIONS);
		if (meter->sum != 0)
			die(meter->name, "a call has failed", "please report it");
	}
}

static void meter_close(void *instance)
{
	struct meter *meter = instance;
	unstick_token_unref(meter->token);
	free(meter);
}

static const struct bench_case cases[] = {
        {.name = "clock_gettime()", .spec = &(const struct way){clock_loop}},
        {.name = "scope: nothing", .bound = 2.5, .spec = &(const struct way){empty_loop}},
        {.name = "scope: token", .bound = 2.5, .spec = &(const struct way){token_loop}},
        {.name = "scope: far deadline", .bound = 2.5, .spec = &(const struct way){far_loop}},
        {.name = "scope: token, far deadline", .bound = 2.5, .spec = &(const struct way){both_loop}},
        {.name = "the same inside another", .spec = &(const struct way){nested_loop}},
        {.name = "shield in a scope", .spec = &(const struct way){shield_in_scope_loop}},
        {.name = "check in a scope", .spec = &(const struct way){check_in_scope_loop}},
        {.name = "check outside", .spec = &(const struct way){check_loop}},
};

const struct benchmark bench_scope = {
        .name = "scope",
        .summary = "begin + end of a scope, checkpoints, shields",
        .hypothesis = "a scope costs at most 2.5 readings of the clock, whatever it is bound to",
        .sample = "one operation, mean of 1000",
        .cases = cases,
        .case_count = sizeof(cases) / sizeof(cases[0]),
        .rounds = 400,
        .block = 1,
        .quick_rounds = 20,
        .quick_block = 1,
        .open = meter_open,
        .block_run = meter_block_run,
        .close = meter_close,
};
