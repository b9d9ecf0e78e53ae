/* SPDX-License-Identifier: MIT
 *
 * usage: articles [--real]
 *
 * What articles about ending threads try, and how it goes with unstick. First their four scenarios, then their seven ways to end a
 * thread that is blocked in a call, of which each fails there for the reason given above it. With --real the scenarios take their full
 * seconds, else a fifth of them.
 *
 * The workers are the articles' own: sleeps, loops, prints. They are jobs of a pool, and that is all they know of unstick.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unstick.h>

enum { PATIENCE_MS = 10000 };

static struct unstick_pool *pool;
static int second_ms = 200;
static int silent[2]; /* a pipe that nobody writes to */
static bool good = true;

/* Prints what is so, and remembers if it is not what was promised. */
static void __attribute__((format(printf, 2, 3))) show(bool as_promised, const char *format, ...)
{
	va_list list;

	printf("   ");
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	puts(as_promised ? "" : "   <-- NOT what was promised");
	good = good && as_promised;
}

static unstick_time in_seconds(double seconds)
{
	return unstick_after_ms((int64_t)(seconds * second_ms));
}

static struct unstick_job *start(const char *name, void *(*run)(void *), void *arg, unstick_time deadline)
{
	const struct unstick_job_options options = {
	        .size = sizeof(options), .name = name, .run = run, .arg = arg, .deadline = deadline};
	struct unstick_job *job;
	int error = unstick_job_start(pool, &options, &job);

	if (error == 0)
		return job;
	fprintf(stderr, "articles: cannot start %s: %s\n", name, strerror(-error));
	exit(1);
}

/* Ends it; how it was ended. It must be gone soon, and its result is kept. */
static void *cancel_and_join(struct unstick_job *job)
{
	struct unstick_outcome outcome;
	char line[256] = "";
	void *result = NULL;

	unstick_job_cancel(job);
	int error = unstick_job_join(job, unstick_after_ms(PATIENCE_MS), &result);
	if (unstick_job_outcome(job, &outcome) == 0)
		unstick_outcome_print(&outcome, line, sizeof(line));
	show(error == -ECANCELED, "cancelled: state \"%s\"; thread %s", unstick_job_state_name(unstick_job_state(job)), line);
	return result;
}

/* Until the thread is blocked in a call; false: it is not to be seen so. */
static bool wait_until_blocked(const _Atomic pid_t *tid)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	struct unstick_report report;

	for (int i = 0; i < PATIENCE_MS; i++) {
		if (*tid != 0 && unstick_look(0, *tid, &report) == 0 && report.nr >= 0 && report.state == 'S')
			return true;
		nanosleep(&moment, NULL);
	}
	return false;
}

/* ---- The scenarios ---- */

static void *sleep_long(void *unused)
{
	(void)unused;
	sleep(1000000);
	return NULL;
}

static void the_sleeper(void)
{
	puts("A worker in sleep(1000000), joined with a timeout:");
	struct unstick_job *job = start("sleeper", sleep_long, NULL, 0);
	int error = unstick_job_join(job, in_seconds(2), NULL);
	show(error == -EBUSY, "join: %s, it sleeps on", strerror(-error));
	cancel_and_join(job);
	unstick_job_unref(job);
}

static void *print_endlessly(void *lines)
{
	while (unstick_check() == 0) { /* was: while (1) */
		if (++*(unsigned long *)lines % 20000000 == 1)
			puts("   I am running");
	}
	return lines;
}

static void the_endless_loop(void)
{
	unsigned long lines = 0;

	puts("A worker that prints in an endless loop, with a checkpoint in it:");
	struct unstick_job *job = start("loop", print_endlessly, &lines, 0);
	int error = unstick_job_join(job, in_seconds(1), NULL);
	show(error == -EBUSY, "join: %s, it goes on", strerror(-error));
	cancel_and_join(job);
	show(lines > 0, "it went round %lu times", lines);
	unstick_job_unref(job);
}

struct scan {
	unsigned found;
};

/* Knows that a port a second is as fast as it goes, and that there are many. */
static void *scan_ports(void *arg)
{
	struct scan *scan = arg;
	const struct timespec between = {.tv_sec = second_ms / 1000, .tv_nsec = second_ms % 1000 * 1000000L};

	while (scan->found < 65536 && nanosleep(&between, NULL) == 0)
		scan->found++;
	return scan;
}

static void the_scanner(void)
{
	struct scan scan = {0};

	puts("A scanner, joined for 3 s, asked for its result, killed if it is alive:");
	struct unstick_job *job = start("scanner", scan_ports, &scan, 0);
	int error = unstick_job_join(job, in_seconds(3.5), NULL);
	show(error == -EBUSY, "join: %s, it is alive", strerror(-error));
	struct scan *result = cancel_and_join(job);
	show(result == &scan, "its result is what it has so far: %u ports", scan.found);
	unstick_job_unref(job);
}

static void *watch(void *stuck)
{
	const struct timespec five = {.tv_sec = 5 * second_ms / 1000, .tv_nsec = 5 * second_ms % 1000 * 1000000L};

	nanosleep(&five, NULL);
	cancel_and_join(stuck);
	unstick_job_cancel(unstick_job_self()); /* the scenario has it so: a return would do */
	return unstick_check() == 0 ? NULL : stuck;
}

static void the_watcher(void)
{
	puts("A watcher that after 5 s stops the one that is stuck, and then itself:");
	struct unstick_job *stuck = start("stuck", sleep_long, NULL, 0);
	struct unstick_job *watcher = start("watcher", watch, stuck, 0);
	int error = unstick_job_join(watcher, unstick_after_ms(5LL * second_ms + 2LL * PATIENCE_MS), NULL);
	show(error == -ECANCELED, "the watcher: state \"%s\"", unstick_job_state_name(unstick_job_state(watcher)));
	unstick_job_unref(watcher);
	unstick_job_unref(stuck);
}

/* ---- The ways ---- */

struct reader {
	_Atomic pid_t tid;
	int read_errno;
	atomic_ulong rounds;
};

static void *read_silent_pipe(void *arg)
{
	struct reader *reader = arg;
	char byte;

	reader->tid = gettid();
	reader->read_errno = read(silent[0], &byte, 1) < 0 ? errno : 0;
	return reader;
}

/* An asynchronous exception is raised at the next line; who is blocked never gets there. */
static void instead_of_an_exception(void)
{
	struct reader reader = {0};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	char line[256] = "";
	pthread_t pthread; /* any thread will do */

	puts("Instead of an asynchronous exception, unstick_thread_interrupt():");
	if (pthread_create(&pthread, NULL, read_silent_pipe, &reader) != 0 || !wait_until_blocked(&reader.tid) ||
	    unstick_thread_find(&thread, reader.tid) < 0)
		exit(1);
	int error = unstick_thread_interrupt(thread, unstick_after_ms(PATIENCE_MS), &outcome);
	pthread_join(pthread, NULL);
	unstick_outcome_print(&outcome, line, sizeof(line));
	show(error == 0 && outcome.kind == UNSTICK_WOKEN, "thread %s", line);
	show(reader.read_errno == ECANCELED, "its read() failed: %s", strerror(reader.read_errno));
	unstick_thread_unref(thread);
}

/* A flag is looked at between two calls. A token also ends the call. (examples/stop-flag.c has both sides.) */
static void instead_of_a_flag(void)
{
	struct reader reader = {0};
	struct unstick_token *stop;

	puts("Instead of a stop flag, a token:");
	if (unstick_token_new(&stop, NULL) < 0)
		exit(1);
	const struct unstick_job_options options = {
	        .size = sizeof(options), .run = read_silent_pipe, .arg = &reader, .token = stop};
	struct unstick_job *job;
	if (unstick_job_start(pool, &options, &job) < 0 || !wait_until_blocked(&reader.tid))
		exit(1);
	unstick_token_cancel(stop); /* was: stop = true */
	int error = unstick_job_join(job, unstick_after_ms(PATIENCE_MS), NULL);
	show(error == -ECANCELED && reader.read_errno == ECANCELED, "its read() failed: %s", strerror(reader.read_errno));
	unstick_job_unref(job);
	unstick_token_unref(stop);
}

/* A trace function runs between two lines, too, and slows down all of them. */
static void *read_then_compute(void *arg)
{
	struct reader *reader = read_silent_pipe(arg);

	while (unstick_check() == 0)
		reader->rounds++;
	return reader;
}

static void instead_of_a_trace(void)
{
	struct reader reader = {0};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;

	puts("Instead of a trace function, an end to the call where it is blocked, and checkpoints where it computes:");
	struct unstick_job *job = start("traced", read_then_compute, &reader, 0);
	if (!wait_until_blocked(&reader.tid) || unstick_thread_find(&thread, reader.tid) < 0)
		exit(1);
	int error = unstick_thread_interrupt(thread, unstick_after_ms(PATIENCE_MS), &outcome);
	show(error == 0 && outcome.kind == UNSTICK_WOKEN, "its read(): %s", unstick_kind_name(outcome.kind));
	while (reader.rounds == 0)
		sched_yield();
	cancel_and_join(job);
	show(true, "it went round %lu times", reader.rounds);
	unstick_thread_unref(thread);
	unstick_job_unref(job);
}

/* terminate() ends a process, and with it what it had found. */
static void instead_of_terminate(void)
{
	char *argv[] = {"sh", "-c", "echo 1, 2, 3; exec sleep 1000000", NULL};
	const struct unstick_job_options options = {.size = sizeof(options), .argv = argv, .deadline = unstick_after_ms(2000)};
	struct unstick_exit end = {.output = ""};
	struct unstick_job *job;

	puts("Instead of a process and terminate(), a process job, whose results are kept:");
	if (unstick_job_start(pool, &options, &job) < 0)
		exit(1);
	int error = unstick_job_join(job, unstick_after_ms(2LL * PATIENCE_MS), NULL);
	int no_exit = unstick_job_exit(job, &end);
	show(error == -ETIMEDOUT && no_exit == 0 && end.last_signal == SIGTERM, "at its deadline: \"%s\", ended by signal %d",
	     unstick_job_state_name(unstick_job_state(job)), WIFSIGNALED(end.status) ? WTERMSIG(end.status) : 0);
	show(strcmp(end.output, "1, 2, 3\n") == 0, "its output so far: %.*s", (int)strcspn(end.output, "\n"), end.output);
	unstick_job_unref(job);
}

/* _stop() marks a thread as stopped; it lives on. A cancelled job has ended, or you are told what it is stuck in. */
static void instead_of_stop(void)
{
	struct reader reader = {0};

	puts("Instead of _stop(), unstick_job_cancel():");
	struct unstick_job *job = start("reader", read_silent_pipe, &reader, 0);
	if (!wait_until_blocked(&reader.tid))
		exit(1);
	void *result = cancel_and_join(job);
	show(result == &reader && reader.read_errno == ECANCELED, "its read() failed: %s", strerror(reader.read_errno));
	unstick_job_unref(job);
}

/* join(timeout) notices that a thread is late, and leaves it at that. */
static void instead_of_a_late_join(void)
{
	struct reader reader = {0};
	void *result = NULL;

	puts("Instead of join(timeout), get_result() and somebody who watches the clock, a deadline:");
	struct unstick_job *job = start("reader", read_silent_pipe, &reader, in_seconds(1));
	int error = unstick_job_join(job, unstick_after_ms(PATIENCE_MS), &result);
	show(error == -ETIMEDOUT && result == &reader, "join: %s; state \"%s\"; its read() failed: %s", strerror(-error),
	     unstick_job_state_name(unstick_job_state(job)), strerror(reader.read_errno));
	unstick_job_unref(job);
}

/* A daemon thread is dropped at the exit, without a word. Here it is named; and the exit does not wait for it. */
static pthread_mutex_t never_free = PTHREAD_MUTEX_INITIALIZER;

static void *wait_for_lock(void *tid)
{
	*(_Atomic pid_t *)tid = gettid();
	pthread_mutex_lock(&never_free);
	return NULL;
}

static void instead_of_a_daemon(void)
{
	static _Atomic pid_t tid;
	struct unstick_left left = {0};
	char line[512] = "";

	puts("Instead of a daemon thread, a pool that is closed in time. One job is stuck where nothing can end it:");
	pthread_mutex_lock(&never_free);
	unstick_job_unref(start("locked out", wait_for_lock, &tid, 0));
	if (!wait_until_blocked(&tid))
		exit(1);
	int error = unstick_pool_close(pool, in_seconds(1), &left);
	unstick_left_print(&left, line, sizeof(line));
	show(error == -EBUSY && left.count == 1, "left behind: %s", line);
	unstick_pool_free(pool);
}

int main(int argc, char *argv[])
{
	if (argc > 1 && strcmp(argv[1], "--real") == 0)
		second_ms = 1000;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pipe2(silent, O_CLOEXEC) < 0 || unstick_pool_new(&pool, NULL) < 0)
		return 1;
	the_sleeper();
	the_endless_loop();
	the_scanner();
	the_watcher();
	instead_of_an_exception();
	instead_of_a_flag();
	instead_of_a_trace();
	instead_of_terminate();
	instead_of_stop();
	instead_of_a_late_join();
	instead_of_a_daemon();
	puts(good ? "over" : "FAILED: not what was promised");
	return good ? 0 : 1;
}
