/* SPDX-License-Identifier: MIT
 *
 * The wheel against a sorted list: nothing early, nothing late by more than a tick, nothing lost, whatever the distances.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "engine/wheel.h"

static const unstick_time TICK = (unstick_time)1 << WHEEL_TICK_SHIFT;

static struct wheel wheel;

static uint64_t next_random(void)
{
	static uint64_t x = 88172645463325252u;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

/* Near ones and far ones equally often. */
static unstick_time random_span(void)
{
	return (unstick_time)(next_random() >> (1 + next_random() % 63)) % ((unstick_time)1 << 55);
}

Test(wheel, an_empty_one_has_nothing_to_wait_for)
{
	wheel_start(&wheel, 12345);
	cr_assert_eq(wheel_next(&wheel), UNSTICK_NEVER);
	cr_assert_null(wheel_expired(&wheel, 1000 * TICK));
	cr_assert_null(wheel_take_all(&wheel));
}

Test(wheel, what_is_past_already_expires_at_once)
{
	struct wheel_link link = {0}, far_past = {0};
	wheel_start(&wheel, 100 * TICK);
	wheel_insert(&wheel, &link, 100 * TICK);
	wheel_insert(&wheel, &far_past, INT64_MIN);
	cr_assert_leq(wheel_next(&wheel), 100 * TICK);
	cr_assert_not_null(wheel_expired(&wheel, 100 * TICK));
	cr_assert_not_null(wheel_expired(&wheel, 100 * TICK));
	cr_assert_null(wheel_expired(&wheel, 100 * TICK));
}

/* Whether its list was emptied, or the wheel has moved, between the two. */
Test(wheel, the_same_tick_again)
{
	const unstick_time when = 5000 * TICK;
	for (unsigned removes = 0; removes < 2; removes++) {
		struct wheel_link first = {0}, again = {0};
		wheel_start(&wheel, 0);
		wheel_insert(&wheel, &first, when);
		if (removes)
			wheel_remove(&wheel, &first);
		else
			cr_assert_null(wheel_expired(&wheel, 4990 * TICK));
		wheel_insert(&wheel, &again, when);
		cr_assert_leq(wheel_next(&wheel), when);
		cr_assert_null(wheel_expired(&wheel, when - 1));
		struct wheel_link *one = wheel_expired(&wheel, when), *other = wheel_expired(&wheel, when);
		cr_assert(one && one != other && (removes ? one == &again && !other : other != NULL));
	}
}

Test(wheel, never_is_kept_and_never_expires)
{
	struct wheel_link never = {0};
	wheel_start(&wheel, 5);
	wheel_insert(&wheel, &never, UNSTICK_NEVER);
	cr_assert(wheel_holds(&never));
	cr_assert_eq(wheel_next(&wheel), UNSTICK_NEVER);
	cr_assert_null(wheel_expired(&wheel, INT64_MAX - 1));
	cr_assert_eq(wheel_take_all(&wheel), &never);
}

Test(wheel, one_deadline_is_not_early_and_late_by_a_tick_at_most)
{
	for (unsigned round = 0; round < 20000; round++) {
		struct wheel_link link = {0};
		unstick_time now = (unstick_time)(next_random() % ((uint64_t)1 << 60)), when = now + random_span();
		wheel_start(&wheel, now);
		wheel_insert(&wheel, &link, when);
		for (unsigned waits = 0; wheel_holds(&link); waits++) {
			unstick_time next = wheel_next(&wheel);
			cr_assert_leq(waits, WHEEL_LEVELS + 1);
			if (wheel_expired(&wheel, next)) {
				cr_assert_geq(next, when);
				cr_assert_lt(next, when + TICK);
			}
		}
		cr_assert_eq(wheel_next(&wheel), UNSTICK_NEVER);
	}
}

enum { MANY = 3000 };

static struct wheel_link links[MANY];

static int compare(const void *a, const void *b)
{
	unstick_time x = *(const unstick_time *)a, y = *(const unstick_time *)b;
	return x < y ? -1 : x > y;
}

Test(wheel, many_expire_in_the_order_of_their_ticks)
{
	unstick_time sorted[MANY], last = 0;
	wheel_start(&wheel, 0);
	for (unsigned i = 0; i < MANY; i++) {
		sorted[i] = random_span();
		wheel_insert(&wheel, &links[i], sorted[i]);
	}
	qsort(sorted, MANY, sizeof sorted[0], compare);
	unsigned expired = 0;
	while (wheel_next(&wheel) != UNSTICK_NEVER) {
		unstick_time next = wheel_next(&wheel);
		cr_assert_geq(next, last);
		last = next;
		for (struct wheel_link *link; (link = wheel_expired(&wheel, next)); expired++) {
			cr_assert_leq(link->when, next);
			cr_assert_leq(labs((long)(link->when - sorted[expired])), TICK);
		}
	}
	cr_assert_eq(expired, MANY);
}

/* Time moves in leaps that have nothing to do with wheel_next(); deadlines come and go in between. */
Test(wheel, a_model_agrees_over_random_inserts_removes_and_leaps)
{
	unstick_time now = 77 * TICK;
	wheel_start(&wheel, now);
	for (unsigned step = 0; step < 200000; step++) {
		struct wheel_link *link = &links[next_random() % MANY];
		if (wheel_holds(link))
			wheel_remove(&wheel, link);
		else
			wheel_insert(&wheel, link, now + random_span() / 1024);
		if (step % 64)
			continue;
		now += random_span() / 65536;
		while ((link = wheel_expired(&wheel, now)))
			cr_assert_leq(link->when, now);
		for (unsigned i = 0; i < MANY; i++)
			cr_assert(!wheel_holds(&links[i]) || links[i].when > now - TICK, "forgotten");
	}
}

Test(wheel, all_can_be_taken_out)
{
	unsigned found = 0;
	wheel_start(&wheel, 0);
	for (unsigned i = 0; i < MANY; i++)
		wheel_insert(&wheel, &links[i], i % 7 ? random_span() : UNSTICK_NEVER);
	for (struct wheel_link *link = wheel_take_all(&wheel); link; link = link->next)
		found++;
	cr_assert_eq(found, MANY);
	cr_assert_eq(wheel_next(&wheel), UNSTICK_NEVER);
	cr_assert_null(wheel_take_all(&wheel));
}
