/* SPDX-License-Identifier: MIT
 *
 * The worker's thread: notes, rounds, sleep. What becomes of each operation is course.c.
 */
#include "engine/worker.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/lock.h"
#include "engine/course.h"
#include "engine/engine.h"
#include "engine/linger.h"
#include "engine/offload.h"

/* So many are given to the kernel together: what is ready at once is carried out there and then, and the first should not have
 * to wait for the thousandth before its end is told. */
enum { AT_ONCE = 32 };

_Thread_local struct worker *worker_current;

/* Threads between "has it ended?" and the end of their post (memory-model.md, L). */
static _Atomic unsigned posters;

void worker_posters_enter(void)
{
	atomic_fetch_add(&posters, 1);
}

void worker_posters_leave(void)
{
	atomic_fetch_sub(&posters, 1);
}

void worker_after_fork(void)
{
	atomic_store(&posters, 0);
}

/* ---- notes */

static void ring(struct worker *worker)
{
	if (atomic_load(&worker->asleep) && atomic_exchange(&worker->asleep, 0))
		worker->back_end->ring(worker);
}

static void push_note(struct worker *worker, struct op *op)
{
	struct op *head = atomic_load_explicit(&worker->inbox, memory_order_relaxed);
	do
		atomic_store_explicit(&op->next, head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&worker->inbox, &head, op));
	ring(worker);
}

void worker_post(struct op *op, unsigned note)
{
	op_hold(op); /* the inbox's */
	if (atomic_fetch_or(&op->notes, note) == 0)
		push_note(op->worker, op);
	else
		op_drop(NULL, op); /* it is in the inbox already, with a reference */
}

/* Not linked by `next`, which is the inbox's: the operation may be noted for something before it is begun. */
void worker_give(struct worker *worker, struct op *first)
{
	struct op *head = atomic_load_explicit(&worker->arrivals, memory_order_relaxed);
	do
		first->queue.older = head;
	while (!atomic_compare_exchange_weak(&worker->arrivals, &head, first));
	ring(worker);
}

/* The notes are taken in one step: what is noted later puts the operation into the inbox anew. */
static void take_notes_of(struct worker *worker, struct op *op)
{
	unsigned notes = atomic_exchange(&op->notes, 0);
	int reason = notes & NOTE_EXPIRE ? -ETIMEDOUT : notes & NOTE_CANCEL ? -ECANCELED : 0;
	if ((notes & NOTE_RETURNED) && op->phase != OP_ENDED)
		course_call_returned(worker, op);
	if (reason)
		course_cut(worker, op, reason);
	op_drop(&worker->cache, op);
}

static struct op *in_order(struct op *op)
{
	struct op *first = NULL;
	while (op) {
		struct op *next = atomic_load_explicit(&op->next, memory_order_relaxed);
		atomic_store_explicit(&op->next, first, memory_order_relaxed);
		first = op;
		op = next;
	}
	return first;
}

static void take_inbox(struct worker *worker)
{
	if (!atomic_load_explicit(&worker->inbox, memory_order_relaxed))
		return;
	worker->was_given = true;
	struct op *op = in_order(atomic_exchange(&worker->inbox, NULL)), *next;
	for (; op; op = next) {
		next = atomic_load_explicit(&op->next,
		                            memory_order_relaxed); /* before the notes are taken, and the link with them */
		take_notes_of(worker, op);
	}
}

/* Batches come last in, first out. */
static struct op *oldest_first(struct op *batch)
{
	struct op *first = NULL;
	while (batch) {
		struct op *older = batch->queue.older;
		batch->queue.older = first;
		first = batch;
		batch = older;
	}
	return first;
}

/* Where the other thread has written it last: both lines come from there while the operation before it is begun. */
static void expect(const struct op *op)
{
	if (!op)
		return;
	__builtin_prefetch(&op->life, 1);
	__builtin_prefetch(&op->link, 1);
}

static void take_arrivals(struct worker *worker)
{
	if (!atomic_load_explicit(&worker->arrivals, memory_order_relaxed))
		return;
	worker->was_given = true;
	struct op *batch = oldest_first(atomic_exchange(&worker->arrivals, NULL)), *newer, *next;
	unsigned taken = 0;
	for (; batch; batch = newer) {
		newer = batch->queue.older; /* before it is begun, and the link with it; so next */
		for (struct op *op = batch; op; op = next) {
			next = op->queue.next;
			expect(next ? next : newer);
			course_begin(worker, op);
			if (++taken % AT_ONCE == 0)
				worker->back_end->wait(worker, 0);
		}
	}
}

/* Those that callbacks submit meanwhile are for the next round. */
static void take_local(struct worker *worker)
{
	struct op *op = worker->local.first, *next;
	worker->local = (struct op_queue){0};
	for (; op; op = next) {
		next = op->queue.next;
		course_begin(worker, op);
	}
}

/* ---- rounds */

static bool has_post(const struct worker *worker, memory_order order)
{
	return atomic_load_explicit(&worker->arrivals, order) || atomic_load_explicit(&worker->inbox, order);
}

/* Whoever posts: pushes (seq_cst), then loads `asleep`. We: store `asleep` (seq_cst), then load both lists. One of us sees the
 * other. */
static unstick_time bed_time(struct worker *worker)
{
	if (worker->local.first || has_post(worker, memory_order_relaxed))
		return 0;
	atomic_store(&worker->asleep, 1);
	if (has_post(worker, memory_order_seq_cst) || (atomic_load(&worker->closing) && !worker->cut_all)) {
		atomic_store(&worker->asleep, 0);
		return 0;
	}
	return wheel_next(&worker->wheel);
}

/* Others are giving us work, and perhaps more of it in a moment. */
static void look_for_more(struct worker *worker)
{
	unsigned looks = worker->back_end->has_news ? linger_looks(&worker->linger) : 0;
	for (unsigned left = looks; left > 0; left--) {
		if (has_post(worker, memory_order_relaxed) || worker->back_end->has_news(worker)) {
			linger_looked(&worker->linger, true);
			return;
		}
		__builtin_ia32_pause();
	}
	if (looks)
		linger_looked(&worker->linger, false);
}

static void wait(struct worker *worker)
{
	bool was_given = worker->was_given;
	worker->was_given = false;
	if (was_given)
		look_for_more(worker);
	unstick_time until = bed_time(worker);
	if (worker->has_left) /* no thread could be had in the place of one that was left: tried again */
		until = time_min(until, unstick_after_ms(10));
	unstick_time begun = was_given && until ? unstick_now() : 0;
	worker->back_end->wait(worker, until);
	atomic_store_explicit(&worker->asleep, 0, memory_order_relaxed);
	if (begun)
		linger_slept(&worker->linger, unstick_now() - begun);
}

/* Operations that have been taken and have not ended. */
static bool has_live(const struct worker *worker)
{
	return atomic_load_explicit(&worker->counts.begun, memory_order_relaxed) !=
	       atomic_load_explicit(&worker->counts.completed, memory_order_relaxed);
}

static bool has_ended(const struct worker *worker)
{
	return worker->cut_all && !has_live(worker) && !worker->local.first && !has_post(worker, memory_order_seq_cst);
}

static void run(struct worker *worker)
{
	for (;;) {
		worker->now = 0;
		take_inbox(worker); /* first: what is cancelled before it was begun is not begun */
		take_arrivals(worker);
		take_local(worker);
		course_expire(worker);
		if (atomic_load_explicit(&worker->closing, memory_order_acquire) && !worker->cut_all)
			course_cut_all(worker);
		if (worker->has_left)
			worker->has_left = !offload_tend(worker->offload);
		if (has_ended(worker))
			return;
		wait(worker);
	}
}

static void set_phase(struct worker *worker, enum worker_phase phase)
{
	atomic_store(&worker->phase, phase);
	futex_wake(&worker->phase, INT_MAX);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	worker_current = worker;
	prctl(PR_SET_NAME, "unstick-io");
	prctl(PR_SET_TIMERSLACK, 1); /* ns; the default, 50 us, would come on top of every deadline */
	worker->error = worker->back_end->open(worker);
	if (worker->error) {
		set_phase(worker, WORKER_FAILED);
		return NULL;
	}
	wheel_start(&worker->wheel, unstick_now());
	set_phase(worker, WORKER_RUNS);
	run(worker);
	op_cache_empty(&worker->cache);
	set_phase(worker, WORKER_ENDED);
	return NULL;
}

int worker_start(struct worker *worker)
{
	sigset_t all, before;
	sigfillset(&all);
	if (unstick_signal())
		sigdelset(&all, unstick_signal()); /* a callback may use scopes */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = -pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return error;
	while (atomic_load(&worker->phase) == WORKER_OPENING)
		futex_sleep(&worker->phase, WORKER_OPENING, UNSTICK_NEVER);
	if (atomic_load(&worker->phase) == WORKER_FAILED)
		pthread_join(worker->thread, NULL);
	return worker->error;
}

void worker_stop(struct worker *worker)
{
	atomic_store(&worker->closing, true);
	ring(worker);
}

void worker_finish(struct worker *worker)
{
	worker_join(worker, UNSTICK_NEVER);
	pthread_join(worker->thread, NULL);
	while (atomic_load(&posters))
		sched_yield();
	for (struct op *op = atomic_exchange(&worker->inbox, NULL), *next; op; op = next) {
		next = atomic_load_explicit(&op->next, memory_order_relaxed);
		atomic_store(&op->notes, 0);
		op_drop(NULL, op);
	}
}

void worker_close(struct worker *worker)
{
	worker->back_end->close(worker);
	worker->state = NULL;
}

bool worker_join(struct worker *worker, unstick_time until)
{
	while (atomic_load(&worker->phase) == WORKER_RUNS) {
		if (unstick_now() >= until)
			return false;
		futex_sleep(&worker->phase, WORKER_RUNS, until);
	}
	return true;
}
