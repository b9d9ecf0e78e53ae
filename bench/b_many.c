/* SPDX-License-Identifier: MIT
 *
 * How long it takes to free very many threads at once: from the one cancel until the last of them has come out of its read().
 * One crew of threads serves all cases of a run in turn, so that no case has more threads in the system than another; all read the
 * same empty pipe. Each thread notes for itself when it came out; the sample is the latest note.
 * Between two samples the threads wait in a read() of another pipe, not on a futex: 10,000 sleepers on one futex make every other
 * futex_wake() in the process slow that falls into the same bucket of the kernel's table, and so would distort what is measured.
 */
#include "harness.h"
#include "os.h"

#include <unstick.h>

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK (64 * 1024)
#define QUICK_THREADS 100
#define PATIENCE INT64_C(30000000000)

struct way {
	long nr;
	bool in_futex;
	void (*block)(void); /* a member: returns when it is freed */
	bool (*freed)(void); /* a member, after its note: was it as expected? NULL: whatever it was */
	void (*wake)(void);  /* the canceller: frees all */
};

struct member {
	pthread_t thread;
	pid_t tid;
	int64_t out;
};

/* One at a time: benchmarks run one after the other. */
static struct {
	unsigned count; /* written before the gate first opens */
	struct member *members;
	int pipe[2];                   /* nothing is ever written to it */
	int gate[2];                   /* a byte for each member that may go and block */
	_Atomic uint32_t started, out; /* how many have */
	_Atomic uint32_t word;         /* for those that sleep on a futex */
	_Atomic bool end;
	const struct way *way;       /* written while all are at the gate */
	struct unstick_token *token; /* likewise */
} crew;

static _Thread_local ssize_t own_result;

static void wait_for_all(const char *name)
{
	int64_t give_up = os_now() + PATIENCE;
	for (uint32_t seen; (seen = atomic_load(&crew.out)) != crew.count;) {
		if (!os_futex_wait(&crew.out, seen, give_up))
			die(name, "not all threads came out within 30 s", "please report it: this is a lost wake-up");
	}
}

/* ---- ways ---- */

static void block_in_read(void)
{
	char byte;
	own_result = read(crew.pipe[0], &byte, 1);
}

static void wake_by_tgkill(void)
{
	for (unsigned i = 0; i < crew.count; i++)
		os_tgkill(crew.members[i].tid);
}

static void block_on_futex(void)
{
	while (atomic_load(&crew.word) == 0)
		os_futex_wait(&crew.word, 0, INT64_MAX);
}

static void wake_by_futex(void)
{
	atomic_store(&crew.word, 1);
	os_futex_wake(&crew.word, INT_MAX);
}

static _Thread_local struct unstick_scope own_scope;

static void block_in_scope(void)
{
	char byte;
	unstick_scope_start(&own_scope, crew.token, UNSTICK_NEVER);
	own_result = unstick_read(crew.pipe[0], &byte, 1);
}

static bool freed_in_scope(void)
{
	return unstick_scope_end(&own_scope) == -ECANCELED && own_result == -ECANCELED;
}

static void wake_by_token(void)
{
	unstick_token_cancel(crew.token);
}

static const struct way by_tgkill = {.nr = SYS_read, .block = block_in_read, .wake = wake_by_tgkill};
static const struct way by_token = {.nr = SYS_read, .block = block_in_scope, .freed = freed_in_scope, .wake = wake_by_token};
static const struct way by_futex = {.nr = SYS_futex, .in_futex = true, .block = block_on_futex, .wake = wake_by_futex};

/* ---- the crew ---- */

static void wait_at_gate(void)
{
	char byte;
	while (read(crew.gate[0], &byte, 1) != 1) {
		if (errno != EINTR)
			die_errno("gate", errno);
	}
}

static void open_gate(void)
{
	static const char bytes[4096];
	for (size_t left = crew.count; left > 0;) {
		ssize_t n = write(crew.gate[1], bytes, left < sizeof(bytes) ? left : sizeof(bytes));
		if (n < 0)
			die_errno("gate", errno);
		left -= (size_t)n;
	}
}

static void *member_main(void *arg)
{
	struct member *member = arg;
	member->tid = gettid();
	atomic_fetch_add(&crew.started, 1);
	for (;;) {
		wait_at_gate();
		if (atomic_load(&crew.end))
			return NULL;
		crew.way->block();
		member->out = os_now();
		if (crew.way->freed && !crew.way->freed())
			die("many", "a thread came out, but not with -ECANCELED", "please report it");
		if (atomic_fetch_add(&crew.out, 1) + 1 == crew.count)
			os_futex_wake(&crew.out, 1);
	}
}

static void crew_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	unsigned wanted = config->quick ? QUICK_THREADS : *(const unsigned *)benchmark->spec;
	os_signal_install();
	memset(&crew, 0, sizeof(crew));
	os_pipe(crew.pipe);
	os_pipe(crew.gate);
	crew.members = os_alloc(wanted, sizeof(*crew.members));
	unsigned made = 0;
	int error = 0;
	for (; made < wanted; made++) {
		error = os_thread_new(&crew.members[made].thread, STACK, config->pin ? 1 : -1, member_main, &crew.members[made]);
		if (error)
			break;
	}
	if (made == 0)
		die_errno("thread", error);
	crew.count = made;
	if (error)
		fprintf(stderr, "unstick-bench: %s: %u threads instead of %u: %s\n", benchmark->name, made, wanted,
		        strerror(error));
	else if (config->quick)
		fprintf(stderr, "unstick-bench: %s: %u threads, as --quick asks\n", benchmark->name, made);
	while (atomic_load(&crew.started) != crew.count)
		sched_yield();
}

static void crew_end(const struct benchmark *benchmark)
{
	(void)benchmark;
	atomic_store(&crew.end, true);
	open_gate();
	for (unsigned i = 0; i < crew.count; i++)
		pthread_join(crew.members[i].thread, NULL);
	free(crew.members);
	close(crew.pipe[0]);
	close(crew.pipe[1]);
	close(crew.gate[0]);
	close(crew.gate[1]);
}

/* ---- the harness's side ---- */

static void *many_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	(void)config;
	struct bench_case *kept = os_alloc(1, sizeof(*kept));
	*kept = *bench_case;
	return kept;
}

static void let_all_block(const char *name, const struct way *way)
{
	int error = unstick_token_new(&crew.token, NULL);
	if (error < 0)
		die_errno("unstick_token_new", -error);
	crew.way = way;
	atomic_store(&crew.word, 0);
	atomic_store(&crew.out, 0);
	open_gate();
	unsigned long arg0 = way->in_futex ? (unsigned long)&crew.word : (unsigned long)crew.pipe[0];
	for (unsigned i = 0; i < crew.count; i++)
		os_wait_blocked(crew.members[i].tid, way->nr, arg0, name);
}

static double free_all(const char *name, const struct way *way)
{
	let_all_block(name, way);
	int64_t start = os_now(), last = start;
	way->wake();
	wait_for_all(name);
	for (unsigned i = 0; i < crew.count; i++)
		last = crew.members[i].out > last ? crew.members[i].out : last;
	crew.token = unstick_token_unref(crew.token);
	return (double)(last - start);
}

static void many_block_run(void *instance, unsigned count, struct samples *samples)
{
	const struct bench_case *bench_case = instance;
	for (unsigned i = 0; i < count; i++)
		samples_add(samples, free_all(bench_case->name, bench_case->spec));
}

static const struct bench_case cases[] = {
        {.name = "tgkill each, read()", .spec = &by_tgkill},
        {.name = "one token, unstick_read()", .bound = 1.25, .spec = &by_token},
        {.name = "futex wake-all", .spec = &by_futex},
};

#define MANY_COMMON                                                                                                                \
	.sample = "cancel to the last thread out", .cases = cases, .case_count = sizeof(cases) / sizeof(cases[0]), .block = 1,     \
	.quick_rounds = 3, .quick_block = 1, .begin = crew_begin, .end = crew_end, .open = many_open, .block_run = many_block_run, \
	.close = free

static const unsigned thousand = 1000, ten_thousand = 10000;

const struct benchmark bench_many_1000 = {
        .name = "many_1000",
        .summary = "one token frees 1,000 threads",
        .hypothesis = "freeing many costs at most 25 % more than as many bare tgkill()",
        .rounds = 15,
        .spec = &thousand,
        MANY_COMMON,
};

const struct benchmark bench_many_10000 = {
        .name = "many_10000",
        .summary = "one token frees 10,000 threads",
        .hypothesis = "the same at ten times the size: nothing in a cancel grows faster than the number of threads",
        .rounds = 2,
        .spec = &ten_thousand,
        MANY_COMMON,
};
