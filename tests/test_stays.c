/* SPDX-License-Identifier: MIT
 *
 * Since when a thread has been in its call, told from looks that are compared (tools/stays.h).
 */
#include <criterion/criterion.h>

#include "stays.h"

static const struct task_call call = {.nr = 7, .args = {1, 2, 3}, .sp = 0x1000, .pc = 0x2000};

static struct stays *stays;

static void make(void)
{
	stays = stays_new();
	stays_begin(stays);
}

static void unmake(void)
{
	stays = stays_free(stays);
}

TestSuite(stays, .init = make, .fini = unmake);

Test(stays, a_thread_that_has_not_moved_keeps_its_time_and_what_was_told)
{
	struct stay *stay = stays_see(stays, 10, 11, &call, 5, 100);
	cr_expect_eq(stay->since, 100);
	stay->told = true;
	stays_begin(stays);
	stay = stays_see(stays, 10, 11, &call, 5, 200);
	cr_expect(stay->since == 100 && stay->told);
}

Test(stays, a_switch_another_argument_or_another_stack_is_another_stay)
{
	struct task_call argument = call, stack = call;
	argument.args[2] = 4;
	stack.sp += 16;
	stays_see(stays, 10, 11, &call, 5, 100)->told = true;
	stays_see(stays, 10, 12, &call, 5, 100);
	stays_see(stays, 10, 13, &call, 5, 100);
	stays_begin(stays);
	struct stay *stay = stays_see(stays, 10, 11, &call, 6, 200);
	cr_expect(stay->since == 200 && !stay->told);
	cr_expect_eq(stays_see(stays, 10, 12, &argument, 5, 200)->since, 200);
	cr_expect_eq(stays_see(stays, 10, 13, &stack, 5, 200)->since, 200);
}

Test(stays, an_unknown_count_of_switches_proves_nothing)
{
	stays_see(stays, 10, 11, &call, -1, 100);
	stays_begin(stays);
	cr_expect_eq(stays_see(stays, 10, 11, &call, -1, 200)->since, 200);
}

Test(stays, who_was_not_seen_in_a_round_is_forgotten)
{
	stays_see(stays, 10, 11, &call, 5, 100);
	stays_begin(stays);
	stays_begin(stays);
	cr_expect_eq(stays_see(stays, 10, 11, &call, 5, 300)->since, 300);
}

Test(stays, many_threads_in_any_order)
{
	for (int tid = 999; tid >= 0; tid--)
		stays_see(stays, tid % 7, tid, &call, tid, tid);
	stays_begin(stays);
	for (int tid = 0; tid < 1000; tid++)
		cr_assert_eq(stays_see(stays, tid % 7, tid, &call, tid, 5000)->since, tid);
}
