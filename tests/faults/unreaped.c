/* SPDX-License-Identifier: MIT
 *
 * Workers that SIGKILL does not reap (fault 47): a process job whose program hangs in state D. It is sent SIGTERM, then SIGKILL, and stays;
 * the job is abandoned with the true reason, in time; a close returns in time and names it; it does not hold our own exit. Once what it
 * waits for has come about, it is reaped, and leaves no zombie. (A job's thread: tests/pool/hung_jobs.c; an engine's:
 * tests/engine/hung_files.c.)
 */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hung.h"
#include "victim.h"

enum way { DEADLINE, CANCEL, CLOSE };

static struct hung hung;
static struct unstick_pool *pool;
static struct unstick_job *job;
static int fds[2];

/* ---- the program: tells its number on its standard error, which is the case's, and hangs */

static int be_program(const char *name, const char *path)
{
	hung = (struct hung){.situation = hung_find(name), .fd = -1};
	snprintf(hung.path, sizeof(hung.path), "%s", path);
	if (hung.situation == NULL || hung_open(&hung) < 0 || dprintf(STDERR_FILENO, "%d\n", (int)getpid()) < 0)
		return 1;
	hung_block(&hung);
	for (;;)
		pause(); /* what it waited for has come about: SIGKILL has, too */
}

/* ---- the case */

static pid_t program;

/* `ms`: its deadline; 0: none. */
static void start_program(int64_t ms)
{
	static char self[256];
	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0, "/proc/self/exe: %s", strerror(errno));
	char *const argv[] = {self, (char *)(uintptr_t) "--hang", (char *)(uintptr_t)hung.situation->name, hung.path, NULL};
	const struct unstick_job_options options = {.size = sizeof(options),
	                                            .name = "program",
	                                            .argv = argv,
	                                            .grace_ns = 20 * 1000000,
	                                            .deadline = ms > 0 ? unstick_after_ms(ms) : 0};
	int error = unstick_job_start(pool, &options, &job);
	if (error == -ENOSYS)
		fault_skip("this library has no process jobs");
	CHECK(error == 0, "unstick_job_start: %d", error);
}

static bool hangs(void)
{
	char state = proc_state(program, program);
	return (state == 'S' || state == 'D') && proc_in_call(program, program, hung.situation->nr);
}

/* False: its deadline has passed before it hung. */
static bool is_hung(void)
{
	char number[16] = "";
	struct pollfd told = {.fd = fds[0], .events = POLLIN};
	fault_waiting_for("the program to hang");
	while (poll(&told, 1, 10) == 0 && unstick_job_state(job) <= UNSTICK_JOB_RUNNING)
		;
	if (poll(&told, 1, 0) == 0 || read(fds[0], number, sizeof(number) - 1) <= 0)
		return false;
	program = (pid_t)atoi(number);
	CHECK(program > 0, "the program told \"%s\"", number);
	while (!(hangs() && hung_is_asked(&hung)) && unstick_job_state(job) <= UNSTICK_JOB_RUNNING)
		fault_pause();
	return hangs();
}

static void start(const char *name, enum way way)
{
	const struct unstick_pool_options options = {.size = sizeof(options), .threads = 1, .grace_ns = 20 * 1000000};
	if (hung_make(&hung, hung_find(name)) < 0)
		fault_skip("%s cannot be made here: %s", name, hung.why);
	make_pipe(fds);
	CHECK(dup2(fds[1], STDERR_FILENO) == STDERR_FILENO, "dup2: %s", strerror(errno));
	CHECK(unstick_pool_new(&pool, &options) == 0, "unstick_pool_new");
	for (int64_t ms = 500; start_program(way == DEADLINE ? ms : 0), !is_hung(); ms *= 2)
		unstick_job_unref(job);
}

static bool has_sigkill(const char *status, const char *key)
{
	const char *line = strstr(status, key);
	return line != NULL && (strtoull(line + strlen(key), NULL, 16) >> (SIGKILL - 1) & 1) != 0;
}

/* SIGKILL has been sent to it, or come of the SIGTERM that was to end it, and it sleeps on. */
static bool stays(void)
{
	char status[4096];
	return proc_read(program, program, "status", status, sizeof(status)) && strstr(status, "\nState:\tD") != NULL &&
	       (has_sigkill(status, "\nSigPnd:") || has_sigkill(status, "\nShdPnd:"));
}

static void check_outcome(const struct unstick_outcome *outcome)
{
	CHECK(outcome->kind == UNSTICK_UNINTERRUPTIBLE && outcome->nr == hung.situation->nr && outcome->state == 'D' &&
	              outcome->tid == program,
	      "%s; state %c", outcome_text(outcome), outcome->state);
}

static void check_left(const struct unstick_left *left)
{
	char text[600];
	CHECK(left->count == 1 && left->listed == 1, "%u left, %u listed", left->count, left->listed);
	CHECK(left->jobs[0].pid == program && left->jobs[0].holds_exit == 0 && left->holds_exit == 0, "pid %d, holds_exit %d",
	      (int)left->jobs[0].pid, left->jobs[0].holds_exit);
	check_outcome(&left->jobs[0].outcome);
	unstick_left_print(left, text, sizeof(text));
	fault_note("%s", text);
}

static void abandoned(enum way way)
{
	struct unstick_outcome outcome;
	struct unstick_left left;
	if (way == CANCEL)
		unstick_job_cancel(job);
	if (way == CLOSE)
		CHECK(unstick_pool_close(pool, unstick_after_ms(100), &left) == -EBUSY, "unstick_pool_close");
	fault_waiting_for("the join");
	int end = unstick_job_join(job, UNSTICK_NEVER, NULL);
	CHECK(end == (way == DEADLINE ? -ETIMEDOUT : -ECANCELED), "unstick_job_join: %d", end);
	CHECK(unstick_job_state(job) == UNSTICK_JOB_ABANDONED, "%s", unstick_job_state_name(unstick_job_state(job)));
	WAIT_UNTIL(stays());
	CHECK(unstick_job_outcome(job, &outcome) == 0, "unstick_job_outcome");
	check_outcome(&outcome);
	CHECK(unstick_pool_close(pool, unstick_after_ms(20), &left) == -EBUSY, "unstick_pool_close");
	CHECK(stays(), "it has gone");
	check_left(&left);
}

static void reaped(enum way way)
{
	struct unstick_exit status;
	struct unstick_pool_counts counts;
	CHECK(unstick_job_exit(job, &status) == -EINPROGRESS, "unstick_job_exit");
	hung_end(&hung);
	WAIT_UNTIL(unstick_job_state(job) == (way == DEADLINE ? UNSTICK_JOB_TIMED_OUT : UNSTICK_JOB_CANCELLED));
	CHECK(unstick_job_exit(job, &status) == 0, "unstick_job_exit");
	CHECK(status.pid == program && !status.status_taken && WIFSIGNALED(status.status) && status.last_signal == SIGKILL,
	      "status %x, last signal %d", (unsigned)status.status, status.last_signal);
	CHECK(waitpid(program, NULL, WNOHANG) == -1 && errno == ECHILD, "a zombie is left");
	CHECK(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0, "close once it is reaped");
	CHECK(unstick_pool_stats(pool, &counts) == 0 && counts.came_back == 1 && counts.abandoned == 0, "%lu came back",
	      counts.came_back);
	unstick_job_unref(job);
	unstick_pool_free(pool);
}

static void unreaped(const char *name, enum way way)
{
	start(name, way);
	abandoned(way);
	reaped(way);
}

static void read_deadline(void)
{
	unreaped("fuse-read", DEADLINE);
}

static void read_cancel(void)
{
	unreaped("fuse-read", CANCEL);
}

static void read_close(void)
{
	unreaped("fuse-read", CLOSE);
}

static void write_deadline(void)
{
	unreaped("frozen-write", DEADLINE);
}

static void write_cancel(void)
{
	unreaped("frozen-write", CANCEL);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {47, "a program that hangs on a dead mount, and a deadline: abandoned, named, reaped when it ends", read_deadline},
	        {47, "a program that hangs on a dead mount, and a cancel: abandoned, named, reaped when it ends", read_cancel},
	        {47, "a program that hangs on a dead mount, and a close: abandoned, named, reaped when it ends", read_close},
	        {47, "a program that hangs on a frozen mount, and a deadline: abandoned, named, reaped when it ends",
	         write_deadline},
	        {47, "a program that hangs on a frozen mount, and a cancel: abandoned, named, reaped when it ends", write_cancel},
	};
	if (argc == 4 && strcmp(argv[1], "--hang") == 0)
		return be_program(argv[2], argv[3]);
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
