/* SPDX-License-Identifier: MIT
 *
 * A recv() that waits for data which never comes, and ways to cancel it. Whoever must be woken for that is seen asleep before.
 */
#ifndef BENCH_RIG_CANCEL_H
#define BENCH_RIG_CANCEL_H

#include "rig_engine.h"

struct pending;

struct cancel_way {
	void (*open)(struct pending *pending);
	void (*begin)(struct pending *pending);  /* returns once the recv() waits */
	void (*cancel)(struct pending *pending); /* returns once it has ended */
	void (*settle)(struct pending *pending); /* may be NULL */
	void (*close)(struct pending *pending);
};

struct pending {
	const char *name;
	const struct cancel_way *way;
	int fds[2]; /* nothing is ever sent */
	char byte;
	/* Of the way: */
	void *ring;
	struct unstick_engine *engine;
	struct unstick_op *op;
	struct unstick_token *token;
	pthread_t thread;
	_Atomic pid_t tid;
	int event;
	bool end;
	struct engine_gate again, ready, over;
};

/* Dies unless it ended so. */
void pending_expect_canceled(const struct pending *pending, long result);
/* The way's thread; it ends when it finds `end` set after `again` was opened. */
void pending_start_thread(struct pending *pending, void *(*run)(void *));
void pending_end_thread(struct pending *pending);

/* Only if built with liburing (BENCH_URING): by the thread that owns the ring; and by another one, through an eventfd. */
extern const struct cancel_way cancel_raw, cancel_raw_other;

#endif
