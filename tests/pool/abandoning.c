/* SPDX-License-Identifier: MIT
 *
 * Jobs that are abandoned: a program's start that hangs holds up its own job only; a job that becomes hopeless late is abandoned before its
 * grace is over; a short grace is kept; whether the exit is held is told of those, too, that are not named. No case asserts a time.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hung.h"
#include "jobs.h"

static struct hung hung;

static _Atomic pid_t hung_tid;
static _Atomic bool computes, go_on;

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
	atomic_store(&computes, true);
	while (!atomic_load(&go_on))
		;
	return hang(unused);
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

/* ---- a program's start */

static void *come(void *arg)
{
	return arg;
}

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
	WAIT_UNTIL(unstick_job_state(job) == UNSTICK_JOB_RUNNING);
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
	CHECK(unstick_job_state(program) == UNSTICK_JOB_ABANDONED, "%s", unstick_job_state_name(unstick_job_state(program)));
	CHECK(unstick_pool_close(pool, 0, &left) == -EBUSY && left.count == 1 && !left.jobs[0].holds_exit, "%u left", left.count);
	CHECK(left.jobs[0].outcome.kind == UNSTICK_UNINTERRUPTIBLE && left.jobs[0].outcome.state == 'D', "%s", left.what);
	fault_note("%s", left.what);
	hung_end(&hung);
	fault_waiting_for("the fork's child");
	CHECK(waitpid(child, NULL, 0) == child, "waitpid: %s", strerror(errno));
	WAIT_UNTIL(unstick_job_state(program) == UNSTICK_JOB_CANCELLED);
	close_after(pool, program);
	close_after(other, NULL);
}

/* ---- the rules of abandoning */

static void hopeless_late(void)
{
	make_hung("fuse-read");
	struct unstick_pool *pool = open_pool(1, NO_END);
	struct unstick_job *job = start(pool, (struct unstick_job_options){.name = "late", .run = hang_late});
	WAIT_UNTIL(computes); /* a job that is cut before its function begins never begins it */
	CHECK(unstick_job_cancel(job) == 0, "cancel");
	unstick_time later = unstick_after_ms(60);
	WAIT_UNTIL(unstick_now() > later); /* it has been looked at more than once */
	CHECK(unstick_job_state(job) == UNSTICK_JOB_RUNNING, "%s", unstick_job_state_name(unstick_job_state(job)));
	atomic_store(&go_on, true);
	WAIT_UNTIL(is_hung());
	WAIT_UNTIL(unstick_job_state(job) == UNSTICK_JOB_ABANDONED);
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
	pthread_mutex_lock(&jobs_mutex);
	struct unstick_pool *pools[] = {open_pool(1, 1000000), open_pool(1, 9000000)};
	struct unstick_job *shorter = start_in_mutex(pools[0], "short"), *longer = start_in_mutex(pools[1], "long");
	CHECK(unstick_job_cancel(longer) == 0, "cancel");
	while (!is_looked_at(longer))
		;
	CHECK(unstick_job_cancel(shorter) == 0, "cancel");
	WAIT_UNTIL(unstick_job_state(longer) == UNSTICK_JOB_ABANDONED && unstick_job_state(shorter) == UNSTICK_JOB_ABANDONED);
	fault_waiting_for("the log to tell of both");
	while (told != 2)
		fault_pause();
	atomic_store(&told, 0);
	pthread_mutex_unlock(&jobs_mutex);
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

/* ---- what is left */

static struct unstick_job *in_lock[UNSTICK_LEFT_JOBS];

/* As many as are named, abandoned before all others. */
static struct unstick_pool *abandon_in_lock(void)
{
	pthread_mutex_lock(&jobs_mutex);
	struct unstick_pool *pool = open_pool(UNSTICK_LEFT_JOBS, 1000000);
	for (int i = 0; i < UNSTICK_LEFT_JOBS; i++) {
		in_lock[i] = start_in_mutex(pool, "lock");
		CHECK(unstick_job_cancel(in_lock[i]) == 0, "cancel");
		WAIT_UNTIL(unstick_job_state(in_lock[i]) == UNSTICK_JOB_ABANDONED);
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
	WAIT_UNTIL(unstick_job_state(hopeless) == UNSTICK_JOB_CANCELLED);
	CHECK(unstick_pool_close(pool, 0, &left) == -EBUSY, "close");
	CHECK(left.count == UNSTICK_LEFT_JOBS && left.holds_exit == 0, "%u left, holds_exit %d", left.count, left.holds_exit);
	pthread_mutex_unlock(&jobs_mutex);
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
	        {4, "the exit is held by a job that is not named, and that is told", one_more_than_named},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
