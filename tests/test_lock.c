/* SPDX-License-Identifier: MIT
 *
 * The futex lock: excludes, sleeps instead of spinning, wakes who sleeps.
 */
#include "helpers.h"
#include "base/lock.h"

static struct lock lock;

Test(lock, zeroed_memory_is_free_and_try_never_waits)
{
	cr_assert(lock_try(&lock));
	cr_assert_not(lock_try(&lock));
	cr_assert_eq(lock.word, 1, "nobody sleeps on it");
	lock_drop(&lock);
	cr_assert_eq(lock.word, 0);
	cr_assert(lock_try(&lock));
}

static long take_and_drop(void *arg)
{
	(void)arg;
	lock_take(&lock);
	lock_drop(&lock);
	return 0;
}

Test(lock, two_waiters_sleep_until_it_is_dropped_and_both_get_it)
{
	struct worker waiter[2];
	lock_take(&lock);
	for (int i = 0; i < 2; i++) {
		worker_start(&waiter[i], take_and_drop, NULL);
		worker_wait_blocked(&waiter[i], SYS_futex);
	}
	cr_assert_eq(lock.word, 2, "drop must see that somebody sleeps");
	lock_drop(&lock);
	for (int i = 0; i < 2; i++)
		worker_join(&waiter[i]);
	cr_assert(lock_try(&lock));
}

enum { ROUNDS = 50000 };
static long counter; /* not atomic: the lock is what is tested */

static long count_under_lock(void *arg)
{
	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		lock_take(&lock);
		counter++;
		lock_drop(&lock);
	}
	return 0;
}

Test(lock, one_holder_at_a_time)
{
	struct worker worker[3];
	for (int i = 0; i < 3; i++)
		worker_start(&worker[i], count_under_lock, NULL);
	for (int i = 0; i < 3; i++)
		worker_join(&worker[i]);
	cr_assert_eq(counter, 3 * ROUNDS);
	cr_assert_eq(lock.word, 0);
}

static _Atomic uint32_t word;

Test(lock, futex_sleep_ends_at_its_time_and_not_before)
{
	unstick_time until = unstick_after_ms(5);
	futex_sleep(&word, 0, until);
	cr_assert_geq(unstick_now(), until);
	futex_sleep(&word, 0, -5); /* a time before the clock's zero is past, not an error that would make a loop spin for ever */
	futex_sleep(&word, 0, 0);
}

Test(lock, futex_sleep_does_not_begin_when_the_word_differs)
{
	futex_sleep(&word, 7, UNSTICK_NEVER); /* a hang would be the failure */
	cr_assert_eq(word, 0);
}

static long sleep_on_word(void *arg)
{
	futex_sleep(&word, 0, *(unstick_time *)arg);
	return 0;
}

Test(lock, futex_wake_wakes_sleepers_with_and_without_time)
{
	unstick_time never = UNSTICK_NEVER, far = unstick_after_ms(3600000);
	struct worker a, b;
	worker_start(&a, sleep_on_word, &never);
	worker_start(&b, sleep_on_word, &far);
	worker_wait_blocked(&a, SYS_futex);
	worker_wait_blocked(&b, SYS_futex);
	futex_wake(&word, 2);
	worker_join(&a);
	worker_join(&b);
}
