/* SPDX-License-Identifier: MIT
 *
 * What the unit tests share: threads that block, waiting until /proc shows that they do, and things that are silent for ever.
 * Every wait here is for a state that can be observed; the limit of 10 s only turns a hang into a failed test.
 * cr_assert() belongs to the test's own thread: a worker returns what it found, worker_join() hands it over.
 * What it does not do: use unstick's own looks, so that the code under test is not its own witness.
 */
#ifndef TESTS_HELPERS_H
#define TESTS_HELPERS_H

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unstick.h"

/* Until the condition holds; the test fails, with the condition's text, if that does not come. */
#define wait_for(condition)                                                               \
	do {                                                                              \
		for (unsigned rounds_ = 0; !(condition); rounds_++) {                     \
			cr_assert_lt(rounds_, 10000u, "never came true: %s", #condition); \
			pause_between_looks();                                            \
		}                                                                         \
	} while (0)

/* A millisecond: gives the processor away between two looks. Nothing depends on its length. */
void pause_between_looks(void);

struct worker {
	pthread_t thread;
	_Atomic pid_t tid;
	_Atomic bool over;
	long (*run)(void *arg);
	void *arg;
	long result;
};

/* Runs run(arg) on a thread of its own; returns once the thread's tid is known. */
void worker_start(struct worker *worker, long (*run)(void *arg), void *arg);
/* Until the worker sleeps in system call `nr`. */
void worker_wait_blocked(struct worker *worker, long nr);
/* Ends it: what run() returned. */
long worker_join(struct worker *worker);

/* Does /proc show the thread asleep in this call? */
bool is_blocked_in(pid_t tid, long nr);
/* State letter in /proc; '?' if there is none. */
char state_of(pid_t tid);
/* How often the thread has gone to sleep: more than before, and it has been awake between. */
long sleeps_of(pid_t tid);
/* Number of threads of this process whose name is `name`. */
int threads_named(const char *name);

/* A pipe that nobody writes to, or that is full. */
void pipe_empty(int fds[2]);
void pipe_full(int fds[2]);
void write_byte(int fd);

struct unstick_token *token_make(struct unstick_token *parent);

/* A handler for `signal` that counts its runs, with these sa_flags. */
void count_signal(int signal, int flags);
extern _Atomic unsigned signals_counted;

/* ASan's allocator has locks that are not held over a fork: with it, waits until no other thread can have them. Else nothing. */
void settle_before_fork(void);

#if defined(__SANITIZE_ADDRESS__)
#define TESTS_WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TESTS_WITH_ASAN 1
#endif
#endif

/* Runs body() in a forked child, which returns 0 or the number of what was wrong; returns its exit status (1000 + signal if killed). */
int in_child(int (*body)(void *arg), void *arg);

#define assert_right_in_child(body, arg)                                                    \
	do {                                                                                \
		int wrong_ = in_child((body), (arg));                                       \
		cr_assert_eq(wrong_, 0, "in the child %s() found %d wrong", #body, wrong_); \
	} while (0)

#endif
