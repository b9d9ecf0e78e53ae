/* SPDX-License-Identifier: MIT
 *
 * The wall clock jumps (fault 37), the machine sleeps (fault 38). Deadlines are of CLOCK_MONOTONIC and do not care. The jump is of
 * half a minute: far more than the deadlines here, little for the others on this machine; and it is taken back at once, by the
 * parent too (fault_clock_later()).
 */
#include <string.h>
#include <time.h>
#include "victim.h"

enum { JUMP = 30, FAR_MS = 10000, NEAR_MS = 30 };

static int fds[2];

static void jump(int seconds)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += seconds;
	if (clock_settime(CLOCK_REALTIME, &now) != 0)
		fault_skip("the clock may not be set: %s", strerror(errno));
}

static void jump_out(int seconds)
{
	if (!is_root())
		fault_skip("needs root, to set the clock");
	fault_clock_later(true);
	jump(seconds);
}

static void jump_back(int seconds)
{
	jump(-seconds);
	fault_clock_later(false);
}

/* A deadline that is further away than the second looks, nearer than the jump, must not have come with it. */
static void forwards(void)
{
	static long (*const calls[])(struct victim *) = {foreign_poll, own_read, own_poll, own_sleep};
	static const long nrs[] = {SYS_poll, SYS_read, SYS_ppoll, SYS_clock_nanosleep};
	enum { COUNT = sizeof(nrs) / sizeof(nrs[0]) };
	struct victim victims[COUNT], after = {.call = own_read};
	make_pipe(fds);
	for (int i = 0; i < COUNT; i++) {
		victims[i] = (struct victim){
		        .call = calls[i], .token = make_token(), .deadline = unstick_after_ms(FAR_MS), .fd = fds[0]};
		victim_block(&victims[i], nrs[i]);
	}
	after.fd = fds[0];
	jump_out(JUMP);
	/* One that began after the jump, and has ended: the monitor has run in between. */
	after.deadline = unstick_after_ms(NEAR_MS);
	victim_start(&after);
	victim_join(&after);
	jump_back(JUMP);
	CHECK(after.result == -ETIMEDOUT, "%ld", after.result);
	for (int i = 0; i < COUNT; i++) {
		CHECK(!victims[i].done || unstick_now() >= victims[i].deadline, "%d came out with %ld, early", i,
		      victims[i].result);
		unstick_token_cancel(victims[i].token);
		victim_join(&victims[i]);
		CHECK(victims[i].result == -ECANCELED || unstick_now() >= victims[i].deadline, "%d: %ld", i, victims[i].result);
	}
}

/* A near deadline comes though the wall clock says that it is half a minute off. */
static void backwards(void)
{
	static long (*const calls[])(struct victim *) = {foreign_poll, own_read, own_poll, own_sleep};
	enum { COUNT = sizeof(calls) / sizeof(calls[0]) };
	struct victim victims[COUNT];
	make_pipe(fds);
	unstick_time deadline = unstick_after_ms(NEAR_MS);
	for (int i = 0; i < COUNT; i++) {
		victims[i] = (struct victim){.call = calls[i], .deadline = deadline, .fd = fds[0]};
		victim_start(&victims[i]);
	}
	jump_out(-JUMP);
	for (int i = 0; i < COUNT; i++)
		victim_join(&victims[i]);
	jump_back(-JUMP);
	for (int i = 0; i < COUNT; i++)
		CHECK(victims[i].result == -ETIMEDOUT && victims[i].end == -ETIMEDOUT, "%d: %ld, %d", i, victims[i].result,
		      victims[i].end);
}

static void suspend(void)
{
	fault_skip("a test may not put the machine to sleep");
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {37, "the wall clock jumps forwards: no deadline comes early", forwards},
	        {37, "the wall clock jumps backwards: deadlines come still", backwards},
	        {38, "the machine is suspended: deadlines wait with it", suspend},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
