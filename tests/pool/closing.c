/* SPDX-License-Identifier: MIT
 *
 * What a pool promises about time and about what is left, on jobs that nothing ends: a program's start that hangs holds up its own job
 * only; a job that becomes hopeless late is abandoned before its grace is over; a short grace is kept; a close has no time for
 * thousands of cancels, and all are cut all the same; whether the exit is held is told of those, too, that are not named.
 * No case asserts a time: orders and comparisons.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "hung.h"
#include "unstick.h"

static const int64_t NO_END = (int64_t)1000 * 1000000000; /* of a grace: longer than the watchdog */

static struct hung hung;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* ---- pools and jobs */

static struct unstick_pool *open_pool(unsigned threads, int64_t grace_ns)
{
	const struct unstick_pool_options options = {.size = sizeof options,
	                                             .threads = threads,
	                                             .queue = 4096,
	                                             .abandoned = 4096,
	                                             .stack = FAULT_TSAN || FAULT_ASAN ? 0 : 65536,
	                                             .grace_ns = grace_ns};
	struct unstick_pool *pool = NULL;
	CHECK(unstick_pool_new(&pool, &options) == 0, "unstick_pool_new");
	return pool;
}

static struct unstick_job *start(struct unstick_pool *pool, struct unstick_job_options options)
{
	struct unstick_job *job = NULL;
	options.size = sizeof options;
	int error = unstick_job_start(pool, &options, &job);
	CHECK(error == 0, "unstick_job_start: %d", error);
	return job;
}

static void *come(void *arg)
{
	return arg;
}

static _Atomic pid_t hung_tid;
static _Atomic bool go_on;

static void *hang(void *unused)
{
	(void)unused;
	atomic_store(&hung_tid, (pid_t)syscall(SYS_gettid));
	hung_block(&hung);
	return NULL;
}

/* Computes first. */
static void *hang_late(void *unused)
{
	while (!atomic_load(&go_on))
		;
	return hang(unused);
}

static void *lock_mutex(void *tid)
{
	atomic_store((_Atomic pid_t *)tid, (pid_t)syscall(SYS_gettid));
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
	return NULL;
}

static void make_hung(const char *name)
{
	if (hung_make(&hung, hung_find(name)) < 0)
		fault_skip("%s cannot be made here: %s", name, hung.why);
	CHECK(hung_open(&hung) == 0, "%s", hung.path);
}

static bool is_hung(void)
{
	return hung_tid != 0 && proc_in_call(0, hung_tid, hung.situation->nr) && hung_is_asked(&hung);
}

static struct unstick_job *start_in_mutex(struct unstick_pool *pool, const char *name)
{
	static _Atomic pid_t tid;
	atomic_store(&tid, 0);
	struct unstick_job *job = start(pool, (struct unstick_job_options){.name = name, .run = lock_mutex, .arg = &tid});
	WAIT_UNTIL(tid != 0 && proc_in_call(0, tid, SYS_futex));
	return job;
}

static int state_of(struct unstick_job *job)
{
	return unstick_job_state(job);
}

static void close_after(struct unstick_pool *pool, struct unstick_job *job)
{
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close");
	unstick_job_unref(job);
	CHECK(unstick_pool_free(pool) == NULL, "free");
}

/* ---- a program's start */

static void run_plain(struct unstick_pool *pool, const char *what)
{
	struct unstick_job *plain = start(pool, (struct unstick_job_options){.run = come});
	fault_waiting_for("%s", what);
	CHECK(unstick_job_join(plain, UNSTICK_NEVER, NULL) == 0, "join");
	fault_waiting_for("%s", "");
	unstick_job_unref(plain);
}

static bool start_is_hung(struct unstick_job *job)
{
	struct unstick_outcome outcome;
	CHECK(unstick_job_outcome(job, &outcome) == 0, "unstick_job_outcome");
	return outcome.state == 'D' && outcome.nr == SYS_clone;
}

/* Cancelled at once: only then is its thread looked at. */
static struct unstick_job *hang_start(struct unstick_pool *pool)
{
	char *const argv[] = {(char *)"true", NULL};
	struct unstick_job *job = start(pool, (struct unstick_job_options){.argv = argv});
	WAIT_UNTIL(state_of(job) == UNSTICK_JOB_RUNNING);
	CHECK(unstick_job_cancel(job) == 0, "cancel");
	WAIT_UNTIL(start_is_hung(job));
	return job;
}

/* The child gets a copy of each fd, and its close of this one is not answered. Neither is that of a fork's child, at its end. */
static void start_hangs(void)
{
	struct unstick_left left;
	make_hung("fuse-page-read");
	struct unstick_pool *pool = open_pool(4, 0), *other = open_pool(1, 0);
	struct unstick_job *program = hang_start(pool);
	run_plain(pool, "another job of the pool");
	run_plain(other, "another pool's job");
	fault_waiting_for("a fork");
	pid_t child = fork();
	if (child == 0)
		syscall(SYS_exit_group, 0);
	CHECK(child > 0, "fork: %s", strerror(errno));
	fault_waiting_for("the join of the program");
	CHECK(unstick_job_join(program, UNSTICK_NEVER, NULL) == -ECANCELED, "join");
	CHECK(state_of(program) == UNSTICK_JOB_ABANDONED, "%s", unstick_job_state_name(state_of(program)));
	CHECK(unstick_pool_close(pool, 0, &left) == -EBUSY && left.count == 1 && !left.jobs[0].holds_exit, "%u left", left.count);
	CHECK(left.jobs[0].outcome.kind == UNSTICK_UNINTERRUPTIBLE && left.jobs[0].outcome.state == 'D', "%s", left.what);
	fault_note("%s", left.what);
	hung_end(&hung);
	fault_waiting_for("the fork's child");
	CHECK(waitpid(child, NULL, 0) == child, "waitpid: %s", strerror(errno));
	WAIT_UNTIL(state_of(program) == UNSTICK_JOB_CANCELLED);
	close_after(pool, program);
	close_after(other, NULL);
}

/* ---- the rules of abandoning */

static void hopeless_late(void)
{
	make_hung("fuse-read");
	struct unstick_pool *pool = open_pool(1, NO_END);
	struct unstick_job *job = start(pool, (struct unstick_job_options){.name = "late", .run = hang_late});
	WAIT_UNTIL(state_of(job) == UNSTICK_JOB_RUNNING);
	CHECK(unstick_job_cancel(job) == 0, "cancel");
	unstick_time later = unstick_after_ms(60);
	WAIT_UNTIL(unstick_now() > later); /* it has been looked at more than once */
	CHECK(state_of(job) == UNSTICK_JOB_RUNNING, "%s", unstick_job_state_name(state_of(job)));
	atomic_store(&go_on, true);
	WAIT_UNTIL(is_hung());
	WAIT_UNTIL(state_of(job) == UNSTICK_JOB_ABANDONED);
	hung_end(&hung);
	close_after(pool, job);
}

static char order[8];
static _Atomic unsigned told;

static void hear(void *unused, const char *message)
{
	(void)unused;
	const char *name = strstr(message, "job \"");
	if (name == NULL || strstr(message, ": abandoned") == NULL)
		return;
	strncat(order, name + 5, 1);
	atomic_fetch_add(&told, 1);
}

/* Its outcome is that of a look once the monitor knows that it was cut. */
static bool is_looked_at(struct unstick_job *job)
{
	struct unstick_outcome outcome;
	CHECK(unstick_job_outcome(job, &outcome) == 0, "unstick_job_outcome");
	return outcome.nr == SYS_futex;
}

/* Both are cut at nearly the same time, the one with the longer grace first. True: the other was abandoned first. */
static bool shorter_is_first(void)
{
	order[0] = '\0';
	pthread_mutex_lock(&mutex);
	struct unstick_pool *pools[] = {open_pool(1, 1000000), open_pool(1, 9000000)};
	struct unstick_job *shorter = start_in_mutex(pools[0], "short"), *longer = start_in_mutex(pools[1], "long");
	CHECK(unstick_job_cancel(longer) == 0, "cancel");
	while (!is_looked_at(longer))
		;
	CHECK(unstick_job_cancel(shorter) == 0, "cancel");
	WAIT_UNTIL(state_of(longer) == UNSTICK_JOB_ABANDONED && state_of(shorter) == UNSTICK_JOB_ABANDONED);
	fault_waiting_for("the log to tell of both");
	while (told != 2)
		fault_pause();
	atomic_store(&told, 0);
	pthread_mutex_unlock(&mutex);
	close_after(pools[0], shorter);
	close_after(pools[1], longer);
	return strcmp(order, "sl") == 0;
}

/* A monitor that does not look before both are over finds the longer one first: so does a busy machine, but not each time. */
static void short_grace(void)
{
	const struct unstick_options log = {.size = sizeof log, .log = hear};
	int tries = 1;
	CHECK(unstick_init(&log) == 0, "unstick_init");
	while (!shorter_is_first() && tries < 100)
		tries++;
	fault_note("%d tries", tries);
	CHECK(tries < 100, "a grace of 1 ms never ended before one of 9 ms");
}

/* ---- thousands */

enum { MANY = FAULT_TSAN || FAULT_ASAN ? 200 : 1000, TRIES = 5, FEW = 64, ROUNDS = 50 };

static int pipe_fds[2];
static _Atomic unsigned reading;
static struct unstick_job *jobs[MANY];

static void *read_pipe(void *unused)
{
	char byte;
	(void)unused;
	atomic_fetch_add(&reading, 1);
	return (void *)(intptr_t)read(pipe_fds[0], &byte, 1);
}

static struct unstick_pool *start_many(struct unstick_token *token, unsigned count)
{
	struct unstick_pool *pool = open_pool(count, NO_END);
	atomic_store(&reading, 0);
	for (unsigned i = 0; i < count; i++)
		jobs[i] = start(pool, (struct unstick_job_options){.name = "many", .run = read_pipe, .token = token});
	WAIT_UNTIL(reading == count);
	return pool;
}

static void end_many(struct unstick_pool *pool, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		int end = unstick_job_join(jobs[i], UNSTICK_NEVER, NULL);
		CHECK(end == -ECANCELED, "join: %d", end);
		WAIT_UNTIL(state_of(jobs[i]) == UNSTICK_JOB_CANCELLED); /* abandoned, it comes out: its token is cut, too */
		unstick_job_unref(jobs[i]);
	}
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close");
	CHECK(unstick_pool_free(pool) == NULL, "free");
}

/* On tokens of their own: so many cancels take their time, and a close whose time is over does not. */
static void no_time_for_many(void)
{
	struct unstick_token *token = NULL;
	unstick_time cancels = 0, close = UNSTICK_NEVER;
	CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0 && unstick_token_new(&token, NULL) == 0, "pipe, token");
	for (int i = 0; i < TRIES && close >= cancels / 2; i++) {
		struct unstick_pool *pool = start_many(token, MANY);
		unstick_time begun = unstick_now();
		for (unsigned k = 0; k < MANY; k++)
			CHECK(unstick_job_cancel(jobs[k]) == 0, "cancel");
		cancels = unstick_now() - begun;
		end_many(pool, MANY);
		pool = start_many(token, MANY);
		begun = unstick_now();
		int end = unstick_pool_close(pool, begun, NULL);
		close = unstick_now() - begun;
		CHECK(end == -EBUSY || end == 0, "close: %d", end); /* 0: held up meanwhile, and the monitor was faster */
		fault_note("%d cancels: %.1f ms, a close at once: %.1f ms", MANY, (double)cancels / 1e6, (double)close / 1e6);
		end_many(pool, MANY);
	}
	/* Under a sanitizer a look at a job takes as long as a cancel. */
	CHECK(FAULT_TSAN || FAULT_ASAN || close < cancels / 2, "the close took as long");
	CHECK(unstick_token_error(token) == 0, "the caller's token");
	unstick_token_unref(token);
}

static void *cancel_backwards(void *unused)
{
	for (unsigned i = FEW; i-- > 0;)
		CHECK(unstick_job_cancel(jobs[i]) == 0, "cancel");
	return unused;
}

/* The monitor is given what the close has not cut, and what its caller cuts at that moment. Each comes out, and is counted once. */
static void cut_from_both_ends(void)
{
	struct unstick_token *token = NULL;
	CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0 && unstick_token_new(&token, NULL) == 0, "pipe, token");
	for (int round = 0; round < ROUNDS; round++) {
		pthread_t thread;
		struct unstick_pool_counts counts;
		struct unstick_pool *pool = start_many(token, FEW);
		CHECK(pthread_create(&thread, NULL, cancel_backwards, NULL) == 0, "pthread_create");
		int end = unstick_pool_close(pool, unstick_after_ns(round * 20000), NULL);
		CHECK(end == -EBUSY || end == 0, "close: %d", end);
		pthread_join(thread, NULL);
		for (unsigned i = 0; i < FEW; i++)
			WAIT_UNTIL(state_of(jobs[i]) == UNSTICK_JOB_CANCELLED);
		CHECK(unstick_pool_stats(pool, &counts) == 0 && counts.cancelled == FEW &&
		              counts.came_back == counts.abandoned_ever,
		      "%lu cancelled, %lu of %lu came back", (unsigned long)counts.cancelled, (unsigned long)counts.came_back,
		      (unsigned long)counts.abandoned_ever);
		end_many(pool, FEW);
	}
	unstick_token_unref(token);
}

/* ---- what is left */

static struct unstick_job *in_lock[UNSTICK_LEFT_JOBS];

/* As many as are named, abandoned before all others. */
static struct unstick_pool *abandon_in_lock(void)
{
	pthread_mutex_lock(&mutex);
	struct unstick_pool *pool = open_pool(UNSTICK_LEFT_JOBS, 1000000);
	for (int i = 0; i < UNSTICK_LEFT_JOBS; i++) {
		in_lock[i] = start_in_mutex(pool, "lock");
		CHECK(unstick_job_cancel(in_lock[i]) == 0, "cancel");
		WAIT_UNTIL(state_of(in_lock[i]) == UNSTICK_JOB_ABANDONED);
	}
	return pool;
}

static void one_more_than_named(void)
{
	struct unstick_left left;
	make_hung("fuse-read");
	struct unstick_pool *pool = abandon_in_lock();
	struct unstick_job *hopeless = start(pool, (struct unstick_job_options){.name = "hung", .run = hang});
	WAIT_UNTIL(is_hung());
	CHECK(unstick_pool_close(pool, 0, &left) == -EBUSY, "close");
	CHECK(left.count == UNSTICK_LEFT_JOBS + 1 && left.listed == UNSTICK_LEFT_JOBS && left.holds_exit == 1,
	      "%u left, %u listed, holds_exit %d", left.count, left.listed, left.holds_exit);
	hung_end(&hung);
	WAIT_UNTIL(state_of(hopeless) == UNSTICK_JOB_CANCELLED);
	CHECK(unstick_pool_close(pool, 0, &left) == -EBUSY, "close");
	CHECK(left.count == UNSTICK_LEFT_JOBS && left.holds_exit == 0, "%u left, holds_exit %d", left.count, left.holds_exit);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < UNSTICK_LEFT_JOBS; i++)
		unstick_job_unref(in_lock[i]);
	close_after(pool, hopeless);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "a program whose start hangs on an fd of the application's holds up no other job, no fork, no close",
	         start_hangs},
	        {2, "a job that becomes hopeless late is abandoned then, not when its grace is over", hopeless_late},
	        {3, "a grace shorter than the first look at hopeless jobs is kept", short_grace},
	        {4, "a close whose time is over does not cancel a thousand jobs first; they are cut all the same",
	         no_time_for_many},
	        {5, "the exit is held by a job that is not named, and that is told", one_more_than_named},
	        {6, "jobs that are cut by their caller and by a close at the same time: one end each", cut_from_both_ends},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
