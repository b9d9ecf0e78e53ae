/* SPDX-License-Identifier: MIT
 *
 * Engines for benchmarks (rig_engine.h), and the drives on them.
 */
#include "rig_engine.h"

#include "rig_drive.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rig_note_missing(void)
{
	static bool noted;
	if (!noted && !BENCH_URING)
		fprintf(stderr, "unstick-bench: built without liburing: what compares the engine with a bare ring is left out\n");
	if (!noted && !BENCH_UV)
		fprintf(stderr, "unstick-bench: built without libuv: its echo server is left out\n");
	noted = true;
}

static void go_to(const struct bench_config *config, unsigned cpu)
{
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	if (config->pin && sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		die_errno("sched_setaffinity", errno);
}

void rig_far_begin(const struct bench_config *config)
{
	go_to(config, 1);
}

void rig_far_end(const struct bench_config *config)
{
	go_to(config, 0);
}

void engine_expect_ok(const char *call, int error)
{
	if (error < 0)
		die_errno(call, -error);
}

struct unstick_engine *engine_open(void)
{
	struct unstick_engine *engine;
	struct unstick_engine_options options = {.size = sizeof(options), .workers = 1};
	engine_expect_ok("unstick_engine_new", unstick_engine_new(&engine, &options));
	return engine;
}

void engine_close(struct unstick_engine *engine)
{
	engine_expect_ok("unstick_engine_close", unstick_engine_close(engine, unstick_after_ms(30000), NULL));
	unstick_engine_free(engine);
}

static void note_tid(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	(void)result;
	*(pid_t *)arg = gettid();
}

pid_t engine_worker(struct unstick_engine *engine)
{
	pid_t tid = 0;
	struct unstick_op *op;
	struct unstick_request nop = UNSTICK_NOP();
	nop.done = note_tid;
	nop.arg = &tid;
	engine_expect_ok("unstick_engine_submit", unstick_engine_submit(engine, &nop, &op));
	engine_expect_ok("unstick_op_wait", unstick_op_wait(op, UNSTICK_NEVER));
	unstick_op_unref(op);
	return tid;
}

void engine_barrier(struct unstick_engine *engine)
{
	engine_worker(engine);
}

void engine_gate_open(struct engine_gate *gate)
{
	atomic_store(&gate->open, 1);
	os_futex_wake(&gate->open, 1);
}

void engine_gate_wait(struct engine_gate *gate)
{
	while (atomic_load(&gate->open) == 0)
		os_futex_wait(&gate->open, 0, INT64_MAX);
	atomic_store(&gate->open, 0);
}

static struct unstick_request request_of(struct load *load, unsigned n)
{
	unsigned pair = n % LOAD_CYCLE / 2;
	struct unstick_request request = UNSTICK_NOP();
	if (load->kind == LOAD_PIPE && load_writes(n))
		request = UNSTICK_WRITE(load->to[pair], load->out, LOAD_MESSAGE);
	else if (load->kind == LOAD_PIPE)
		request = UNSTICK_READ(load->from[pair], load->in[pair], LOAD_MESSAGE);
	else if (load->kind != LOAD_NOP && load_writes(n))
		request = UNSTICK_SEND(load->to[pair], load->out, LOAD_MESSAGE);
	else if (load->kind != LOAD_NOP)
		request = UNSTICK_RECV(load->from[pair], load->in[pair], LOAD_MESSAGE);
	request.flags = load->kind == LOAD_PIPE ? UNSTICK_NETWORK : 0;
	return request;
}

/* ---- across ---- */

struct across {
	struct unstick_engine *engine;
	struct unstick_request requests[LOAD_CYCLE];
	struct unstick_op *ops[DRIVE_FLIGHTS][LOAD_CYCLE];
	unsigned next; /* a multiple of the batch */
};

static void across_open(struct drive *drive)
{
	struct across *across = os_alloc(1, sizeof(*across));
	across->engine = engine_open();
	for (unsigned n = 0; n < LOAD_CYCLE; n++)
		across->requests[n] = request_of(&drive->load, n);
	drive->state = across;
}

static void submit(struct drive *drive, struct across *across, struct unstick_op **ops)
{
	struct unstick_request *requests = &across->requests[across->next];
	unstick_time deadline = drive->way->deadlines ? unstick_after_ms(DRIVE_DEADLINE_MS) : 0;
	for (unsigned i = 0; i < drive->batch; i++)
		requests[i].deadline = deadline;
	int begun = unstick_engine_submit_many(across->engine, requests, drive->batch, ops);
	if (begun != (int)drive->batch)
		die(drive->name, "unstick_engine_submit_many() did not begin all", "please report it");
	across->next = (across->next + drive->batch) % LOAD_CYCLE;
}

static void finish(struct drive *drive, struct unstick_op **ops)
{
	engine_expect_ok("unstick_op_wait_all", unstick_op_wait_all(ops, drive->batch, UNSTICK_NEVER));
	for (unsigned i = 0; i < drive->batch; i++) {
		drive_check(drive, unstick_op_result(ops[i]));
		unstick_op_unref(ops[i]);
	}
}

static void across_run(struct drive *drive, unsigned operations)
{
	struct across *across = drive->state;
	unsigned batches = operations / drive->batch, flights = drive->batch == 1 ? 1 : DRIVE_FLIGHTS;
	for (unsigned i = 0; i < batches + flights; i++) {
		struct unstick_op **ops = across->ops[i % flights];
		if (i >= flights && i - flights < batches)
			finish(drive, ops);
		if (i < batches)
			submit(drive, across, ops);
	}
}

static void across_close(struct drive *drive)
{
	struct across *across = drive->state;
	engine_close(across->engine);
	free(across);
}

const struct drive_way drive_across = {.open = across_open, .run = across_run, .close = across_close};
const struct drive_way drive_across_deadlines = {.deadlines = true, .open = across_open, .run = across_run, .close = across_close};

/* ---- own ---- */

struct own;

/* Operations one after the other, in a batch beside others. */
struct chain {
	struct own *own;
	unsigned next, left; /* the operation's number; how many are left, with it */
};

struct own {
	struct drive *drive;
	struct unstick_engine *engine;
	struct unstick_request requests[LOAD_CYCLE];
	struct chain chains[LOAD_CYCLE];
	unsigned running;      /* chains; of the worker */
	unstick_time deadline; /* of this batch; likewise */
	struct engine_gate gate;
};

static void renew_deadline(struct own *own)
{
	own->deadline = own->drive->way->deadlines ? unstick_after_ms(DRIVE_DEADLINE_MS) : 0;
}

static void own_done(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	struct chain *chain = arg;
	struct own *own = chain->own;
	drive_check(own->drive, result);
	if (--chain->left == 0) {
		if (--own->running == 0)
			engine_gate_open(&own->gate);
		return;
	}
	if (chain == &own->chains[0])
		renew_deadline(own);
	chain->next = (chain->next + own->drive->batch) % LOAD_CYCLE;
	struct unstick_request *request = &own->requests[chain->next];
	request->deadline = own->deadline;
	request->arg = chain;
	engine_expect_ok("unstick_engine_submit", unstick_engine_submit(own->engine, request, NULL));
}

static void own_open(struct drive *drive)
{
	struct own *own = os_alloc(1, sizeof(*own));
	own->drive = drive;
	own->engine = engine_open();
	for (unsigned n = 0; n < LOAD_CYCLE; n++) {
		own->requests[n] = request_of(&drive->load, n);
		own->requests[n].done = own_done;
		own->chains[n] = (struct chain){.own = own};
	}
	drive->state = own;
}

static void own_run(struct drive *drive, unsigned operations)
{
	struct own *own = drive->state;
	own->running = drive->batch;
	renew_deadline(own);
	for (unsigned i = 0; i < drive->batch; i++) {
		own->chains[i].left = operations / drive->batch;
		own->chains[i].next = i;
		own->requests[i].deadline = own->deadline;
		own->requests[i].arg = &own->chains[i];
	}
	int begun = unstick_engine_submit_many(own->engine, own->requests, drive->batch, NULL);
	if (begun != (int)drive->batch)
		die(drive->name, "unstick_engine_submit_many() did not begin all", "please report it");
	engine_gate_wait(&own->gate);
}

static void own_close(struct drive *drive)
{
	struct own *own = drive->state;
	engine_close(own->engine);
	free(own);
}

const struct drive_way drive_own = {.open = own_open, .run = own_run, .close = own_close};
const struct drive_way drive_own_deadlines = {.deadlines = true, .open = own_open, .run = own_run, .close = own_close};
