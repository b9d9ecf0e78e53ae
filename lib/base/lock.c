/* SPDX-License-Identifier: MIT
 *
 * The futex lock's slow paths, after the three-state scheme of futex(7): 2 is written by whoever is about to sleep, so that an
 * unlock without sleepers makes no system call.
 */
#include "base/lock.h"

#include <linux/futex.h>
#include <stddef.h>
#include <time.h>

#include "base/raw.h"

enum { NS_PER_S = 1000000000 };

void lock_take(struct lock *lock)
{
	if (lock_try(lock))
		return;
	while (atomic_exchange_explicit(&lock->word, 2, memory_order_seq_cst) != 0)
		futex_sleep(&lock->word, 2, INT64_MAX);
}

void lock_drop(struct lock *lock)
{
	if (atomic_exchange_explicit(&lock->word, 0, memory_order_seq_cst) == 2)
		futex_wake(&lock->word, 1);
}

void futex_sleep(_Atomic uint32_t *word, uint32_t value, int64_t until)
{
	if (until == INT64_MAX) {
		RAW_4(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL);
		return;
	}
	if (until < 0)
		until = 0;
	/* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time: futex(2). */
	struct timespec when = {.tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S};
	RAW_6(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &when, NULL, FUTEX_BITSET_MATCH_ANY);
}

void futex_wake(_Atomic uint32_t *word, int count)
{
	RAW_3(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}
