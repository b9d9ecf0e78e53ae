/* SPDX-License-Identifier: MIT
 *
 * The system as the benchmarks see it; see os.h.
 */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Noreturn void die(const char *what, const char *why, const char *todo)
{
	fflush(stdout);
	fprintf(stderr, "unstick-bench: %s: %s: %s\n", what, why, todo);
	_exit(2);
}

static const char *advice(int error)
{
	switch (error) {
	case ENOMEM:
	case EAGAIN:
		return "free memory, or raise the limit on threads (ulimit -u)";
	case EMFILE:
	case ENFILE:
		return "raise the limit on open files (ulimit -n)";
	case EACCES:
	case EPERM:
	case EROFS:
		return "choose a place that you may write to, or run as another user";
	case ENOENT:
	case ENOTDIR:
		return "check the path; /proc must be mounted";
	default:
		return "please report it, with the machine's description";
	}
}

_Noreturn void die_errno(const char *what, int error)
{
	die(what, strerror(error), advice(error));
}

struct timespec os_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

void *os_alloc(size_t count, size_t size)
{
	void *memory = calloc(count, size);
	if (!memory)
		die_errno("memory", ENOMEM);
	return memory;
}

bool os_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t until)
{
	struct timespec when = os_timespec(until);
	/* FUTEX_WAIT_BITSET, not FUTEX_WAIT: its timeout is absolute. */
	long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until == INT64_MAX ? NULL : &when, NULL,
	                      FUTEX_BITSET_MATCH_ANY);
	return !(result < 0 && errno == ETIMEDOUT);
}

void os_futex_wake(_Atomic uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void empty_handler(int signal)
{
	(void)signal;
}

void os_signal_install(void)
{
	struct sigaction action = {.sa_handler = empty_handler};
	sigemptyset(&action.sa_mask);
	if (sigaction(OS_SIGNAL, &action, NULL) < 0)
		die_errno("sigaction", errno);
}

void os_tgkill(pid_t tid)
{
	if (syscall(SYS_tgkill, getpid(), tid, OS_SIGNAL) < 0)
		die_errno("tgkill", errno);
}

void os_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0)
		die_errno("pipe", errno);
}

static int open_look(pid_t tid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die_errno(path, errno);
	return fd;
}

static size_t read_look(int fd, char *text, size_t size)
{
	ssize_t length = pread(fd, text, size - 1, 0);
	if (length < 0)
		die_errno("/proc/self/task/TID/syscall", errno);
	text[length] = '\0';
	return (size_t)length;
}

size_t os_look(pid_t tid, char *text, size_t size)
{
	int fd = open_look(tid);
	size_t length = read_look(fd, text, size);
	close(fd);
	return length;
}

/* "0 0x5 ..."; "running" and "-1 ..." are no match. */
static bool is_blocked_in(const char *text, long nr, unsigned long arg0)
{
	char *rest;
	long found = strtol(text, &rest, 10);
	if (rest == text || found != nr)
		return false;
	return arg0 == 0 || strtoul(rest, NULL, 16) == arg0;
}

void os_wait_blocked(pid_t tid, long nr, unsigned long arg0, const char *who)
{
	int64_t give_up = os_now() + INT64_C(5000000000);
	char text[256];
	int fd = open_look(tid);
	for (;;) {
		read_look(fd, text, sizeof(text));
		if (is_blocked_in(text, nr, arg0))
			break;
		if (os_now() > give_up)
			die(who, "the thread did not block within 5 s", "run on a machine with less load");
		sched_yield();
	}
	close(fd);
}

int os_thread_new(pthread_t *ret, size_t stack, int cpu, void *(*run)(void *), void *arg)
{
	pthread_attr_t attributes;
	int error = pthread_attr_init(&attributes);
	if (error)
		return error;
	if (stack)
		error = pthread_attr_setstacksize(&attributes, stack);
	if (!error && cpu >= 0) {
		cpu_set_t cpus;
		CPU_ZERO(&cpus);
		CPU_SET((size_t)cpu, &cpus);
		error = pthread_attr_setaffinity_np(&attributes, sizeof(cpus), &cpus);
	}
	if (!error)
		error = pthread_create(ret, &attributes, run, arg);
	pthread_attr_destroy(&attributes);
	return error;
}
