/* SPDX-License-Identifier: MIT
 *
 * A sequence-locked box of words: one writer at a time (the caller sees to it), readers that never wait and may be signal
 * handlers. Without fences, which TSan does not model: the words are release stores and acquire loads. A reader that got a
 * word of a later write has synchronised with that write, hence sees its odd number (or a later one) when it loads the number
 * again, and refuses the copy.
 */
#ifndef UNSTICK_BASE_SEQBOX_H
#define UNSTICK_BASE_SEQBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEQBOX_WORDS = 24 };

struct seqbox {
	_Atomic uint32_t sequence; /* odd while it is written */
	_Atomic uint64_t word[SEQBOX_WORDS];
};

static inline void seqbox_write(struct seqbox *box, const uint64_t *from, size_t words)
{
	uint32_t n = atomic_load_explicit(&box->sequence, memory_order_relaxed);
	atomic_store_explicit(&box->sequence, n + 1, memory_order_relaxed);
	for (size_t i = 0; i < words; i++)
		atomic_store_explicit(&box->word[i], from[i], memory_order_release);
	atomic_store_explicit(&box->sequence, n + 2, memory_order_release);
}

/* Empty, in a forked child: a write that was under way in the parent will never be finished here. */
static inline void seqbox_reset(struct seqbox *box)
{
	for (size_t i = 0; i < SEQBOX_WORDS; i++)
		atomic_store_explicit(&box->word[i], 0, memory_order_relaxed);
	atomic_store_explicit(&box->sequence, 0, memory_order_release);
}

/* false: a write was under way; `to` is then worthless. */
static inline bool seqbox_read(const struct seqbox *box, uint64_t *to, size_t words)
{
	uint32_t n = atomic_load_explicit(&box->sequence, memory_order_acquire);
	if (n & 1)
		return false;
	for (size_t i = 0; i < words; i++)
		to[i] = atomic_load_explicit(&box->word[i], memory_order_acquire);
	return atomic_load_explicit(&box->sequence, memory_order_relaxed) == n;
}

#endif
