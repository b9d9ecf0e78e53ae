/* SPDX-License-Identifier: MIT
 *
 * For the tests of the looks: a thread that is put into one blocking call, and waiting until /proc shows that it is there. Reads /proc with
 * stdio, so that the code under test is not its own witness.
 */
#ifndef TESTS_BLOCKED_H
#define TESTS_BLOCKED_H

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct blocked {
	pthread_t thread;
	_Atomic pid_t tid;
	void (*run)(void *arg);
	void *arg;
};

static inline void *blocked_main(void *arg)
{
	struct blocked *blocked = arg;

	atomic_store(&blocked->tid, (pid_t)syscall(SYS_gettid));
	blocked->run(blocked->arg);
	return NULL;
}

static inline void blocked_start(struct blocked *blocked, void (*run)(void *arg), void *arg)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	atomic_store(&blocked->tid, 0);
	blocked->run = run;
	blocked->arg = arg;
	cr_assert_eq(pthread_create(&blocked->thread, NULL, blocked_main, blocked), 0);
	while (atomic_load(&blocked->tid) == 0)
		nanosleep(&pause, NULL);
}

static inline bool shows(pid_t pid, pid_t tid, const char *file, const char *begin)
{
	char path[80], line[512] = "";
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, file);
	stream = fopen(path, "re");
	if (stream == NULL)
		return false;
	if (fgets(line, sizeof(line), stream) == NULL)
		line[0] = '\0';
	fclose(stream);
	if (strcmp(file, "stat") == 0)
		return strrchr(line, ')') != NULL && strncmp(strrchr(line, ')') + 2, begin, strlen(begin)) == 0;
	return strncmp(line, begin, strlen(begin)) == 0;
}

/* Until the file of the thread begins with the text (stat: its state letter). Ends the test if that does not come in 20 s. */
static inline void wait_until_shows(pid_t pid, pid_t tid, const char *file, const char *begin)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	int rounds = 0;

	while (!shows(pid, tid, file, begin)) {
		cr_assert_lt(rounds++, 20000, "/proc/%d/task/%d/%s never began with \"%s\"", pid, tid, file, begin);
		nanosleep(&pause, NULL);
	}
}

static inline void wait_until_in_call(pid_t pid, pid_t tid, long nr)
{
	char begin[24];

	snprintf(begin, sizeof(begin), "%ld ", nr);
	wait_until_shows(pid, tid, "syscall", begin);
	wait_until_shows(pid, tid, "stat", "S");
}

static inline void blocked_wait_call(struct blocked *blocked, long nr)
{
	wait_until_in_call(getpid(), atomic_load(&blocked->tid), nr);
}

static inline void blocked_join(struct blocked *blocked)
{
	pthread_join(blocked->thread, NULL);
}

static inline void read_one_byte(void *arg)
{
	char byte;
	ssize_t n = read(*(int *)arg, &byte, 1);
	(void)n;
}

/* A child that does not outlive the test, stopped or not, however the test ends: a child left behind would hold the runner's output. */
static inline pid_t fork_child(void)
{
	pid_t child = fork();

	if (child == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	cr_assert_geq(child, 0);
	return child;
}

static inline void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
