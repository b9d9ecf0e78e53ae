/* SPDX-License-Identifier: MIT
 *
 * Memory, references, handles and waiting of operations; their course is worker.c.
 *
 * Free operations are a lock-free stack (a tag in its head against A-B-A); a worker keeps some of its own, so that operations that begin and end
 * on one worker cost no atomic instruction. The argument for the stack: next is read from an operation that may have been taken meanwhile, which is
 * harmless, its memory stays an operation; the tag has then changed and the exchange fails.
 */
#include "engine/op.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/linger.h"
#include "engine/worker.h"
#include "wake/sleep.h"

enum { CACHE_MOST = 1024, CACHE_SPILL = 512 };

static const uint64_t REFS_MASK = OP_REFS_MASK, GENERATION_ONE = (uint64_t)1 << 32;

_Atomic(struct op *) op_chunks[OP_MAX_CHUNKS];
static _Atomic uint64_t free_head; /* tag << 32 | slot + 1; 0 there: empty */

bool linger_is_alone;

static struct lock grow_lock;
static unsigned chunk_count;

/* Somebody sleeps until any of several operations has ended: memory-model.md, E3. */
static _Atomic uint32_t any_events, any_waiters;

/* ---- memory */

static uint64_t head_for(uint64_t old, const struct op *first)
{
	return ((old >> 32) + 1) << 32 | (first ? first->slot + 1 : 0);
}

/* `first` to `last` are linked by next. */
static void push_free(struct op *first, struct op *last)
{
	uint64_t head = atomic_load_explicit(&free_head, memory_order_relaxed);
	do
		atomic_store_explicit(&last->next, (uint32_t)head ? op_at((uint32_t)head - 1) : NULL, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&free_head, &head, head_for(head, first), memory_order_release,
	                                              memory_order_relaxed));
}

static struct op *pop_free(void)
{
	uint64_t head = atomic_load_explicit(&free_head, memory_order_acquire);
	while ((uint32_t)head) {
		struct op *op = op_at((uint32_t)head - 1);
		struct op *next = atomic_load_explicit(&op->next, memory_order_relaxed);
		if (atomic_compare_exchange_weak_explicit(&free_head, &head, head_for(head, next), memory_order_acquire,
		                                          memory_order_acquire))
			return op;
	}
	return NULL;
}

static struct op *grow(void)
{
	lock_take(&grow_lock);
	struct op *op = pop_free(); /* another has grown it meanwhile */
	struct op *chunk = op || chunk_count == OP_MAX_CHUNKS ? NULL : aligned_alloc(64, OP_CHUNK * sizeof *chunk);
	if (chunk) {
		memset(chunk, 0, OP_CHUNK * sizeof *chunk);
		for (uint32_t i = 0; i < OP_CHUNK; i++) {
			chunk[i].slot = chunk_count * OP_CHUNK + i;
			atomic_store_explicit(&chunk[i].life, GENERATION_ONE, memory_order_relaxed);
			atomic_store_explicit(&chunk[i].next, i + 1 < OP_CHUNK ? &chunk[i + 1] : NULL, memory_order_relaxed);
		}
		atomic_store_explicit(&op_chunks[chunk_count++], chunk, memory_order_release);
		op = chunk;
		push_free(&chunk[1], &chunk[OP_CHUNK - 1]);
	}
	lock_drop(&grow_lock);
	return op;
}

static struct op *take_free(struct op_cache *cache)
{
	if (!cache || !cache->first) {
		struct op *op = pop_free();
		return op ? op : grow();
	}
	struct op *op = cache->first;
	cache->first = atomic_load_explicit(&op->next, memory_order_relaxed);
	cache->count--;
	return op;
}

void op_clear_cold(struct op *op)
{
	memset(&op->offset, 0, sizeof *op - offsetof(struct op, offset));
}

/* The cold fields are zero in a free operation. */
static void make_zero(struct op *op)
{
	atomic_store_explicit(&op->word, 0, memory_order_relaxed);
	atomic_store_explicit(&op->notes, 0, memory_order_relaxed);
	op->reason = 0;
	memset(&op->link, 0, offsetof(struct op, offset) - offsetof(struct op, link));
}

struct op *op_new(struct op_cache *cache, unsigned references)
{
	struct op *op = take_free(cache);
	if (!op)
		return NULL;
	make_zero(op);
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	atomic_store_explicit(&op->life, life | references, memory_order_release);
	return op;
}

static void spill(struct op_cache *cache, unsigned count)
{
	struct op *first = cache->first, *last = first;
	for (unsigned i = 1; i < count; i++)
		last = atomic_load_explicit(&last->next, memory_order_relaxed);
	cache->first = atomic_load_explicit(&last->next, memory_order_relaxed);
	cache->count -= count;
	push_free(first, last);
}

void op_cache_empty(struct op_cache *cache)
{
	if (cache->count)
		spill(cache, cache->count);
}

/* ---- references */

void op_hold(struct op *op)
{
	atomic_fetch_add_explicit(&op->life, 1, memory_order_relaxed);
}

static void put_back(struct op_cache *cache, struct op *op)
{
	if (!cache) {
		push_free(op, op);
		return;
	}
	atomic_store_explicit(&op->next, cache->first, memory_order_relaxed);
	cache->first = op;
	if (++cache->count > CACHE_MOST)
		spill(cache, CACHE_SPILL);
}

/* Never 0: handles are greater than 2^32. */
static uint64_t next_generation(uint64_t life)
{
	uint64_t next = (life & ~REFS_MASK) + GENERATION_ONE;
	return next ? next : GENERATION_ONE;
}

/* One reference less, if it is of this generation and has any: true if it was the last. That and the generation go in one step, so that a handle that
 * should have been forgotten never revives an operation. */
static bool op_drops(struct op *op, uint64_t generation)
{
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed), after;
	do {
		if (life >> 32 != generation || !(life & REFS_MASK))
			return false;
		after = (life & REFS_MASK) == 1 ? next_generation(life) : life - 1;
	} while (!atomic_compare_exchange_weak_explicit(&op->life, &life, after, memory_order_acq_rel, memory_order_relaxed));
	return !(after & REFS_MASK);
}

void op_drop(struct op_cache *cache, struct op *op)
{
	if (op_drops(op, atomic_load_explicit(&op->life, memory_order_relaxed) >> 32))
		put_back(cache, op);
}

/* ---- handles: generation << 32 | slot + 1 */

struct op *op_from_handle(const struct unstick_op *handle)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = (uint32_t)value ? op_at((uint32_t)value - 1) : NULL;
	if (!op)
		return NULL;
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	do
		if (life >> 32 != value >> 32 || !(life & REFS_MASK))
			return NULL;
	while (!atomic_compare_exchange_weak_explicit(&op->life, &life, life + 1, memory_order_acquire, memory_order_relaxed));
	return op;
}

struct unstick_op *unstick_op_ref(struct unstick_op *handle)
{
	(void)op_from_handle(handle);
	return handle;
}

struct unstick_op *unstick_op_unref(struct unstick_op *handle)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = (uint32_t)value ? op_at_handle(value) : NULL;
	if (op && op_drops(op, value >> 32))
		put_back(NULL, op);
	return NULL;
}

/* ---- the end, and waiting for it */

/* Only callbacks know of it, and there is no reference but the worker's: nobody waits, nobody looks. */
static bool is_only_the_workers(const struct op *op)
{
	return !op->has_handle && (atomic_load_explicit(&op->life, memory_order_acquire) & REFS_MASK) == 1;
}

void op_set_result(struct op *op, long result)
{
	atomic_store_explicit(&op->result, result, memory_order_relaxed);
	if (is_only_the_workers(op))
		atomic_store_explicit(&op->word, WORD_RESULT, memory_order_release);
	else
		atomic_fetch_or_explicit(&op->word, WORD_RESULT, memory_order_release);
}

static void set_done(struct op *op, uint32_t bits)
{
	if (is_only_the_workers(op)) {
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
	atomic_store_explicit(&op->result, result, memory_order_relaxed);
	set_done(op, WORD_RESULT | WORD_DONE);
}

static bool is_done(struct op *op)
{
	return atomic_load(&op->word) & WORD_DONE;
}

/* What the handle's operation shows without a reference to it: the generation is looked at before and after. -ESTALE; else its word. */
static int64_t peek(const struct unstick_op *handle, long *ret_result)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = (uint32_t)value ? op_at_handle(value) : NULL;
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
		log_line("unstick: wait: the operation has gone with its last reference: unref it after the wait, not before");
	return error;
}

int unstick_op_wait(struct unstick_op *handle, unstick_time until)
{
	long result;
	int64_t word = peek(handle, &result);
	if (word > 0 && (word & WORD_DONE))
		return 0;
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

/* ---- fork */

void op_before_fork(void)
{
	lock_take(&grow_lock);
}

void op_after_fork(void)
{
	lock_drop(&grow_lock);
}
