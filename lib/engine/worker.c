/* SPDX-License-Identifier: MIT
 *
 * The worker's rounds: notes, deadlines, wait. An operation's course:
 *
 *     OP_NEW -> OP_STARTED ----------------------> OP_ENDED      it has come to something by itself
 *        |          `-> OP_CUT (reason) ---------->   |          token, deadline, op_cancel: it comes to what it had moved, or to the reason
 *        `------------------------------------------->|          cut before it was begun, or nothing to begin
 *
 * Only this thread moves an operation, so there are no races between those arrows: what others want is in op->notes.
 */
#include "engine/worker.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "base/lock.h"
#include "engine/engine.h"
#include "engine/linger.h"
#include "engine/offload.h"
#include "engine/vector.h"

/* How long a call on a thread may take to come out after it was cut, before it is left behind. */
static const unstick_time GRACE = 2 * TIME_NS_PER_MS;

/* A cut that came to nothing, because the operation was just between two places, is tried again after this time. */
static const unstick_time CUT_AGAIN = 1 * TIME_NS_PER_MS;

/* Results of the kernel that only mean "interrupted": ERESTARTSYS ... ERESTART_RESTARTBLOCK, include/linux/errno.h. */
enum { KERNEL_RESTART_FIRST = -516, KERNEL_RESTART_LAST = -512 };

/* So many are given to the kernel together: what is ready at once is carried out there and then, and the first should not have to wait for the
 * thousandth before its end is told. */
enum { AT_ONCE = 32 };

_Thread_local struct worker *worker_current;

/* Threads between "has it ended?" and the end of their post (memory-model.md, L2). */
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

static void count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

static unstick_time now_of(struct worker *worker)
{
	if (!worker->now)
		worker->now = unstick_now();
	return worker->now;
}

/* ---- the end of an operation */

static void release(struct worker *worker, struct op *op)
{
	if (wheel_holds(&op->link))
		wheel_remove(&worker->wheel, &op->link);
	if (op->watch)
		unstick_watch_free(op->watch); /* after it no note of the token comes */
	if (op->way == WAY_THREAD)
		offload_call_free(op->call);
	else
		vector_free(op);
	op_clear_cold(op);
}

/* Also gives back the engine's reference. */
static void finish(struct worker *worker, struct op *op, long result)
{
	release(worker, op);
	worker->live--;
	count(&worker->counts.completed);
	if (op->phase == OP_CUT && result == op->reason)
		count(result == -ETIMEDOUT ? &worker->counts.expiries : &worker->counts.cancels);
	op->phase = OP_ENDED;
	if (op->done) {
		op_set_result(op, result);
		op->done(op_handle(op), result, op->arg);
		op_set_done(op);
	} else {
		op_set_result_and_done(op, result);
	}
	op_drop(&worker->cache, op);
}

/* Without having been begun. */
static void refuse(struct worker *worker, struct op *op, int reason)
{
	op->phase = OP_CUT;
	op->reason = reason;
	finish(worker, op, reason);
}

/* ---- begin, cut, expire */

static void cut(struct worker *worker, struct op *op, int reason);

static void start_call(struct worker *worker, struct op *op, int reason)
{
	int error = offload_submit(worker->offload, op->call);
	if (error && op->opcode == UNSTICK_OP_CLOSE) /* is always carried out */
		finish(worker, op, offload_call_make(op->call));
	else if (error)
		finish(worker, op, error);
	else if (reason)
		cut(worker, op, reason);
}

static unstick_time first_moment(const struct op *op)
{
	return op->way == WAY_WHEEL ? time_min(op->deadline, op->offset) : op->deadline;
}

/* A close is carried out whatever has come before it, so it has a reason to be cut when it is begun. */
static void start(struct worker *worker, struct op *op, int reason)
{
	op->reason = 0;
	op->phase = OP_STARTED;
	wheel_insert(&worker->wheel, &op->link, first_moment(op));
	if (op->way == WAY_NETWORK)
		worker->back_end->start(worker, op);
	else if (op->way == WAY_THREAD)
		start_call(worker, op, reason);
}

/* Why it is not to be begun, or 0. */
static int find_reason(struct worker *worker, const struct op *op)
{
	if (worker->cut_all)
		return -ECANCELED;
	if (op->reason)
		return op->reason;
	bool too_late = op->deadline != UNSTICK_NEVER && op->deadline <= now_of(worker);
	return too_late && !(op->way == WAY_WHEEL && op->offset <= op->deadline) ? -ETIMEDOUT : 0;
}

static void begin(struct worker *worker, struct op *op)
{
	worker->live++;
	count(&worker->counts.begun);
	int reason = op->way == WAY_NONE ? 0 : find_reason(worker, op);
	if (op->way == WAY_NONE)
		finish(worker, op, op->result);
	else if (op->way == WAY_WHEEL && !reason && op->offset <= now_of(worker))
		finish(worker, op, 0);
	else if (reason && op->opcode != UNSTICK_OP_CLOSE)
		refuse(worker, op, reason);
	else
		start(worker, op, reason);
}

/* The grace of a call that was cut is over. One that cannot be left has memory of the caller's, but a signal ends it. */
static void leave_call(struct worker *worker, struct op *op)
{
	if (!offload_leave(worker->offload, op->call)) {
		wheel_insert(&worker->wheel, &op->link, UNSTICK_NEVER);
		return;
	}
	worker->has_left = true;
	op->call = NULL; /* the offload's */
	finish(worker, op, op->reason);
}

static void cut_call(struct worker *worker, struct op *op)
{
	bool waits = op->call->ends_by_signal;
	if (offload_cut(worker->offload, op->call)) {
		op->call = NULL;
		finish(worker, op, op->reason);
	} else if (waits) {
		wheel_insert(&worker->wheel, &op->link, time_add(now_of(worker), GRACE));
	} else {
		leave_call(worker, op);
	}
}

static void cut_in_back_end(struct worker *worker, struct op *op)
{
	wheel_insert(&worker->wheel, &op->link, UNSTICK_NEVER);
	worker->back_end->cut(worker, op);
}

void worker_cut_failed(struct worker *worker, struct op *op)
{
	if (op->phase != OP_CUT || op->way != WAY_NETWORK)
		return;
	wheel_remove(&worker->wheel, &op->link);
	wheel_insert(&worker->wheel, &op->link, time_add(now_of(worker), CUT_AGAIN));
}

static void cut(struct worker *worker, struct op *op, int reason)
{
	if (op->phase == OP_NEW)
		op->reason = reason; /* its token fired before it was posted: begin() will see it */
	if (op->phase != OP_STARTED)
		return;
	op->phase = OP_CUT;
	op->reason = reason;
	if (wheel_holds(&op->link))
		wheel_remove(&worker->wheel, &op->link);
	if (op->way == WAY_WHEEL) {
		finish(worker, op, reason);
	} else if (op->way == WAY_THREAD) {
		cut_call(worker, op);
	} else {
		cut_in_back_end(worker, op);
	}
}

static void expire(struct worker *worker, struct op *op)
{
	if (op->phase == OP_CUT && op->way == WAY_THREAD)
		leave_call(worker, op);
	else if (op->phase == OP_CUT)
		cut_in_back_end(worker, op);
	else if (op->way == WAY_WHEEL && op->offset <= op->deadline)
		finish(worker, op, 0);
	else
		cut(worker, op, -ETIMEDOUT);
}

static struct op *op_of(struct wheel_link *link)
{
	return (struct op *)(void *)((char *)link - offsetof(struct op, link));
}

static void expire_all(struct worker *worker)
{
	struct wheel_link *link;
	if (wheel_next(&worker->wheel) == UNSTICK_NEVER)
		return;
	while ((link = wheel_expired(&worker->wheel, now_of(worker))))
		expire(worker, op_of(link));
}

static void cut_all(struct worker *worker)
{
	worker->cut_all = true;
	for (struct wheel_link *link = wheel_take_all(&worker->wheel), *next; link; link = next) {
		next = link->next;
		link->next = NULL;
		struct op *op = op_of(link);
		if (op->phase == OP_CUT)
			wheel_insert(&worker->wheel, link, link->when);
		else
			cut(worker, op, -ECANCELED);
	}
}

/* ---- what an operation came to */

/* A part of what a blocking call would have moved. */
static bool goes_on(const struct op *op, long result)
{
	bool moves_all = op->opcode == UNSTICK_OP_WRITE || op->opcode == UNSTICK_OP_SEND || op->opcode == UNSTICK_OP_WRITEV ||
	                 op->opcode == UNSTICK_OP_SENDMSG;
	return moves_all && op->way == WAY_NETWORK && op->phase == OP_STARTED && result > 0 && !(op->op_flags & MSG_DONTWAIT) &&
	       (size_t)result < vector_left(op);
}

/* The result counts what was moved before this part, and every sign of a cut is given the reason of the cut. */
static long final_result(const struct op *op, long result)
{
	if (result < 0 && op->moved)
		return (long)op->moved;
	if (result >= 0)
		return (long)op->moved + result;
	bool by_us = op->phase == OP_CUT && (result == -EINTR || result == -ECANCELED || result == -ETIMEDOUT);
	return by_us ? op->reason : result;
}

void worker_returned(struct worker *worker, struct op *op, long result)
{
	if (result >= KERNEL_RESTART_FIRST && result <= KERNEL_RESTART_LAST)
		result = -EINTR;
	if (result == -EINTR && op->phase == OP_STARTED) { /* a freezer's or a tracer's doing, no answer */
		worker->back_end->start(worker, op);
	} else if (goes_on(op, result) && vector_advance(op, (size_t)result)) {
		worker->back_end->start(worker, op);
	} else {
		finish(worker, op, final_result(op, result));
	}
}

static void call_returned(struct worker *worker, struct op *op)
{
	finish(worker, op, final_result(op, op->call->result));
}

void worker_pass_to_thread(struct worker *worker, struct op *op)
{
	if (!op->moved)
		vector_free(op);
	struct offload_call *call = op->moved ? NULL : offload_call_new(op, NULL);
	if (!call) { /* a part has gone already: that is the result */
		finish(worker, op, final_result(op, -ENOMEM));
		return;
	}
	op->way = WAY_THREAD;
	op->call = call;
	start_call(worker, op, 0);
}

/* ---- notes */

static void ring(struct worker *worker)
{
	if (atomic_load(&worker->asleep) && atomic_exchange(&worker->asleep, 0))
		worker->back_end->ring(worker);
}

void worker_post_many(struct worker *worker, struct op *first, struct op *last)
{
	struct op *head = atomic_load_explicit(&worker->inbox, memory_order_relaxed);
	do
		atomic_store_explicit(&last->next, head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&worker->inbox, &head, first));
	ring(worker);
}

void worker_post(struct op *op, unsigned note)
{
	if (!(note & NOTE_SUBMIT))
		op_hold(op); /* the inbox's; a new operation is in it with the engine's reference */
	if (atomic_fetch_or(&op->notes, note) == 0)
		worker_post_many(op->worker, op, op);
	else
		op_drop(NULL, op); /* it is in the inbox already, with a reference, which becomes the engine's when it is begun */
}

/* Not linked by `next`, which is the inbox's: the operation may be noted for something before it is begun. */
void worker_take(struct worker *worker, struct op *op)
{
	op->link.prev = NULL;
	if (worker->local_last)
		worker->local_last->link.prev = &op->link;
	else
		worker->local_first = op;
	worker->local_last = op;
}

/* The notes are taken in one step: what is noted later puts the operation into the inbox anew. */
static void take_notes_of(struct worker *worker, struct op *op)
{
	unsigned notes = atomic_exchange(&op->notes, 0);
	int reason = notes & NOTE_EXPIRE ? -ETIMEDOUT : notes & NOTE_CANCEL ? -ECANCELED : 0;
	if (notes & NOTE_SUBMIT) {
		if (!op->reason)
			op->reason = reason; /* cancelled before it was begun: nothing is done */
		begin(worker, op);
		return; /* with it goes the engine's reference */
	}
	if ((notes & NOTE_RETURNED) && op->phase != OP_ENDED)
		call_returned(worker, op);
	if (reason)
		cut(worker, op, reason);
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
	for (unsigned taken = 1; op; op = next, taken++) {
		next = atomic_load_explicit(&op->next,
		                            memory_order_relaxed); /* before the notes are taken, and the link with them */
		take_notes_of(worker, op);
		if (taken % AT_ONCE == 0)
			worker->back_end->wait(worker, 0);
	}
}

/* Those that callbacks submit meanwhile are for the next round. */
static void take_local(struct worker *worker)
{
	struct op *op = worker->local_first, *next;
	worker->local_first = worker->local_last = NULL;
	for (; op; op = next) {
		next = op->link.prev ? op_of(op->link.prev) : NULL;
		begin(worker, op);
	}
}

/* ---- rounds */

/* Whoever posts: pushes (seq_cst), then loads `asleep`. We: store `asleep` (seq_cst), then load the inbox. One of us sees the other. */
static unstick_time bed_time(struct worker *worker)
{
	if (worker->local_first || atomic_load_explicit(&worker->inbox, memory_order_relaxed))
		return 0;
	atomic_store(&worker->asleep, 1);
	if (atomic_load(&worker->inbox) || (atomic_load(&worker->closing) && !worker->cut_all)) {
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
		if (atomic_load_explicit(&worker->inbox, memory_order_relaxed) || worker->back_end->has_news(worker)) {
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

static bool has_ended(const struct worker *worker)
{
	return worker->cut_all && !worker->live && !worker->local_first && !atomic_load(&worker->inbox);
}

static void run(struct worker *worker)
{
	for (;;) {
		worker->now = 0;
		take_inbox(worker);
		take_local(worker);
		expire_all(worker);
		if (atomic_load_explicit(&worker->closing, memory_order_acquire) && !worker->cut_all)
			cut_all(worker);
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
