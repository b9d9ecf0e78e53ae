/* SPDX-License-Identifier: MIT
 *
 * The monitor thread. It blocks all signals, asks for punctual wake-ups (timer slack 1 ns and a short slice; SCHED_FIFO only
 * on request: a real-time thread that wakes beside the thread being freed takes its processor, see docs/design.md), runs where
 * the main thread may, and lives as long as the process. It allocates nothing after its start and takes no lock but those of
 * its sources.
 */
#include "limit/alarm.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/lock.h"
#include "base/raw.h"

enum {
	MAX_SOURCES = 5,
	STACK_SIZE = 256 * 1024, /* watch callbacks run on it */
	SLICE_NS = 100000,
	RESET_ON_FORK = 1, /* SCHED_FLAG_RESET_ON_FORK of linux/sched.h */
};

_Atomic unstick_time alarm_due = UNSTICK_NEVER;

static struct lock start_lock;           /* starting, adding sources */
static alarm_scan *sources[MAX_SOURCES]; /* written under start_lock before source_count says so */
static _Atomic unsigned source_count;
static _Atomic bool realtime;

static _Atomic bool started;
static _Atomic uint32_t rings;  /* the monitor sleeps on it */
static _Atomic uint32_t asleep; /* 1 from before it compares `rings` until it is back */
static _Thread_local bool is_monitor;

void alarm_add(alarm_scan *scan)
{
	lock_take(&start_lock);
	unsigned count = atomic_load(&source_count), i = 0;
	while (i < count && sources[i] != scan)
		i++;
	if (i == count && count < MAX_SOURCES) {
		sources[count] = scan;
		atomic_store(&source_count, count + 1);
	}
	lock_drop(&start_lock);
}

void alarm_use_realtime(void)
{
	realtime = true;
}

bool alarm_is_self(void)
{
	return is_monitor;
}

void alarm_ring(void)
{
	/* Store buffering again: rings is stored before asleep is loaded; the monitor stores asleep before futex(2) compares
	 * rings. */
	atomic_fetch_add_explicit(&rings, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&asleep, memory_order_seq_cst))
		futex_wake(&rings, 1);
}

/* struct sched_attr of sched_setattr(2), which glibc 2.36 does not declare. A slice for SCHED_OTHER: kernel 6.12, sched/fair.c. */
struct schedule {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* Not on the processor of the thread that happened to start us, should that be pinned. */
static void leave_processor(void)
{
	cpu_set_t set;
	if (sched_getaffinity((pid_t)RAW_0(SYS_getpid), sizeof set, &set) == 0)
		sched_setaffinity(0, sizeof set, &set);
}

/* Not for the threads that sources and watches start on it. */
static void be_punctual(void)
{
	prctl(PR_SET_TIMERSLACK, 1);
	struct sched_param first = {.sched_priority = 1};
	if (realtime && pthread_setschedparam(pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &first) == 0)
		return;
	struct schedule slice = {.size = sizeof slice, .policy = SCHED_OTHER, .flags = RESET_ON_FORK, .runtime = SLICE_NS};
	RAW_3(SYS_sched_setattr, 0, &slice, 0);
}

static unstick_time scan_all(void)
{
	unstick_time due = UNSTICK_NEVER;
	unsigned count = atomic_load(&source_count);
	for (unsigned i = 0; i < count; i++)
		due = time_min(due, sources[i](unstick_now()));
	return due;
}

static void *monitor(void *unused)
{
	is_monitor = true;
	prctl(PR_SET_NAME, "unstick");
	leave_processor();
	be_punctual();
	for (;;) {
		uint32_t seen = atomic_load_explicit(&rings, memory_order_seq_cst);
		atomic_store_explicit(&alarm_due, UNSTICK_NEVER, memory_order_seq_cst);
		unstick_time due = scan_all();
		atomic_store_explicit(&alarm_due, due, memory_order_seq_cst);
		atomic_store_explicit(&asleep, 1, memory_order_seq_cst);
		futex_sleep(&rings, seen, due);
		atomic_store_explicit(&asleep, 0, memory_order_seq_cst);
	}
	return unused;
}

static int create(void)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	if (pthread_attr_init(&attributes))
		return -EAGAIN;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, &attributes, monitor, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error ? -EAGAIN : 0;
}

int alarm_start(void)
{
	if (atomic_load_explicit(&started, memory_order_acquire))
		return 0;
	lock_take(&start_lock);
	int error = atomic_load_explicit(&started, memory_order_relaxed) ? 0 : create();
	if (!error)
		atomic_store_explicit(&started, true, memory_order_release);
	lock_drop(&start_lock);
	return error;
}

void alarm_after_fork(void)
{
	is_monitor = false;
	start_lock.word = 0;
	atomic_store_explicit(&started, false, memory_order_relaxed);
	atomic_store_explicit(&asleep, 0, memory_order_relaxed);
	atomic_store_explicit(&alarm_due, UNSTICK_NEVER, memory_order_seq_cst);
}
