/* SPDX-License-Identifier: MIT
 *
 * The heap of deadlines against a plain model: after each of many random changes the earliest is on top and every token knows its place.
 */
#include "helpers.h"
#include "limit/heap.h"

enum { TOKENS = 200, CHANGES = 20000 };

static struct unstick_token token[TOKENS];

/* Nobody is later than those below him: a fault deep in the heap would come to the top long after the change that made it. */
static bool is_heap(void)
{
	struct unstick_token *at[TOKENS + 1] = {NULL};
	size_t count = 0;
	for (int i = 0; i < TOKENS; i++)
		if (token[i].place) {
			if (token[i].place > TOKENS || at[token[i].place])
				return false;
			at[token[i].place] = &token[i];
			count++;
		}
	for (size_t place = 1; place <= count; place++)
		if (!at[place] || (place > 1 && at[place / 2]->deadline > at[place]->deadline))
			return false;
	return true;
}

static unstick_time earliest(void)
{
	unstick_time found = UNSTICK_NEVER;
	for (int i = 0; i < TOKENS; i++)
		if (token[i].place)
			found = time_min(found, token[i].deadline);
	return found;
}

static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

Test(heap, empty_has_no_first)
{
	cr_assert_null(heap_first());
	cr_assert_eq(heap_set(&token[0], UNSTICK_NEVER), 0);
	cr_assert_null(heap_first(), "never is not a deadline");
}

Test(heap, one_comes_and_goes)
{
	cr_assert_eq(heap_set(&token[0], 5), 0);
	cr_assert_eq(heap_first(), &token[0]);
	heap_remove(&token[0]);
	cr_assert_null(heap_first());
	cr_assert_eq(token[0].place, 0);
}

Test(heap, setting_again_moves_and_never_removes)
{
	for (int i = 0; i < 3; i++)
		cr_assert_eq(heap_set(&token[i], 10 + i), 0);
	cr_assert_eq(heap_set(&token[2], 1), 0);
	cr_assert_eq(heap_first(), &token[2]);
	cr_assert_eq(heap_set(&token[2], 100), 0);
	cr_assert_eq(heap_first(), &token[0]);
	cr_assert_eq(heap_set(&token[0], UNSTICK_NEVER), 0);
	cr_assert_eq(heap_first(), &token[1]);
	cr_assert_eq(token[0].place, 0);
}

Test(heap, comes_out_in_order)
{
	uint32_t random = 1;
	unstick_time last = INT64_MIN;
	for (int i = 0; i < TOKENS; i++)
		cr_assert_eq(heap_set(&token[i], next_random(&random) % 50), 0);
	for (int i = 0; i < TOKENS; i++) {
		struct unstick_token *first = heap_first();
		cr_assert_not_null(first);
		cr_assert_leq(last, first->deadline);
		last = first->deadline;
		heap_remove(first);
	}
	cr_assert_null(heap_first());
}

Test(heap, random_changes_keep_the_earliest_on_top)
{
	uint32_t random = 42;
	for (int i = 0; i < CHANGES; i++) {
		struct unstick_token *changed = &token[next_random(&random) % TOKENS];
		uint32_t dice = next_random(&random);
		if (dice % 3 == 0 && changed->place)
			heap_remove(changed);
		else
			cr_assert_eq(heap_set(changed, dice % 16 ? (unstick_time)(dice % 1000) : UNSTICK_NEVER), 0);
		struct unstick_token *first = heap_first();
		cr_assert_eq(first ? first->deadline : UNSTICK_NEVER, earliest(), "wrong after change %d", i);
		cr_assert(is_heap(), "out of order after change %d", i);
	}
}
