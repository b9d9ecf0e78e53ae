/* SPDX-License-Identifier: MIT
 *
 * What the benchmarks need of the system, free of unstick, so that baselines owe nothing to the library that they judge:
 * the clock, futexes, a signal with an empty handler, a look whether a thread is blocked, threads.
 * Every failure ends the program with one line: a figure from half a benchmark is worth nothing.
 */
#ifndef BENCH_OS_H
#define BENCH_OS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* The baselines' own signal; the library must not be set to it. */
#define OS_SIGNAL SIGUSR1

/* "unstick-bench: what: why: what to do", then _exit(2): stuck threads must not hold up the end. */
_Noreturn void die(const char *what, const char *why, const char *todo);
_Noreturn void die_errno(const char *what, int error);

static inline int64_t os_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

struct timespec os_timespec(int64_t ns);

void *os_alloc(size_t count, size_t size);

/* Sleeps while *word == value, until the moment `until` (INT64_MAX: for ever); false once that has passed. May return early. */
bool os_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t until);
void os_futex_wake(_Atomic uint32_t *word, int count);

/* Installs the empty handler, without SA_RESTART, for OS_SIGNAL. */
void os_signal_install(void);
void os_tgkill(pid_t tid);

void os_pipe(int fds[2]);

/* Returns once thread `tid` of this process is asleep in system call `nr` with first argument `arg0` (any, if that is 0): the
 * kernel answers with a number only for a thread that has been switched out. Dies after five seconds. */
void os_wait_blocked(pid_t tid, long nr, unsigned long arg0, const char *who);

/* open + read + close of /proc/self/task/TID/syscall into `text`; its length. */
size_t os_look(pid_t tid, char *text, size_t size);

/* `stack` 0: the default; `cpu` -1: where the kernel likes. 0 or an errno. */
int os_thread_new(pthread_t *ret, size_t stack, int cpu, void *(*run)(void *), void *arg);

#endif
