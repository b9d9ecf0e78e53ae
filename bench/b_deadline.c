/* SPDX-License-Identifier: MIT
 *
 * How late a deadline is: from the moment that was asked for until the blocked call has returned. On an idle machine, and with two
 * threads that spin, where the thread that expires deadlines has to compete for a CPU. Baseline: a watchdog thread, see waiters.c.
 */
#include "harness.h"
#include "waiter.h"

#include <unstick.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define SPAN INT64_C(300000) /* from the start of the wait to its deadline */
#define SPINNERS 2

/* ---- unstick: an own call and a foreign one ---- */

static void end_scope(struct waiter *waiter, struct unstick_scope *scope)
{
	waiter_expect(waiter, unstick_scope_end(scope) == -ETIMEDOUT, "unstick_scope_end() did not tell -ETIMEDOUT");
}

static int64_t own_wait(struct waiter *waiter, int64_t deadline)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, NULL, deadline);
	ssize_t n = unstick_read(waiter->pipe[0], &byte, 1);
	int64_t out = os_now();
	waiter_expect(waiter, n == -ETIMEDOUT, "unstick_read() ended, but not with -ETIMEDOUT");
	end_scope(waiter, &scope);
	return out;
}

static int64_t foreign_wait(struct waiter *waiter, int64_t deadline)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, NULL, deadline);
	ssize_t n = read(waiter->pipe[0], &byte, 1);
	int error = errno;
	int64_t out = os_now();
	waiter_expect(waiter, n < 0 && error == ETIMEDOUT, "read() ended, but not with ETIMEDOUT");
	end_scope(waiter, &scope);
	return out;
}

static const struct waiter_way own = {.wait = own_wait};
static const struct waiter_way foreign = {.wait = foreign_wait};

/* ---- the harness's side ---- */

static void *waiter_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	(void)config;
	struct waiter *waiter = os_alloc(1, sizeof(*waiter));
	waiter->way = bench_case->spec;
	waiter->name = bench_case->name;
	waiter->tid = gettid();
	os_pipe(waiter->pipe);
	if (waiter->way->open)
		waiter->way->open(waiter);
	return waiter;
}

static void waiter_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct waiter *waiter = instance;
	for (unsigned i = 0; i < count; i++) {
		int64_t deadline = os_now() + SPAN;
		samples_add(samples, (double)(waiter->way->wait(waiter, deadline) - deadline));
	}
}

static void waiter_close(void *instance)
{
	struct waiter *waiter = instance;
	if (waiter->way->close)
		waiter->way->close(waiter);
	close(waiter->pipe[0]);
	close(waiter->pipe[1]);
	free(waiter);
}

static pthread_t spinners[SPINNERS];
static _Atomic bool spinning;

static void *spin(void *arg)
{
	while (atomic_load_explicit(&spinning, memory_order_relaxed))
		continue;
	return arg;
}

static void deadline_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)benchmark;
	(void)config;
	os_signal_install();
}

static void busy_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	deadline_begin(benchmark, config);
	atomic_store(&spinning, true);
	for (int i = 0; i < SPINNERS; i++) {
		int error = os_thread_new(&spinners[i], 0, config->pin ? i : -1, spin, NULL);
		if (error)
			die_errno("thread", error);
	}
}

static void busy_end(const struct benchmark *benchmark)
{
	(void)benchmark;
	atomic_store(&spinning, false);
	for (int i = 0; i < SPINNERS; i++)
		pthread_join(spinners[i], NULL);
}

static const struct bench_case cases[] = {
        {.name = "timerfd watchdog + tgkill", .spec = &waiter_watchdog},
        {.name = "unstick_read()", .spec = &own},
        {.name = "read() in a scope", .spec = &foreign},
        {.name = "ppoll() with timeout", .spec = &waiter_ppoll},
        {.name = "timer_create() signal", .spec = &waiter_timer},
};

#define DEADLINE_COMMON                                                                                                            \
	.sample = "lateness of one deadline", .cases = cases, .case_count = sizeof(cases) / sizeof(cases[0]), .open = waiter_open, \
	.block_run = waiter_block_run, .close = waiter_close

const struct benchmark bench_deadline = {
        .name = "deadline",
        .summary = "lateness of a scope's deadline on a blocked read",
        .hypothesis = "no later than a watchdog thread written by hand",
        .rounds = 40,
        .block = 10,
        .quick_rounds = 4,
        .quick_block = 4,
        .begin = deadline_begin,
        DEADLINE_COMMON,
};

const struct benchmark bench_deadline_busy = {
        .name = "deadline_busy",
        .summary = "the same while two threads spin",
        .hypothesis = "a loaded machine delays unstick's thread less than an ordinary watchdog thread",
        .rounds = 20,
        .block = 5,
        .quick_rounds = 3,
        .quick_block = 3,
        .begin = busy_begin,
        .end = busy_end,
        DEADLINE_COMMON,
};
