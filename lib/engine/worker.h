/* SPDX-License-Identifier: MIT
 *
 * A worker: a thread that owns operations. It takes notes from its inbox, takes in new operations, starts and cuts operations, keeps their deadlines in
 * its wheel, waits in its back end, and calls back. All that happens to an operation between submit and end happens on this
 * thread, in this order of events. What it does not do: block in anything but its back end's wait and a callback; touch an fd
 * itself.
 */
#ifndef UNSTICK_ENGINE_WORKER_H
#define UNSTICK_ENGINE_WORKER_H

#include <pthread.h>

#include "engine/linger.h"
#include "engine/op.h"

struct offload;
struct worker;

/* How a worker does network operations. All run on the worker's thread, but for ring(). */
struct back_end {
	const char *name;
	/* 0 or -errno. Sets worker->state. */
	int (*open)(struct worker *worker);
	/* Begins op; worker_returned() sooner or later, possibly before start() returns, never while it is not in start, cut
	 * or wait. */
	void (*start)(struct worker *worker, struct op *op);
	/* Hurries a started operation: worker_returned() soon, with what it came to, -ECANCELED if nothing. Called again after
	 * worker_cut_failed(). */
	void (*cut)(struct worker *worker, struct op *op);
	/* Gives to the kernel what start() and cut() have gathered, waits until something has happened, the worker was rung,
	 * or `until` has come (a moment in the past: does not wait), and calls worker_returned() for all that have ended. */
	void (*wait)(struct worker *worker, unstick_time until);
	/* Would wait() return at once? For a moment's look before it; may be NULL. */
	bool (*has_news)(const struct worker *worker);
	/* Ends a wait, present or next. Any thread; async-signal-safe. */
	void (*ring)(struct worker *worker);
	/* Frees everything. Nothing is under way. */
	void (*close)(struct worker *worker);
	/* In a forked child: closes the fds, nothing else. */
	void (*abandon)(struct worker *worker);
};

extern const struct back_end back_end_poll, back_end_uring;

struct worker_counts {
	_Atomic uint64_t begun, completed, cancels, expiries;
};

struct worker {
	/* Of others: */
	_Atomic(struct op *) arrivals; /* new operations: the first of the batch that came last, linked by queue.older */
	_Atomic(struct op *) inbox;    /* what others note about operations: last in, first out, linked by next */
	_Atomic uint32_t asleep;       /* it is going to wait, or waits: ring */
	_Atomic uint32_t phase;        /* enum worker_phase, a futex */
	_Atomic bool closing;
	/* Of the worker's own thread, or constant: */
	_Alignas(64) const struct back_end *back_end;
	void *state; /* the back end's */
	struct offload *offload;
	struct op_queue local; /* submitted by its own thread */
	struct op_cache cache;
	unstick_time now; /* worker_now(); 0: to be read */
	bool cut_all;
	struct lingering linger;
	bool has_left;  /* calls, to orphans, in this round */
	bool was_given; /* this round's work came from other threads: more may be on its way */
	int error;      /* of open() */
	pthread_t thread;
	struct worker_counts counts;
	struct wheel wheel;
};

enum worker_phase { WORKER_OPENING, WORKER_RUNS, WORKER_FAILED, WORKER_ENDED };

extern _Thread_local struct worker *worker_current;

/* The time, on the worker's thread; read once between waits and callbacks. */
static inline unstick_time worker_now(struct worker *worker)
{
	if (!worker->now)
		worker->now = unstick_now();
	return worker->now;
}

/* Starts the thread and waits until its back end is open. 0 or -errno. `worker` is zeroed but for back_end and offload. */
int worker_start(struct worker *worker);
/* Cancels all that it has, ends once all have ended. From any thread; may be called again. */
void worker_stop(struct worker *worker);
/* True once it has ended. */
bool worker_join(struct worker *worker, unstick_time until);
/* Waits for its end, and for those who are posting to it: they may be ringing until then. What they posted is dropped. */
void worker_finish(struct worker *worker);
/* Then: closes its back end. */
void worker_close(struct worker *worker);

/* Around a look at whether an operation has ended, and a post to its worker if not, by threads that nothing else makes the
 * worker wait for. Async-signal-safe. */
void worker_posters_enter(void);
void worker_posters_leave(void);
void worker_after_fork(void);

/* Tells the worker of op. The caller holds a reference. Any thread; async-signal-safe. */
void worker_post(struct op *op, unsigned note);
/* Gives new operations to the worker, with the engine's reference to each: `first` and what is linked to it by queue.next. Any
 * thread. */
void worker_give(struct worker *worker, struct op *first);

/* For back ends: op came to this. Kernel-internal numbers (-512...-516) count as -EINTR. A write that moved only a part is
 * begun again. */
void worker_returned(struct worker *worker, struct op *op, long result);
/* For back ends: cut() has come to nothing, and op has not ended: it is to be called again soon. */
void worker_cut_failed(struct worker *worker, struct op *op);
/* For back ends: it needs a thread after all (WAY_NETWORK becomes WAY_THREAD). */
void worker_pass_to_thread(struct worker *worker, struct op *op);

#endif
