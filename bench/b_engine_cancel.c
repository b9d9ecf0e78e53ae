/* SPDX-License-Identifier: MIT
 *
 * How long it takes to cancel a recv() that waits for data, until the canceller knows that it has ended.
 *
 *     raw liburing         ASYNC_CANCEL by the thread that owns the ring: nobody has to be woken (the baseline)
 *     raw, another thread  what a program needs that has the ring in another thread: eventfd there, futex back
 *     engine               unstick_op_cancel(), unstick_op_wait()
 *     own call             unstick_token_cancel() for a thread in unstick_recv(), futex back
 *
 * Whoever must be woken is seen asleep before the clock is read.
 */
#include "harness.h"
#include "rig_cancel.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATIENCE INT64_C(5000000000)

void pending_expect_canceled(const struct pending *pending, long result)
{
	if (result != -ECANCELED)
		die(pending->name, "the recv ended, but not with -ECANCELED", "please report it");
}

/* In whatever call. "running" is what /proc says of a thread that is not. */
static void wait_asleep(const struct pending *pending, pid_t tid)
{
	int64_t give_up = os_now() + PATIENCE;
	char text[256];
	while (os_look(tid, text, sizeof(text)) == 0 || text[0] == 'r') {
		if (os_now() > give_up)
			die(pending->name, "the thread did not block within 5 s", "run on a machine with less load");
		sched_yield();
	}
}

void pending_start_thread(struct pending *pending, void *(*run)(void *))
{
	int error = os_thread_new(&pending->thread, 0, -1, run, pending);
	if (error)
		die_errno("thread", error);
}

void pending_end_thread(struct pending *pending)
{
	pending->end = true;
	engine_gate_open(&pending->again);
	pthread_join(pending->thread, NULL);
}

/* ---- the engine ---- */

static void op_open(struct pending *pending)
{
	pending->engine = engine_open();
	atomic_store(&pending->tid, engine_worker(pending->engine));
}

static void op_begin(struct pending *pending)
{
	struct unstick_request request = UNSTICK_RECV(pending->fds[0], &pending->byte, 1);
	engine_expect_ok("unstick_engine_submit", unstick_engine_submit(pending->engine, &request, &pending->op));
	engine_barrier(pending->engine);
	wait_asleep(pending, atomic_load(&pending->tid));
}

static void op_cancel(struct pending *pending)
{
	unstick_op_cancel(pending->op);
	engine_expect_ok("unstick_op_wait", unstick_op_wait(pending->op, UNSTICK_NEVER));
}

static void op_settle(struct pending *pending)
{
	pending_expect_canceled(pending, unstick_op_result(pending->op));
	pending->op = unstick_op_unref(pending->op);
}

static void op_close(struct pending *pending)
{
	engine_close(pending->engine);
}

static const struct cancel_way engine = {
        .open = op_open, .begin = op_begin, .cancel = op_cancel, .settle = op_settle, .close = op_close};

/* ---- own calls ---- */

static void *call_thread(void *arg)
{
	struct pending *pending = arg;
	atomic_store(&pending->tid, gettid());
	while (engine_gate_wait(&pending->again), !pending->end) {
		struct unstick_scope scope;
		unstick_scope_start(&scope, pending->token, UNSTICK_NEVER);
		engine_gate_open(&pending->ready);
		ssize_t result = unstick_recv(pending->fds[0], &pending->byte, 1, 0);
		engine_gate_open(&pending->over);
		pending_expect_canceled(pending, result);
		pending_expect_canceled(pending, unstick_scope_end(&scope));
	}
	return NULL;
}

static void call_open(struct pending *pending)
{
	pending_start_thread(pending, call_thread);
}

static void call_begin(struct pending *pending)
{
	engine_expect_ok("unstick_token_new", unstick_token_new(&pending->token, NULL));
	engine_gate_open(&pending->again);
	engine_gate_wait(&pending->ready);
	os_wait_blocked(atomic_load(&pending->tid), SYS_recvfrom, (unsigned long)pending->fds[0], pending->name);
}

static void call_cancel(struct pending *pending)
{
	unstick_token_cancel(pending->token);
	engine_gate_wait(&pending->over);
}

static void call_settle(struct pending *pending)
{
	pending->token = unstick_token_unref(pending->token);
}

static const struct cancel_way own_call = {
        .open = call_open, .begin = call_begin, .cancel = call_cancel, .settle = call_settle, .close = pending_end_thread};

/* ---- the harness's side ---- */

static void pending_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)benchmark;
	(void)config;
	rig_note_missing();
}

static void *pending_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	struct pending *pending = os_alloc(1, sizeof(*pending));
	pending->name = bench_case->name;
	pending->way = bench_case->spec;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pending->fds) < 0)
		die_errno("socketpair", errno);
	rig_far_begin(config);
	pending->way->open(pending);
	rig_far_end(config);
	return pending;
}

static void pending_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct pending *pending = instance;
	for (unsigned i = 0; i < count; i++) {
		pending->way->begin(pending);
		int64_t start = os_now();
		pending->way->cancel(pending);
		samples_add(samples, (double)(os_now() - start));
		if (pending->way->settle)
			pending->way->settle(pending);
	}
}

static void pending_close(void *instance)
{
	struct pending *pending = instance;
	pending->way->close(pending);
	close(pending->fds[0]);
	close(pending->fds[1]);
	free(pending);
}

/* Without liburing the own call is the baseline. */
static const struct bench_case cases[] = {
#if BENCH_URING
        {.name = "raw liburing", .spec = &cancel_raw},
        {.name = "raw, another thread", .spec = &cancel_raw_other},
#endif
        {.name = "own call", .spec = &own_call},
        {.name = "engine", .spec = &engine},
};

const struct benchmark bench_engine_cancel = {
        .name = "engine_cancel",
        .summary = "a waiting recv() cancelled, until the canceller knows that it has ended",
        .hypothesis = "the engine costs no more than a program's own hand-over to the thread that has the ring",
        .sample = "one cancel",
        .cases = cases,
        .case_count = sizeof(cases) / sizeof(cases[0]),
        .rounds = 50,
        .block = 20,
        .quick_rounds = 5,
        .quick_block = 5,
        .begin = pending_begin,
        .open = pending_open,
        .block_run = pending_block_run,
        .close = pending_close,
};
