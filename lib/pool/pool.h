/* SPDX-License-Identifier: MIT
 *
 * A pool: its jobs, the threads that run them, its end. One lock guards it all; nobody holds it over a call that may wait, over a job's
 * code, or while another lock but the warden's is taken. Invariant: a job is in one of the three lists from its start to its end, or
 * counted in `ending`, and has a reference of the pool's as long.
 */
#ifndef UNSTICK_POOL_POOL_H
#define UNSTICK_POOL_POOL_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "unstick.h"

struct job_list {
	struct unstick_job *first, **last;
	unsigned count;
};

struct unstick_pool {
	struct lock lock;
	_Atomic unsigned refs; /* its owner's, one a thread, one a job */
	/* Constant: */
	unsigned fork_epoch;
	unsigned most_threads, most_queued, most_abandoned;
	size_t stack;
	int64_t grace_ns;
	sigset_t mask;               /* of its threads */
	int timer_slack;             /* ns; of its threads, whoever starts them */
	struct unstick_token *token; /* of jobs that were given none; fired by close */
	/* Under the lock: */
	bool closing;
	struct job_list queue, running, abandoned;
	unsigned ending;                  /* jobs that are in no list any more, and have not ended: they never run */
	unsigned threads;                 /* without those of abandoned jobs */
	unsigned idle;                    /* of `threads`: wait for a job */
	unsigned starting;                /* of `threads`: have not looked at the queue yet */
	unsigned told;                    /* TOLD_*: what the log was told once */
	struct unstick_pool_counts stats; /* the counters of jobs */
	_Atomic unsigned more_told;       /* by who closes: how many were left and not named; not under the lock */
	/* Futexes: */
	_Atomic uint32_t bell;  /* a job was queued: idle threads sleep on it */
	_Atomic uint32_t ended; /* a job has ended: who closes sleeps on it */
};

enum { TOLD_FULL = 1u << 0, TOLD_ABANDONED = 1u << 1, TOLD_CLOSING = 1u << 2, TOLD_FORKED = 1u << 3 };

/* Is it the pool of a parent process, in a forked child? */
bool pool_is_parents(const struct unstick_pool *pool);
void pool_hold(struct unstick_pool *pool);
void pool_drop(struct unstick_pool *pool);

#endif
