/* SPDX-License-Identifier: MIT */
#include "helpers.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

void pause_between_looks(void)
{
	const struct timespec millisecond = {.tv_nsec = 1000000};
	nanosleep(&millisecond, NULL);
}

/* ---- /proc */

static bool first_line(pid_t tid, const char *file, char *line, int size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, file);
	FILE *stream = fopen(path, "re");
	bool got = stream && fgets(line, size, stream);
	if (stream)
		fclose(stream);
	return got;
}

char state_of(pid_t tid)
{
	char line[512];
	const char *end = first_line(tid, "stat", line, sizeof line) ? strrchr(line, ')') : NULL;
	return end ? end[2] : '?';
}

bool is_blocked_in(pid_t tid, long nr)
{
	char line[256];
	if (!first_line(tid, "syscall", line, sizeof line) || line[0] < '0' || line[0] > '9')
		return false;
	return strtol(line, NULL, 10) == nr && state_of(tid) == 'S';
}

long sleeps_of(pid_t tid)
{
	static const char key[] = "voluntary_ctxt_switches:";
	char path[64], line[128];
	long sleeps = -1;
	snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)tid);
	FILE *stream = fopen(path, "re");
	while (stream && fgets(line, sizeof line, stream))
		if (!strncmp(line, key, sizeof key - 1))
			sleeps = strtol(line + sizeof key - 1, NULL, 10);
	if (stream)
		fclose(stream);
	return sleeps;
}

int threads_named(const char *name)
{
	int found = 0;
	char line[64];
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *entry; tasks && (entry = readdir(tasks));)
		if (entry->d_name[0] != '.' && first_line(atoi(entry->d_name), "comm", line, sizeof line)) {
			line[strcspn(line, "\n")] = '\0';
			found += strcmp(line, name) == 0;
		}
	if (tasks)
		closedir(tasks);
	return found;
}

/* ---- workers */

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	atomic_store(&worker->tid, (pid_t)syscall(SYS_gettid));
	worker->result = worker->run(worker->arg);
	atomic_store(&worker->over, true);
	return NULL;
}

void worker_start(struct worker *worker, long (*run)(void *arg), void *arg)
{
	atomic_store(&worker->tid, 0);
	atomic_store(&worker->over, false);
	worker->run = run;
	worker->arg = arg;
	cr_assert_eq(pthread_create(&worker->thread, NULL, worker_main, worker), 0);
	wait_for(atomic_load(&worker->tid));
}

void worker_wait_blocked(struct worker *worker, long nr)
{
	pid_t tid = atomic_load(&worker->tid);
	for (unsigned rounds = 0; !is_blocked_in(tid, nr); rounds++) {
		cr_assert_not(atomic_load(&worker->over), "the worker ended with %ld instead of blocking in call %ld",
		              worker->result, nr);
		cr_assert_lt(rounds, 10000u, "the worker never blocked in call %ld", nr);
		pause_between_looks();
	}
}

long worker_join(struct worker *worker)
{
	wait_for(atomic_load(&worker->over));
	cr_assert_eq(pthread_join(worker->thread, NULL), 0);
	return worker->result;
}

/* ---- silent things */

void pipe_empty(int fds[2])
{
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
}

void pipe_full(int fds[2])
{
	static const char zeros[4096];
	pipe_empty(fds);
	cr_assert_eq(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
	while (write(fds[1], zeros, sizeof zeros) > 0)
		;
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(fcntl(fds[1], F_SETFL, 0), 0);
}

void write_byte(int fd)
{
	cr_assert_eq(write(fd, "x", 1), 1);
}

struct unstick_token *token_make(struct unstick_token *parent)
{
	struct unstick_token *token = NULL;
	cr_assert_eq(unstick_token_new(&token, parent), 0);
	return token;
}

/* ---- signals and children */

_Atomic unsigned signals_counted;

static void count_one(int signal)
{
	(void)signal;
	atomic_fetch_add(&signals_counted, 1);
}

void count_signal(int signal, int flags)
{
	struct sigaction action = {.sa_handler = count_one, .sa_flags = flags};
	cr_assert_eq(sigaction(signal, &action, NULL), 0);
}

#ifdef TESTS_WITH_ASAN
static bool others_are_asleep(void)
{
	bool asleep = true;
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
		pid_t tid = atoi(entry->d_name);
		asleep = asleep && (tid == 0 || tid == (pid_t)syscall(SYS_gettid) || state_of(tid) == 'S');
	}
	if (tasks)
		closedir(tasks);
	return asleep;
}

void settle_before_fork(void)
{
	wait_for(others_are_asleep());
}
#else
void settle_before_fork(void)
{
}
#endif

int in_child(int (*body)(void *arg), void *arg)
{
	int status = 0;
	settle_before_fork();
	pid_t pid = fork();
	if (pid == 0) {
		alarm(30); /* a child that hangs ends, and says so by its signal */
		_exit(body(arg));
	}
	cr_assert_gt(pid, 0);
	while (waitpid(pid, &status, 0) < 0) /* the caller may be in a scope that has fired */
		cr_assert(errno == EINTR || errno == ECANCELED || errno == ETIMEDOUT, "waitpid: %s", strerror(errno));
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}
