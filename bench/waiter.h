/* SPDX-License-Identifier: MIT
 *
 * A waiter: the main thread in a call that blocks until a deadline passes; one sample a deadline. The ways to be ended by it that
 * need no unstick are in waiters.c; those that do, and the benchmarks, in b_deadline.c.
 */
#ifndef BENCH_WAITER_H
#define BENCH_WAITER_H

#include "os.h"

struct waiter;

struct waiter_way {
	void (*open)(struct waiter *waiter);                      /* may be NULL */
	int64_t (*wait)(struct waiter *waiter, int64_t deadline); /* the moment at which the call came out */
	void (*close)(struct waiter *waiter);                     /* may be NULL */
};

struct waiter {
	const struct waiter_way *way;
	const char *name;
	int pipe[2]; /* nothing is ever written to it */
	timer_t timer;
	pid_t tid;
};

/* Dies unless `as_expected`; `why` says what came instead. */
void waiter_expect(const struct waiter *waiter, bool as_expected, const char *why);

extern const struct waiter_way waiter_watchdog, waiter_ppoll, waiter_timer;

#endif
