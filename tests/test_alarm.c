/* SPDX-License-Identifier: MIT
 *
 * The monitor's heart, with a source of the test's own: it scans when it is rung and when something is due, loses no ring, and keeps the
 * program's signals to the program.
 */
#include "helpers.h"
#include <stdio.h>
#include "limit/alarm.h"

static _Atomic unsigned scans;
static _Atomic unstick_time answer = UNSTICK_NEVER, scanned_at, due_in_scan;
static _Atomic bool self_in_scan, in_scan, hold_scan;
static _Atomic pid_t monitor_tid;
static int gate[2];

static unstick_time scan(unstick_time now)
{
	atomic_store(&monitor_tid, (pid_t)syscall(SYS_gettid));
	atomic_store(&self_in_scan, alarm_is_self());
	atomic_store(&due_in_scan, alarm_due);
	atomic_store(&scanned_at, now);
	if (atomic_exchange(&hold_scan, false)) {
		char byte;
		atomic_store(&in_scan, true);
		ssize_t n = read(gate[0], &byte, 1);
		(void)n;
	}
	unstick_time next = atomic_exchange(&answer, UNSTICK_NEVER);
	atomic_fetch_add(&scans, 1);
	return next;
}

static void setup(void)
{
	pipe_empty(gate);
	alarm_add(scan);
	cr_assert_eq(alarm_start(), 0);
	wait_for(scans == 1);
	wait_for(is_blocked_in(monitor_tid, SYS_futex));
}

TestSuite(alarm, .init = setup);

Test(alarm, scans_when_rung_and_only_then)
{
	alarm_ring();
	wait_for(scans == 2);
	wait_for(is_blocked_in(monitor_tid, SYS_futex));
	cr_assert_eq(scans, 2, "it scans without being asked");
}

Test(alarm, scans_at_the_time_it_was_given_not_before)
{
	unstick_time when = unstick_after_ms(10);
	answer = when;
	alarm_ring();
	wait_for(scans == 2);
	wait_for(scans == 3);
	cr_assert_geq(scanned_at, when);
}

Test(alarm, takes_the_earliest_time_of_its_sources)
{
	answer = unstick_after_ms(3600000);
	alarm_ring();
	wait_for(scans == 2 && alarm_due != UNSTICK_NEVER);
	cr_assert(alarm_is_late_for(unstick_after_ms(1)));
	cr_assert_not(alarm_is_late_for(unstick_after_ms(7200000)));
	cr_assert_not(alarm_is_late_for(alarm_due), "it runs at that very moment");
}

/* The pairing of memory-model.md, B: whoever publishes a deadline during a scan must find the alarm late, and ring. */
Test(alarm, is_late_for_everything_while_it_scans)
{
	answer = unstick_after_ms(3600000);
	alarm_ring();
	wait_for(alarm_due != UNSTICK_NEVER);
	alarm_ring();
	wait_for(scans == 3);
	cr_assert_eq(due_in_scan, UNSTICK_NEVER);
}

Test(alarm, a_ring_during_a_scan_is_not_lost)
{
	hold_scan = true;
	alarm_ring();
	wait_for(in_scan);
	alarm_ring();
	cr_assert_eq(scans, 1);
	write_byte(gate[1]);
	wait_for(scans == 3);
}

Test(alarm, knows_its_own_thread)
{
	cr_assert(self_in_scan);
	cr_assert_not(alarm_is_self());
}

Test(alarm, starts_one_thread)
{
	cr_assert_eq(alarm_start(), 0);
	alarm_ring();
	wait_for(scans == 2);
	cr_assert_eq(threads_named("unstick"), 1);
}

/* A line of /proc/self/task/TID/status, as a hexadecimal number. */
static uint64_t status_mask(pid_t tid, const char *field)
{
	char path[64], line[128];
	unsigned long mask = 0;
	snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
	FILE *file = fopen(path, "re");
	cr_assert_not_null(file);
	while (fgets(line, sizeof line, file))
		if (!strncmp(line, field, strlen(field)))
			cr_assert_eq(sscanf(line + strlen(field), "%lx", &mask), 1);
	fclose(file);
	return mask;
}

Test(alarm, leaves_the_programs_signals_to_the_program)
{
	sigset_t mask;
	uint64_t blocked = status_mask(monitor_tid, "SigBlk:");
	for (int signal = 1; signal < SIGRTMIN; signal++)
		if (signal < 32 && signal != SIGKILL && signal != SIGSTOP)
			cr_assert(blocked & UINT64_C(1) << (signal - 1), "signal %d may be handled on our thread", signal);
	cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
	cr_assert_not(sigismember(&mask, SIGTERM), "the caller's mask was changed");
}
