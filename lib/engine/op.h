/* SPDX-License-Identifier: MIT
 *
 * An operation, from submit to its end. Type-stable: its memory is recycled as an operation, never returned; the public handle
 * is a slot number and a generation, so that one whose operation has gone is recognised whatever has become of the slot. Who
 * owns what: until it is posted, the submitter owns all fields; from then on the worker does, but for `life`, `word`, `notes`
 * and `next`, which are atomic. So a cancel from any thread is a note in the inbox, and all decisions about one operation are
 * made by one thread.
 */
#ifndef UNSTICK_ENGINE_OP_H
#define UNSTICK_ENGINE_OP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/wheel.h"
#include "unstick.h"

/* How it is carried out. */
enum op_way {
	WAY_NETWORK, /* by the worker's back end */
	WAY_THREAD,  /* by a thread of the offload: op->call */
	WAY_WHEEL,   /* a timeout: by nothing but the passing of time */
	WAY_NONE,    /* not at all: op->result is known */
};

enum op_phase {
	OP_NEW,
	OP_STARTED,
	OP_CUT, /* is being cut short because of op->reason; ends with what it comes to */
	OP_ENDED,
};

/* Notes to the worker, in op->notes. */
enum {
	NOTE_CANCEL = 1u << 0,   /* -ECANCELED */
	NOTE_EXPIRE = 1u << 1,   /* -ETIMEDOUT: its token's deadline */
	NOTE_RETURNED = 1u << 2, /* its call has a result */
};

/* Bits of op->word, which is a futex. */
enum {
	WORD_RESULT = 1u << 0, /* op->result is final */
	WORD_DONE = 1u << 1,   /* and the callback has returned */
	WORD_WAITED = 1u << 2, /* somebody sleeps on it */
};

struct worker;
struct offload_call;

/* Three cache lines: what several threads write; what the submitter writes and the worker reads; what most operations never
 * need, which is zero in a free operation and therefore need not be written, nor its line be moved to the submitter's
 * processor. */
struct op {
	_Atomic uint64_t life;  /* generation << 32 | OP_SOLE | references; a new generation when the last reference goes */
	_Atomic uint32_t word;  /* WORD_* */
	_Atomic uint32_t notes; /* NOTE_*; while not 0 it is in the inbox, which holds a reference */
	_Atomic(struct op *) next;
	_Atomic long result;
	_Atomic(struct worker *) worker;
	void (*done)(struct unstick_op *op, long result, void *arg);
	void *arg;
	uint32_t slot;
	int reason;

	union {
		struct wheel_link link; /* in the worker's wheel, from start to end */
		struct {
			struct wheel_link *none; /* NULL: not in the wheel */
			struct op *next;
			struct op *older; /* of the first of a batch: the first of the batch that came before */
		} queue;                  /* before that, on the way to the worker: memory-model.md, K */
	};
	unstick_time deadline; /* UNSTICK_NEVER: none */
	void *buf;
	size_t len;
	int fd, op_flags;
	uint8_t opcode, phase, way;
	uint8_t fork_epoch; /* of the process that began it, as far as it fits */
	bool has_handle;    /* one was given out: somebody may wait, with a reference or, wrongly, without */
	bool has_more;      /* some of the following is not zero */
	bool asks_once;     /* the uring back end's: it must not wait in the ring */
	/* Zero but where the operation needs it; has_more says so: */

	int64_t offset;
	const void *addr;
	size_t moved; /* bytes of a write or send that goes on */
	union {
		struct offload_call *call; /* WAY_THREAD; owned */
		struct iovec *vector;      /* writev, sendmsg that go on: what is left; owned by the back end */
	};
	struct unstick_watch *watch; /* on request.token; owned */
	unsigned addr_len;
	int poll_fd; /* the poll back end's */
};

_Static_assert(sizeof(struct op) <= 192, "an idle operation takes three cache lines");
_Static_assert(offsetof(struct op, link) == 64 && offsetof(struct op, offset) == 128, "and its parts one each");

/* Bytes of a write or send that have gone in parts. */
static inline size_t op_moved(const struct op *op)
{
	return op->has_more ? op->moved : 0;
}

static inline struct op *op_of(struct wheel_link *link)
{
	return (struct op *)(void *)((char *)link - offsetof(struct op, link));
}

/* New operations in the order in which they were submitted, linked by queue.next. */
struct op_queue {
	struct op *first, *last;
};

static inline void op_enqueue(struct op_queue *queue, struct op *op)
{
	op->queue.next = NULL;
	if (queue->last)
		queue->last->queue.next = op;
	else
		queue->first = op;
	queue->last = op;
}

/* Free operations of one thread's own. */
struct op_cache {
	struct op *first;
	unsigned count;
};
enum { OP_CACHE_MOST = 1024 };

/* One that is free, of those that all share; NULL: no memory. */
struct op *op_take_free(void);
/* One that has no references. `cache` may be NULL. */
void op_put_back(struct op_cache *cache, struct op *op);
/* Takes up to `count` free ones into it in one step, so that op_new() need not for each. */
void op_cache_fill(struct op_cache *cache, unsigned count);
/* Before the last reference goes, the fields that are not set for each operation are to be made zero. */
void op_clear_cold(struct op *op);
void op_hold(struct op *op);
/* One reference less, of one that is not its worker's alone. Async-signal-safe with cache NULL. */
void op_drop_shared(struct op_cache *cache, struct op *op);
void op_cache_empty(struct op_cache *cache);

/* A new reference, or NULL when the handle's operation has gone, or is its worker's alone. Async-signal-safe. */
struct op *op_from_handle(const struct unstick_op *handle);
/* If the handle is that of an operation which is the calling worker's alone: no longer. Not async-signal-safe. */
void op_share_handle(const struct unstick_op *handle);

/* All operations there have ever been, in chunks. */
enum { OP_CHUNK = 512, OP_MAX_CHUNKS = 32768 };
extern _Atomic(struct op *) op_chunks[OP_MAX_CHUNKS];

#define OP_REFS_MASK ((uint64_t)UINT32_MAX)

/* Beside one reference: it is the worker's, and nobody else may make another, so that the worker gives it back without an atomic
 * step (memory-model.md, Y). For operations that only their callback knows. */
#define OP_SOLE ((uint64_t)1 << 31)

#define OP_GENERATION_ONE ((uint64_t)1 << 32)

/* Never 0: handles are greater than 2^32. */
static inline uint64_t op_next_generation(uint64_t life)
{
	uint64_t next = (life & ~OP_REFS_MASK) + OP_GENERATION_ONE;
	return next ? next : OP_GENERATION_ONE;
}

static inline bool op_is_sole(const struct op *op)
{
	return atomic_load_explicit(&op->life, memory_order_relaxed) & OP_SOLE;
}

/* By its submitter, before it is given to the worker. */
static inline void op_make_sole(struct op *op)
{
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	atomic_store_explicit(&op->life, life | OP_SOLE, memory_order_relaxed);
}

/* By its worker. */
static inline void op_share(struct op *op)
{
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	if (life & OP_SOLE)
		atomic_store_explicit(&op->life, life & ~OP_SOLE, memory_order_release);
}

/* NULL: there has never been one. */
static inline struct op *op_at(uint32_t slot)
{
	struct op *chunk = NULL;
	if (slot / OP_CHUNK < OP_MAX_CHUNKS)
		chunk = atomic_load_explicit(&op_chunks[slot / OP_CHUNK], memory_order_acquire);
	return chunk ? &chunk[slot % OP_CHUNK] : NULL;
}

/* Handles: generation << 32 | slot + 1. */
static inline struct unstick_op *op_handle(const struct op *op)
{
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	return (struct unstick_op *)(uintptr_t)((life & ~OP_REFS_MASK) | (op->slot + 1));
}

/* The operation that has, or had, this handle; NULL for what never was one. */
static inline struct op *op_at_handle(uint64_t value)
{
	return op_at((uint32_t)value - 1);
}

/* A new one with `references`. From `link` on its fields are zero, and `reason`; the others are to be set. NULL: no memory. `cache`
 * is the calling thread's own, or NULL. */
static inline struct op *op_new(struct op_cache *cache, unsigned references)
{
	struct op *op = cache && cache->first ? cache->first : op_take_free();
	if (!op)
		return NULL;
	if (cache && op == cache->first) {
		cache->first = atomic_load_explicit(&op->next, memory_order_relaxed);
		cache->count--;
	}
	atomic_store_explicit(&op->word, 0, memory_order_release); /* for peek(): memory-model.md, P */
	atomic_store_explicit(&op->notes, 0, memory_order_relaxed);
	op->reason = 0;
	memset(&op->link, 0, offsetof(struct op, offset) - offsetof(struct op, link));
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	atomic_store_explicit(&op->life, life | references, memory_order_release);
	return op;
}

/* One reference less. Async-signal-safe with cache NULL, if it is not its worker's alone. */
static inline void op_drop(struct op_cache *cache, struct op *op)
{
	uint64_t life = atomic_load_explicit(&op->life, memory_order_relaxed);
	if (!(life & OP_SOLE)) {
		op_drop_shared(cache, op);
		return;
	}
	atomic_store_explicit(&op->life, op_next_generation(life), memory_order_release);
	op_put_back(cache, op);
}

/* Only callbacks know of it, and there is no reference but the worker's: nobody waits, nobody looks. */
static inline bool op_is_only_the_workers(const struct op *op)
{
	return !op->has_handle && (atomic_load_explicit(&op->life, memory_order_acquire) & OP_REFS_MASK & ~OP_SOLE) == 1;
}

/* The result is stored; op_result() gives it. */
static inline void op_set_result(struct op *op, long result)
{
	atomic_store_explicit(&op->result, result, memory_order_release);
	if (op_is_only_the_workers(op))
		atomic_store_explicit(&op->word, WORD_RESULT, memory_order_release);
	else
		atomic_fetch_or_explicit(&op->word, WORD_RESULT, memory_order_release);
}
/* The callback has returned: wakes who waits. With a result that has not been set yet: sets it, too. */
void op_set_done(struct op *op);
void op_set_result_and_done(struct op *op, long result);

void op_before_fork(void);
void op_after_fork(void);

#endif
