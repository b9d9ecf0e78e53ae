/* SPDX-License-Identifier: MIT
 *
 * For the fault tests: a thread that makes one blocking call inside a scope, or whatever else it is told to; and helpers, processes
 * that do to the case what a case cannot do to itself.
 */
#ifndef TESTS_VICTIM_H
#define TESTS_VICTIM_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fault.h"
#include "unstick.h"

struct victim {
	/* To be filled in before the start. */
	struct unstick_token *token;           /* NULL with deadline 0: no scope */
	unstick_time deadline;                 /* 0: never */
	long (*call)(struct victim *victim);   /* in the scope; a result or -errno */
	void (*before)(struct victim *victim); /* before the scope, may be NULL */
	void (*after)(struct victim *victim);  /* after it, may be NULL */
	int fd;
	void *arg;
	size_t stack_size; /* 0: the default */
	/* What came of it. */
	pthread_t thread;
	_Atomic pid_t tid;
	_Atomic long result; /* of `call` */
	_Atomic int end;     /* of unstick_scope_end() */
	_Atomic bool done;
	_Atomic long count;            /* the call's own use */
	_Atomic bool stop;             /* the call's own use */
	struct unstick_thread *handle; /* a reference, made before the scope */
};

static inline long or_errno(long result)
{
	return result < 0 ? -(long)errno : result;
}

static inline pid_t own_tid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

void victim_start(struct victim *victim);
void victim_wait_blocked(struct victim *victim, long nr); /* until it sleeps in that call */
void victim_join(struct victim *victim);                  /* and drops the handle */
/* Start, wait until it blocks in `nr`. */
void victim_block(struct victim *victim, long nr);
struct unstick_outcome victim_outcome(const struct victim *victim);
/* Until the last attempt on it has come to `kind`. */
void victim_wait_outcome(const struct victim *victim, int kind);

/* Calls; `fd` is the victim's. "foreign" ones are the C library's. */
long foreign_read(struct victim *victim);        /* one byte */
long foreign_read_again(struct victim *victim);  /* as long as it gets EINTR, counted in `count` */
long foreign_poll(struct victim *victim);        /* for ever */
long foreign_sleep(struct victim *victim);       /* an hour */
long foreign_epoll_again(struct victim *victim); /* on EINTR, until unstick_check() says stop */
long own_read(struct victim *victim);
long own_poll(struct victim *victim); /* for ever */
long own_sleep(struct victim *victim);

/* For `after`: stays until told to stop, so that the interrupter does not find it gone. */
void linger(struct victim *victim);
void victim_let_go(struct victim *victim); /* tells it, and joins it */

/* Calls fn so many kilobytes further down the stack. */
enum { DEEP = 16, DEEPER = 32 };
long deep_down(int levels, long (*fn)(struct victim *), struct victim *victim);

void make_pipe(int fds[2]);
struct unstick_token *make_token(void);
void feed(int fd); /* writes one byte */
bool is_root(void);
const char *outcome_text(const struct unstick_outcome *outcome); /* one static buffer a thread */

/* The library initialised with its log kept. */
void log_start(unsigned flags);
bool log_has(const char *text);

/* A process that serves commands until the case ends. serve() returns true for success; false ends up as the answer false. */
struct helper {
	pid_t pid;
	int to, from;
};
void helper_start(struct helper *helper, bool (*serve)(int command, void *arg), void *arg);
bool helper_ask(struct helper *helper, int command);
void helper_tell(struct helper *helper, int command); /* without waiting for the answer */
bool helper_answer(struct helper *helper);
void helper_end(struct helper *helper);

#endif
