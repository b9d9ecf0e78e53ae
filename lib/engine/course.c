/* SPDX-License-Identifier: MIT
 *
 * An operation's course, on its worker:
 *
 *     OP_NEW -> OP_STARTED ----------------------> OP_ENDED      it has come to something by itself
 *        |          `-> OP_CUT (reason) ---------->   |          token, deadline, op_cancel: it comes to what it had moved, or to the reason
 *        `------------------------------------------->|          cut before it was begun, or nothing to begin
 *
 * Only this thread moves an operation, so there are no races between those arrows: what others want is in op->notes.
 */
#include "engine/course.h"

#include <errno.h>

#include "engine/offload.h"
#include "engine/vector.h"

/* How long a call on a thread may take to come out after it was cut, before it is left behind. */
static const unstick_time GRACE = 2 * TIME_NS_PER_MS;

/* A cut that came to nothing, because the operation was just between two places, is tried again after this time. */
static const unstick_time CUT_AGAIN = 1 * TIME_NS_PER_MS;

/* Results of the kernel that only mean "interrupted": ERESTARTSYS ... ERESTART_RESTARTBLOCK, include/linux/errno.h. */
enum { KERNEL_RESTART_FIRST = -516, KERNEL_RESTART_LAST = -512 };

static void count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- the end of an operation */

static void release_more(struct op *op)
{
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
	if (wheel_holds(&op->link))
		wheel_remove(&worker->wheel, &op->link);
	if (op->has_more)
		release_more(op);
	count(&worker->counts.completed);
	if (op->phase == OP_CUT && result == op->reason)
		count(result == -ETIMEDOUT ? &worker->counts.expiries : &worker->counts.cancels);
	op->phase = OP_ENDED;
	if (op->done) {
		op_set_result(op, result);
		op->done(op_handle(op), result, op->arg);
		worker->now = 0;     /* it may have taken long */
		if (!op_is_sole(op)) /* else nobody waits for it */
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

static void start_call(struct worker *worker, struct op *op, int reason)
{
	int error = offload_submit(worker->offload, op->call);
	if (error && op->opcode == UNSTICK_OP_CLOSE) /* is always carried out */
		finish(worker, op, offload_call_close_here(op->call));
	else if (error)
		finish(worker, op, error);
	else if (reason)
		course_cut(worker, op, reason);
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
	bool too_late = op->deadline != UNSTICK_NEVER && op->deadline <= worker_now(worker);
	return too_late && !(op->way == WAY_WHEEL && op->offset <= op->deadline) ? -ETIMEDOUT : 0;
}

void course_begin(struct worker *worker, struct op *op)
{
	count(&worker->counts.begun);
	int reason = op->way == WAY_NONE ? 0 : find_reason(worker, op);
	if (op->way == WAY_NONE)
		finish(worker, op, op->result);
	else if (op->way == WAY_WHEEL && !reason && op->offset <= worker_now(worker))
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
		wheel_insert(&worker->wheel, &op->link, time_add(worker_now(worker), GRACE));
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
	wheel_insert(&worker->wheel, &op->link, time_add(worker_now(worker), CUT_AGAIN));
}

void course_cut(struct worker *worker, struct op *op, int reason)
{
	if (op->phase == OP_NEW)
		op->reason = reason; /* its token fired before it was posted: course_begin() will see it */
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
		course_cut(worker, op, -ETIMEDOUT);
}

void course_expire(struct worker *worker)
{
	struct wheel_link *link;
	if (wheel_next(&worker->wheel) == UNSTICK_NEVER)
		return;
	while ((link = wheel_expired(&worker->wheel, worker_now(worker))))
		expire(worker, op_of(link));
}

void course_cut_all(struct worker *worker)
{
	worker->cut_all = true;
	for (struct wheel_link *link = wheel_take_all(&worker->wheel), *next; link; link = next) {
		next = link->next;
		link->next = NULL;
		struct op *op = op_of(link);
		if (op->phase == OP_CUT)
			wheel_insert(&worker->wheel, link, link->when);
		else
			course_cut(worker, op, -ECANCELED);
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
	long moved = (long)op_moved(op);
	if (result < 0 && moved)
		return moved;
	if (result >= 0)
		return moved + result;
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

void course_call_returned(struct worker *worker, struct op *op)
{
	finish(worker, op, final_result(op, op->call->result));
}

void worker_pass_to_thread(struct worker *worker, struct op *op)
{
	size_t moved = op_moved(op);
	if (!moved)
		vector_free(op);
	struct offload_call *call = moved ? NULL : offload_call_new(op, NULL);
	if (!call) { /* a part has gone already: that is the result */
		finish(worker, op, final_result(op, -ENOMEM));
		return;
	}
	op_share(op); /* its thread makes a note */
	op->way = WAY_THREAD;
	op->has_more = true;
	op->call = call;
	start_call(worker, op, 0);
}
