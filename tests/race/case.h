/* SPDX-License-Identifier: MIT
 *
 * Cases that may hang: each runs in a child process with a token and a silent pipe; the parent kills it when it has not ended in time and
 * says so. Plain TAP. Whole in this header: a program of cases is one file.
 */
#ifndef TESTS_RACE_CASE_H
#define TESTS_RACE_CASE_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unstick.h"

enum { CASE_TIMEOUT_S = 20 };

#ifdef __SANITIZE_THREAD__
enum { CASE_UNDER_TSAN = 1 };
#else
enum { CASE_UNDER_TSAN = 0 };
#endif

#define CASE_IN_PLACE "TSan runs handlers after the call has returned"
#define CASE_FORKS "TSan lets no forked child of threads start a thread"

struct test_case {
	const char *name;
	void (*run)(void);
	const char *not_under_tsan; /* why it is skipped there; NULL: it is not */
};

static _Atomic pid_t worker_tid; /* stored by what start() has started */
static struct unstick_token *token;
static int silent[2];

static inline void require(bool ok, const char *what)
{
	if (ok)
		return;
	printf("# failed: %s (errno %d)\n", what, errno);
	fflush(stdout);
	_exit(1);
}

/* Waits until the thread is in the state, and, if nr is not negative, in that system call. */
static inline void wait_for(pid_t tid, char state, long nr)
{
	struct unstick_report report;
	do {
		poll(NULL, 0, 1);
		require(unstick_look(0, tid, &report) == 0, "look");
	} while (report.state != state || (nr >= 0 && report.nr != nr));
}

/* The thread has stored worker_tid when this returns. */
static inline pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;
	atomic_store(&worker_tid, 0);
	require(pthread_create(&thread, NULL, fn, arg) == 0, "pthread_create");
	while (!atomic_load(&worker_tid))
		poll(NULL, 0, 1);
	return thread;
}

/* Forks; the child dies with its parent. */
static inline pid_t fork_child(void)
{
	pid_t pid = fork();
	require(pid >= 0, "fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static inline bool ended_well(pid_t pid)
{
	int status;
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- running them */

static inline bool case_in_time(pid_t pid, int *status)
{
	for (int i = 0; i < CASE_TIMEOUT_S * 100; i++) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		poll(NULL, 0, 10);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return false;
}

/* For main(); an argument is the number of the only case to run. */
static inline int run_cases(const struct test_case *cases, size_t count, int argc, char **argv)
{
	unsigned failed = 0, number = 0;
	size_t only = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < count; i++) {
		int status = 0;
		if (only && only != i + 1)
			continue;
		if (CASE_UNDER_TSAN && cases[i].not_under_tsan) {
			printf("ok %u - %s # SKIP %s\n", ++number, cases[i].name, cases[i].not_under_tsan);
			continue;
		}
		pid_t pid = fork_child();
		if (pid == 0) {
			require(unstick_token_new(&token, NULL) == 0 && pipe(silent) == 0, "set-up");
			cases[i].run();
			_exit(0);
		}
		bool ended = case_in_time(pid, &status);
		bool ok = ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
		printf("%sok %u - %s%s\n", ok ? "" : "not ", ++number, cases[i].name, ended ? "" : ": not in time");
		failed += !ok;
	}
	printf("1..%u\n", number);
	return failed != 0;
}

#endif
