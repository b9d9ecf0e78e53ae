/* SPDX-License-Identifier: MIT
 *
 * The end of an operation as others see it: its result, and waiting for it.
 */
#include <errno.h>
#include <limits.h>

#include "base/lock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/linger.h"
#include "engine/worker.h"
#include "wake/sleep.h"

_Atomic bool linger_is_alone;

/* Somebody sleeps until any of several operations has ended: memory-model.md, M. */
static _Atomic uint32_t any_events, any_waiters;

static void set_done(struct op *op, uint32_t bits)
{
	if (op_is_only_the_workers(op)) {
		atomic_store_explicit(&op->word, WORD_RESULT | WORD_DONE, memory_order_release);
		return;
	}
	if (atomic_fetch_or(&op->word, bits) & WORD_WAITED)
		futex_wake(&op->word, INT_MAX);
	if (atomic_load(&any_waiters)) {
		atomic_fetch_add(&any_events, 1);
		futex_wake(&any_events, INT_MAX);
	}
}

void op_set_done(struct op *op)
{
	set_done(op, WORD_DONE);
}

void op_set_result_and_done(struct op *op, long result)
{
	atomic_store_explicit(&op->result, result, memory_order_release);
	set_done(op, WORD_RESULT | WORD_DONE);
}

static bool is_done(struct op *op)
{
	return atomic_load(&op->word) & WORD_DONE;
}

/* What the handle's operation shows without a reference to it: the generation is looked at before and after (memory-model.md,
 * P). -ESTALE; else its word. */
static int64_t peek(const struct unstick_op *handle, long *ret_result)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = op_at_handle(value);
	if (!op || atomic_load_explicit(&op->life, memory_order_acquire) >> 32 != value >> 32)
		return -ESTALE;
	uint32_t word = atomic_load_explicit(&op->word, memory_order_acquire);
	*ret_result = atomic_load_explicit(&op->result, memory_order_acquire);
	return atomic_load_explicit(&op->life, memory_order_relaxed) >> 32 == value >> 32 ? (int64_t)word : -ESTALE;
}

long unstick_op_result(const struct unstick_op *handle)
{
	long result;
	if (!handle)
		return -EINVAL;
	int64_t word = peek(handle, &result);
	if (word < 0)
		return -ESTALE;
	if (word & WORD_RESULT)
		return result;
	return engine_is_of_parent(op_at_handle((uint64_t)(uintptr_t)handle)) ? -EOWNERDEAD : -EINPROGRESS;
}

static int obstacle_to_waiting(const struct op *op)
{
	if (engine_is_of_parent(op))
		return -EOWNERDEAD;
	return op->worker == worker_current ? -EDEADLK : 0;
}

/* It may be just about to end. */
static void look_a_moment(struct op *op, struct lingering *linger)
{
	unsigned looks = linger_looks(linger), left = looks;
	for (; left > 0 && !is_done(op); left--)
		__builtin_ia32_pause();
	if (looks)
		linger_looked(linger, left > 0);
}

static int sleep_for(struct op *op, unstick_time until, struct lingering *linger)
{
	uint32_t seen = atomic_fetch_or(&op->word, WORD_WAITED) | WORD_WAITED;
	if (seen & WORD_DONE)
		return 0;
	unstick_time begun = unstick_now();
	int error = sleep_on(&op->word, seen, until);
	linger_slept(linger, unstick_now() - begun);
	return error;
}

static int wait_for(struct op *op, unstick_time until)
{
	static _Thread_local struct lingering linger;
	if (!is_done(op))
		look_a_moment(op, &linger);
	while (!is_done(op)) {
		int error = obstacle_to_waiting(op);
		if (!error && unstick_now() >= until)
			error = -ETIMEDOUT;
		if (!error)
			error = sleep_for(op, until, &linger);
		if (error)
			return is_done(op) ? 0 : error;
	}
	return 0;
}

/* Tells the application's log of what a correct program does not meet. */
static int tell(int error)
{
	if (error == -EDEADLK)
		log_line("unstick: wait: called on the worker that runs the operation: it would wait for itself: use its callback, "
		         "or "
		         "wait in another thread");
	if (error == -ESTALE)
		log_line("unstick: wait: the operation has gone with its last reference, or was never begun: unref it after the "
		         "wait, not "
		         "before");
	return error;
}

int unstick_op_wait(struct unstick_op *handle, unstick_time until)
{
	long result;
	int64_t word = peek(handle, &result);
	if (word > 0 && (word & WORD_DONE))
		return 0;
	op_share_handle(handle);
	struct op *op = op_from_handle(handle);
	if (!op)
		return handle ? tell(-ESTALE) : -EINVAL;
	int error = wait_for(op, until);
	op_drop(NULL, op);
	return tell(error);
}

int unstick_op_wait_all(struct unstick_op *const *ops, unsigned count, unstick_time until)
{
	if (!ops)
		return -EINVAL;
	/* From the last on: when it has ended the others mostly have, too. */
	for (unsigned i = count; i-- > 0;) {
		int error = ops[i] ? unstick_op_wait(ops[i], until) : 0;
		if (error)
			return error;
	}
	return 0;
}

/* Index of one that is done, -EAGAIN, or an error. */
static int find_done(struct unstick_op *const *ops, unsigned count)
{
	int found = -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		op_share_handle(ops[i]);
		struct op *op = ops[i] ? op_from_handle(ops[i]) : NULL;
		if (ops[i] && !op)
			return -ESTALE;
		if (!op)
			continue;
		bool done = is_done(op);
		int error = done ? 0 : obstacle_to_waiting(op);
		op_drop(NULL, op);
		if (done)
			return (int)i;
		found = error ? error : -EAGAIN;
		if (error)
			return error;
	}
	return found;
}

static int wait_any(struct unstick_op *const *ops, unsigned count, unstick_time until)
{
	for (;;) {
		uint32_t seen = atomic_load(&any_events);
		int found = find_done(ops, count);
		if (found != -EAGAIN)
			return found;
		if (unstick_now() >= until)
			return -ETIMEDOUT;
		int error = sleep_on(&any_events, seen, until);
		if (error)
			return error;
	}
}

int unstick_op_wait_any(struct unstick_op *const *ops, unsigned count, unstick_time until)
{
	if (!ops || count > INT_MAX)
		return -EINVAL;
	atomic_fetch_add(&any_waiters, 1);
	int found = wait_any(ops, count, until);
	atomic_fetch_sub(&any_waiters, 1);
	return tell(found);
}
