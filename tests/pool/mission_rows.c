/* SPDX-License-Identifier: MIT
 *
 * The seven ways in which programs have tried to end a thread, each as unstick offers it, each on a thread that is blocked in I/O, where the
 * old way fails. A case is named after its way. Plain TAP; the public header only; each in a process of its own, see fault.h.
 *
 * usage: pool_mission_rows [NUMBER...]        only these
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "unstick.h"

enum { PATIENCE_MS = 10000 * (1 + FAULT_TSAN + FAULT_ASAN) };

/* A thread, or a job, that reads from a pipe that nobody writes to. */
struct reader {
	int fds[2];
	_Atomic pid_t tid;
	struct unstick_token *token;
	atomic_ulong rounds;
	ssize_t got;
	int got_errno;
	int end; /* of its scope */
};

static struct reader *reader_new(void)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	CHECK(reader && pipe2(reader->fds, O_CLOEXEC) == 0, "%s", strerror(errno));
	return reader;
}

static void read_once(struct reader *reader)
{
	char byte;
	reader->tid = gettid();
	reader->got = read(reader->fds[0], &byte, 1);
	reader->got_errno = reader->got < 0 ? errno : 0;
}

static void wait_until_blocked(struct reader *reader)
{
	WAIT_UNTIL(reader->tid != 0 && proc_in_call(0, reader->tid, SYS_read));
}

/* TSan runs our handler when the call has returned: it can be given no errno any more. */
static void check_errno(const struct reader *reader, int expected)
{
	CHECK(reader->got == -1, "read gave %zd", reader->got);
	CHECK(reader->got_errno == expected || (FAULT_TSAN && reader->got_errno == EINTR), "%s", strerror(reader->got_errno));
}

static void check_outcome(const struct unstick_outcome *outcome, int error, const struct reader *reader)
{
	char line[256];
	unstick_outcome_print(outcome, line, sizeof(line));
	fault_note("%s", line);
	CHECK(outcome->kind == UNSTICK_WOKEN, "%s", unstick_kind_name(outcome->kind));
	CHECK(outcome->error == error || FAULT_TSAN, "%d", outcome->error);
	CHECK(outcome->nr == SYS_read && outcome->fd == reader->fds[0], "call %ld, fd %d", outcome->nr, outcome->fd);
	CHECK(outcome->tid == reader->tid, "thread %d", (int)outcome->tid);
}

static pthread_t start_thread(void *(*run)(void *), struct reader *reader)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, run, reader);
	CHECK(error == 0, "%s", strerror(error));
	return thread;
}

static struct unstick_pool *pool_make(void)
{
	struct unstick_pool *pool;
	int error = unstick_pool_new(&pool, NULL);
	CHECK(error == 0, "%s", strerror(-error));
	return pool;
}

static struct unstick_job *job_make(struct unstick_pool *pool, struct unstick_job_options options)
{
	struct unstick_job *job;
	options.size = sizeof(options);
	int error = unstick_job_start(pool, &options, &job);
	CHECK(error == 0, "%s", strerror(-error));
	return job;
}

static int join(struct unstick_job *job, void **result)
{
	int error = unstick_job_join(job, unstick_after_ms(PATIENCE_MS), result);
	CHECK(error != -EBUSY, "%s", "it did not end");
	return error;
}

static void check_state(const struct unstick_job *job, int expected)
{
	int state = unstick_job_state(job);
	CHECK(state == expected, "%s", unstick_job_state_name(state));
}

static void close_and_free(struct unstick_pool *pool)
{
	int error = unstick_pool_close(pool, unstick_after_ms(PATIENCE_MS), NULL);
	CHECK(error == 0, "%s", strerror(-error));
	unstick_pool_free(pool);
}

/* ---- 1 */

static void *read_twice(void *reader)
{
	read_once(reader);
	struct reader second = *(struct reader *)reader;
	do /* it may see one plain EINTR */
		read_once(&second);
	while (second.got < 0 && second.got_errno == EINTR);
	return (void *)(intptr_t)second.got;
}

static void asynchronous_exception(void)
{
	struct reader *reader = reader_new();
	pthread_t thread = start_thread(read_twice, reader);
	struct unstick_thread *target;
	struct unstick_outcome outcome;
	void *second;

	wait_until_blocked(reader);
	CHECK(unstick_thread_find(&target, reader->tid) == 0, "%s", "not found");
	int error = unstick_thread_interrupt(target, unstick_after_ms(PATIENCE_MS), &outcome);
	CHECK(error == 0, "%s", strerror(-error));
	check_outcome(&outcome, -ECANCELED, reader);
	CHECK(write(reader->fds[1], "x", 1) == 1, "%s", strerror(errno));
	pthread_join(thread, &second);
	check_errno(reader, ECANCELED);
	CHECK((intptr_t)second == 1, "%s", "the next call was not left alone");
	unstick_thread_unref(target);
}

/* ---- 2 */

static void *read_in_scope(void *arg)
{
	struct reader *reader = arg;
	struct unstick_scope scope;
	unstick_scope_start(&scope, reader->token, UNSTICK_NEVER);
	while (unstick_check() == 0)
		read_once(reader);
	reader->end = unstick_scope_end(&scope);
	return NULL;
}

static void *check_in_scope(void *arg)
{
	struct reader *reader = arg;
	struct unstick_scope scope;
	unstick_scope_start(&scope, reader->token, UNSTICK_NEVER);
	while (unstick_check() == 0)
		reader->rounds++;
	reader->end = unstick_scope_end(&scope);
	return NULL;
}

static void stop_flag(void)
{
	struct reader *reader = reader_new(), *computer = reader_new();
	CHECK(unstick_token_new(&reader->token, NULL) == 0, "%s", "no token");
	computer->token = reader->token;
	pthread_t threads[] = {start_thread(read_in_scope, reader), start_thread(check_in_scope, computer)};

	wait_until_blocked(reader);
	WAIT_UNTIL(computer->rounds > 0);
	unstick_token_cancel(reader->token);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	check_errno(reader, ECANCELED);
	CHECK(reader->end == -ECANCELED && computer->end == -ECANCELED, "%d, %d", reader->end, computer->end);
	unstick_token_unref(reader->token);
}

/* ---- 3 */

static void *read_then_compute(void *arg)
{
	struct reader *reader = arg;
	read_once(reader);
	while (unstick_check() == 0)
		reader->rounds++;
	return reader;
}

static void trace(void)
{
	struct reader *reader = reader_new();
	struct unstick_pool *pool = pool_make();
	struct unstick_job *job = job_make(pool, (struct unstick_job_options){.run = read_then_compute, .arg = reader});
	struct unstick_thread *target;
	struct unstick_outcome outcome;
	void *result;

	wait_until_blocked(reader);
	CHECK(unstick_thread_find(&target, reader->tid) == 0, "%s", "not found");
	int error = unstick_thread_interrupt(target, unstick_after_ms(PATIENCE_MS), &outcome);
	CHECK(error == 0, "%s", strerror(-error));
	check_outcome(&outcome, -ECANCELED, reader);
	WAIT_UNTIL(reader->rounds > 0);
	check_state(job, UNSTICK_JOB_RUNNING);
	CHECK(unstick_job_cancel(job) == 0, "%s", "cancel");
	error = join(job, &result);
	CHECK(error == -ECANCELED && result == reader, "%d", error);
	check_errno(reader, ECANCELED);
	unstick_thread_unref(target);
	unstick_job_unref(job);
	close_and_free(pool);
}

/* ---- 4 */

static void process_and_terminate(void)
{
	char fifo[] = "/tmp/unstick-mission-XXXXXX", script[128];
	char *argv[] = {"sh", "-c", script, NULL};
	int writer, made = mkstemp(fifo);
	CHECK(made >= 0 && close(made) == 0 && unlink(fifo) == 0 && mkfifo(fifo, 0600) == 0, "%s", strerror(errno));
	fault_remove_later(fifo);
	snprintf(script, sizeof(script), "echo so far; echo found >&3; exec cat %s", fifo);
	struct unstick_pool *pool = pool_make();
	struct unstick_job *job = job_make(pool, (struct unstick_job_options){.argv = argv, .flags = UNSTICK_JOB_RESULT});
	struct unstick_exit exit;
	void *result;

	WAIT_UNTIL((writer = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0); /* it has opened its end, and reads for ever */
	CHECK(unstick_job_cancel(job) == 0, "%s", "cancel");
	int error = join(job, &result);
	CHECK(error == -ECANCELED, "%d", error);
	check_state(job, UNSTICK_JOB_CANCELLED);
	CHECK(strcmp(result, "found\n") == 0, "\"%s\"", (const char *)result);
	CHECK(unstick_job_exit(job, &exit) == 0, "%s", "exit");
	CHECK(strcmp(exit.output, "so far\n") == 0, "\"%s\"", exit.output);
	CHECK(!exit.status_taken && WIFSIGNALED(exit.status) && WTERMSIG(exit.status) == SIGTERM, "%x", exit.status);
	CHECK(exit.last_signal == SIGTERM, "signal %d", exit.last_signal);
	CHECK(kill(exit.pid, 0) == -1 && errno == ESRCH, "%d is still there", (int)exit.pid);
	unstick_job_unref(job);
	close_and_free(pool);
	close(writer);
}

/* ---- 5 */

static pthread_mutex_t never_free = PTHREAD_MUTEX_INITIALIZER;
static int told_by_exit = -1;

/* In code that blocks all signals. */
static void *read_deaf(void *reader)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	read_once(reader);
	return NULL;
}

static void *lock_for_ever(void *arg)
{
	struct reader *reader = arg;
	reader->tid = gettid();
	pthread_mutex_lock(&never_free);
	return NULL;
}

static void at_exit(void)
{
	ssize_t n = write(told_by_exit, "e", 1);
	(void)n;
}

static const struct unstick_left_job *find_left(const struct unstick_left *left, const char *name)
{
	for (unsigned i = 0; i < left->listed; i++) {
		if (strcmp(left->jobs[i].name, name) == 0)
			return &left->jobs[i];
	}
	fault_fail(__FILE__, __LINE__, "named", "%s is not among those left", name);
}

static void daemon_child(void)
{
	struct reader *deaf = reader_new(), *locked = reader_new();
	struct unstick_pool *pool = pool_make();
	struct unstick_left left;
	char lines[1024];

	pthread_mutex_lock(&never_free);
	unstick_job_unref(job_make(pool, (struct unstick_job_options){.name = "deaf reader", .run = read_deaf, .arg = deaf}));
	unstick_job_unref(job_make(pool, (struct unstick_job_options){.name = "locked out", .run = lock_for_ever, .arg = locked}));
	wait_until_blocked(deaf);
	WAIT_UNTIL(locked->tid != 0 && proc_in_call(0, locked->tid, SYS_futex));
	int error = unstick_pool_close(pool, unstick_after_ms(200), &left);
	CHECK(error == -EBUSY && left.count == 2, "%d, %u left", error, left.count);
	CHECK(unstick_left_print(&left, lines, sizeof(lines)) > 0, "%s", "nothing to print");
	for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
		fault_note("%s", line);
	const struct unstick_left_job *job = find_left(&left, "deaf reader");
	CHECK(job->outcome.kind == UNSTICK_SIGNAL_BLOCKED, "%s", unstick_kind_name(job->outcome.kind));
	CHECK(job->outcome.nr == SYS_read && job->outcome.fd == deaf->fds[0], "call %ld", job->outcome.nr);
	CHECK(job->tid == deaf->tid && !job->holds_exit, "thread %d", (int)job->tid);
	job = find_left(&left, "locked out");
	CHECK(job->outcome.kind == UNSTICK_LOCK && job->outcome.nr == SYS_futex, "%s", unstick_kind_name(job->outcome.kind));
	CHECK(job->tid == locked->tid && !job->holds_exit, "thread %d", (int)job->tid);
	unstick_pool_free(pool);
	atexit(at_exit);
	exit(0); /* not _exit(): nothing of ours holds it up */
}

static void daemon_thread(void)
{
	int fds[2], status;
	char byte;
	CHECK(pipe2(fds, O_CLOEXEC) == 0, "%s", strerror(errno));
	told_by_exit = fds[1];
	pid_t pid = fork();
	if (pid == 0)
		daemon_child();
	close(fds[1]);
	fault_waiting_for("the exit of process %d", (int)pid);
	CHECK(waitpid(pid, &status, 0) == pid, "%s", strerror(errno));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
	CHECK(read(fds[0], &byte, 1) == 1, "%s", "its atexit() functions did not run");
}

/* ---- 6 */

static void *read_as_job(void *reader)
{
	read_once(reader);
	return reader;
}

static void stop_or_kill(void)
{
	struct reader *reader = reader_new();
	struct unstick_pool *pool = pool_make();
	struct unstick_job *job = job_make(pool, (struct unstick_job_options){.run = read_as_job, .arg = reader});
	struct unstick_outcome outcome;
	void *result;

	wait_until_blocked(reader);
	check_state(job, UNSTICK_JOB_RUNNING);
	CHECK(unstick_job_cancel(job) == 0, "%s", "cancel");
	int error = join(job, &result);
	CHECK(error == -ECANCELED && result == reader, "%d", error);
	check_state(job, UNSTICK_JOB_CANCELLED);
	check_errno(reader, ECANCELED);
	CHECK(unstick_job_outcome(job, &outcome) == 0, "%s", "no outcome");
	check_outcome(&outcome, -ECANCELED, reader);
	unstick_job_unref(job);
	close_and_free(pool);
}

/* ---- 7 */

static void join_result_watcher(void)
{
	struct reader *reader = reader_new();
	struct unstick_pool *pool = pool_make();
	struct unstick_job *job =
	        job_make(pool, (struct unstick_job_options){.run = read_as_job, .arg = reader, .deadline = unstick_after_ms(2000)});
	void *result = &result;

	int error = unstick_job_join(job, 0, &result); /* a time long past: only a look */
	CHECK(error == -EBUSY && result == &result, "%d", error);
	error = join(job, &result);
	CHECK(error == -ETIMEDOUT && result == reader, "%d", error);
	check_state(job, UNSTICK_JOB_TIMED_OUT);
	check_errno(reader, ETIMEDOUT);
	unstick_job_unref(job);
	close_and_free(pool);
}

static const struct fault rows[] = {
        {1, "asynchronous exception: unstick_thread_interrupt() ends the call it is stuck in, and only that",
         asynchronous_exception},
        {2, "stop flag, event: a token is checked by unstick_check(), and ends the blocking call", stop_flag},
        {3, "trace: unstick_thread_interrupt(), and checkpoints in compute loops", trace},
        {4, "process and terminate: a process job is ended through a pidfd, its results are kept", process_and_terminate},
        {5, "daemon thread: those that cannot be ended are named and abandoned, exit is not held up", daemon_thread},
        {6, "_stop(), kill: unstick_job_cancel(), with a known outcome", stop_or_kill},
        {7, "join(timeout), get_result(), watcher: a job with deadline, join, result, state", join_result_watcher},
};

int main(int argc, char **argv)
{
	return fault_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
