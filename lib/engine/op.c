/* SPDX-License-Identifier: MIT
 *
 * Memory, references and handles of operations; waiting for them is op_wait.c, their course course.c.
 *
 * Free operations are a lock-free stack (a tag in its head against A-B-A); a worker keeps some of its own, so that operations
 * that begin and end on one worker do not touch it. The argument for the stack: next is read from an operation that
 * may have been taken meanwhile, which is harmless, its memory stays an operation; the tag has then changed and the exchange
 * fails. The same holds for several that are taken together: the links between them were right if the tag has not changed.
 */
#include "engine/op.h"

#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "engine/worker.h"

enum { CACHE_SPILL = 512 };

_Atomic(struct op *) op_chunks[OP_MAX_CHUNKS];

/* On a line of its own: all threads that submit write to it. */
static struct {
	_Alignas(64) _Atomic uint64_t head; /* tag << 32 | slot + 1; 0 there: empty */
} free_ops;

static struct lock grow_lock;
static unsigned chunk_count;

/* ---- memory */

static uint64_t head_for(uint64_t old, const struct op *first)
{
	return ((old >> 32) + 1) << 32 | (first ? first->slot + 1 : 0);
}

/* `first` to `last` are linked by next. */
static void push_free(struct op *first, struct op *last)
{
	uint64_t head = atomic_load_explicit(&free_ops.head, memory_order_relaxed);
	do
		atomic_store_explicit(&last->next, (uint32_t)head ? op_at((uint32_t)head - 1) : NULL, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&free_ops.head, &head, head_for(head, first), memory_order_release,
	                                              memory_order_relaxed));
}

/* Up to `most`, linked by next, the last one's NULL; their number. */
static unsigned pop_free(struct op **ret, unsigned most)
{
	uint64_t head = atomic_load_explicit(&free_ops.head, memory_order_acquire);
	while ((uint32_t)head) {
		struct op *first = op_at((uint32_t)head - 1), *last = first;
		struct op *next = atomic_load_explicit(&first->next, memory_order_relaxed);
		unsigned count = 1;
		for (; next && count < most; count++) {
			last = next;
			next = atomic_load_explicit(&last->next, memory_order_relaxed);
		}
		if (atomic_compare_exchange_weak_explicit(&free_ops.head, &head, head_for(head, next), memory_order_acquire,
		                                          memory_order_acquire)) {
			atomic_store_explicit(&last->next, NULL, memory_order_relaxed);
			*ret = first;
			return count;
		}
	}
	return 0;
}

static struct op *pop_free_one(void)
{
	struct op *op;
	return pop_free(&op, 1) ? op : NULL;
}

__attribute__((cold)) static struct op *grow(void)
{
	lock_take(&grow_lock);
	struct op *op = pop_free_one(); /* another has grown it meanwhile */
	struct op *chunk = op || chunk_count == OP_MAX_CHUNKS ? NULL : aligned_alloc(64, OP_CHUNK * sizeof *chunk);
	if (chunk) {
		memset(chunk, 0, OP_CHUNK * sizeof *chunk);
		for (uint32_t i = 0; i < OP_CHUNK; i++) {
			chunk[i].slot = chunk_count * OP_CHUNK + i;
			atomic_store_explicit(&chunk[i].life, OP_GENERATION_ONE, memory_order_relaxed);
			atomic_store_explicit(&chunk[i].next, i + 1 < OP_CHUNK ? &chunk[i + 1] : NULL, memory_order_relaxed);
		}
		atomic_store_explicit(&op_chunks[chunk_count++], chunk, memory_order_release);
		op = chunk;
		push_free(&chunk[1], &chunk[OP_CHUNK - 1]);
	}
	lock_drop(&grow_lock);
	return op;
}

struct op *op_take_free(void)
{
	struct op *op = pop_free_one();
	return op ? op : grow();
}

void op_cache_fill(struct op_cache *cache, unsigned count)
{
	if (!cache->first)
		cache->count = pop_free(&cache->first, count);
}

void op_clear_cold(struct op *op)
{
	memset(&op->offset, 0, sizeof *op - offsetof(struct op, offset));
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

void op_put_back(struct op_cache *cache, struct op *op)
{
	if (!cache) {
		push_free(op, op);
		return;
	}
	atomic_store_explicit(&op->next, cache->first, memory_order_relaxed);
	cache->first = op;
	if (++cache->count > OP_CACHE_MOST)
		spill(cache, CACHE_SPILL);
}

/* One reference less, if it is of this generation and has any: true if it was the last. That and the generation go in one
 * step, so that a handle that should have been forgotten never revives an operation. */
static bool op_drops(struct op *op, uint64_t generation)
{
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed), after;
	do {
		if (life >> 32 != generation || !(life & OP_REFS_MASK) || (life & OP_SOLE))
			return false;
		after = (life & OP_REFS_MASK) == 1 ? op_next_generation(life) : life - 1;
	} while (!atomic_compare_exchange_weak_explicit(&op->life, &life, after, memory_order_acq_rel, memory_order_relaxed));
	return !(after & OP_REFS_MASK);
}

void op_drop_shared(struct op_cache *cache, struct op *op)
{
	if (op_drops(op, atomic_load_explicit(&op->life, memory_order_relaxed) >> 32))
		op_put_back(cache, op);
}

/* ---- handles */

struct op *op_from_handle(const struct unstick_op *handle)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = op_at_handle(value);
	if (!op)
		return NULL;
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	do
		if (life >> 32 != value >> 32 || !(life & OP_REFS_MASK) || (life & OP_SOLE))
			return NULL;
	while (!atomic_compare_exchange_weak_explicit(&op->life, &life, life + 1, memory_order_acquire, memory_order_relaxed));
	return op;
}

/* The worker is loaded first: if it is this one's because the slot has been used anew, life shows another generation. */
void op_share_handle(const struct unstick_op *handle)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = worker_current ? op_at_handle(value) : NULL;
	if (!op || atomic_load_explicit(&op->worker, memory_order_acquire) != worker_current)
		return;
	if (atomic_load_explicit(&op->life, memory_order_relaxed) >> 32 == value >> 32)
		op_share(op);
}

struct unstick_op *unstick_op_ref(struct unstick_op *handle)
{
	op_share_handle(handle);
	(void)op_from_handle(handle);
	return handle;
}

struct unstick_op *unstick_op_unref(struct unstick_op *handle)
{
	uint64_t value = (uint64_t)(uintptr_t)handle;
	struct op *op = op_at_handle(value);
	if (op && op_drops(op, value >> 32))
		op_put_back(NULL, op);
	return NULL;
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
