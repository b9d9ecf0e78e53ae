/* SPDX-License-Identifier: MIT
 *
 * A futex lock of one word: zero is free, so static and zeroed memory is an unlocked lock, and a forked child may simply zero it.
 * Unlike pthread_mutex_trylock(), lock_try() is async-signal-safe by construction: one compare-and-swap.
 * Not recursive. lock_take() must not be called in a signal handler, nor on a path that a handler may have interrupted with the
 * lock held by the same thread; lock_try() may.
 * All operations are sequentially consistent, not merely acquire and release: "push a request, lock_try() fails, go away" against
 * "lock_drop(), look for requests" is store buffering, and needs it on both sides (memory-model.md, G).
 */
#ifndef UNSTICK_BASE_LOCK_H
#define UNSTICK_BASE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lock {
	_Atomic uint32_t word; /* 0 free, 1 held, 2 held and somebody may sleep on it */
};

static inline bool lock_try(struct lock *lock)
{
	uint32_t free_word = 0;
	return atomic_compare_exchange_strong_explicit(&lock->word, &free_word, 1, memory_order_seq_cst, memory_order_seq_cst);
}

void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);

/* Sleeps while *word == value, at most until the CLOCK_MONOTONIC moment `until` (INT64_MAX: for ever). May return early. */
void futex_sleep(_Atomic uint32_t *word, uint32_t value, int64_t until);
/* Wakes up to `count` sleepers. Async-signal-safe. */
void futex_wake(_Atomic uint32_t *word, int count);

#endif
