/* SPDX-License-Identifier: MIT
 *
 * A job, from its start to its end:
 *
 *     QUEUED --> RUNNING --> DONE, CANCELLED, TIMED_OUT, FAILED          by its thread
 *       |           `-----> ABANDONED ----> CANCELLED, TIMED_OUT         by the monitor, or by who closes; then by its thread, if it comes back
 *       `-----------------> CANCELLED, TIMED_OUT                         by the monitor: it never runs
 *
 * Each arrow is made under the pool's lock, so there are no races between them. Who takes a job out of the queue, or runs it, is the
 * one that ends it.
 */
#ifndef UNSTICK_POOL_JOB_H
#define UNSTICK_POOL_JOB_H

#include "pool/pool.h"

struct process;

struct unstick_job {
	_Atomic uint32_t state; /* 0: not queued yet; stored under the lock; joiners sleep on it */
	_Atomic unsigned refs;
	/* Constant: */
	struct unstick_pool *pool; /* a reference */
	char name[32];
	void *(*run)(void *arg); /* NULL: a process job */
	void *arg;
	struct process *process;
	unstick_time deadline;
	struct unstick_token *token; /* below the caller's, or the pool's */
	bool has_own_parent;         /* the caller's: closing the pool does not fire it */
	/* Whose who ends it: */
	struct unstick_watch *watch;
	void *result; /* stored before the state of its end */
	/* Under the lock: */
	int error; /* the reason it was cut short, or what a failed one failed with; stored before the state that tells it */
	struct unstick_job *next, **back;
	unstick_time begun, cut; /* cut: when it was seen that it is to be cut short; 0: not */
	pid_t tid;
	struct unstick_thread *thread; /* a reference, from its begin on */
	struct unstick_outcome outcome;
	uint64_t abandoned_number; /* the how many-th of the pool's; 0: never */
	unstick_time abandoned_at;
	_Atomic bool left_told;          /* the log has been told that it was left */
	struct unstick_job *next_to_cut; /* whose who closes the pool */
	/* The warden's, under its lock: */
	struct warden_entry {
		struct unstick_job *next, **back; /* back NULL: not watched */
		unstick_time at;
		unstick_time gap; /* to the next look */
		int64_t switches; /* at the last look; -1: it was not seen to be uninterruptible */
		bool uncut;       /* to be cancelled, not looked at */
		bool forgotten;   /* it has ended */
	} warden;
};

/* The one that this thread runs. In static TLS: the first use of another kind allocates, and it may be in a signal handler. */
extern _Thread_local struct unstick_job *job_current __attribute__((tls_model("initial-exec")));

void job_list_init(struct job_list *list);
void job_list_add(struct job_list *list, struct unstick_job *job);
void job_list_remove(struct job_list *list, struct unstick_job *job);

/* Takes the first of the queue, which is then to be ended by the caller. NULL: there is none, or the pool has more threads than that. */
struct unstick_job *job_take_queued(struct unstick_pool *pool, unsigned most_threads);

/* Tells the log, and returns `error`. `name` NULL: of no job. */
int job_refuse(const char *function, const char *name, int error, const char *why);

/* Nothing of it runs, or will. */
bool job_is_over(const struct unstick_job *job);

/* Why it is cut short: its token's error, else that the pool is closed. */
int job_reason(const struct unstick_job *job);
/* -ECANCELED and -ETIMEDOUT as states. */
int job_state_of(int reason);

/* By who took it out of the queue, or has run it; not under the lock. `state` and `error` as in struct unstick_job; an abandoned one
 * gets its reason instead. True: it had been abandoned. Drops the pool's reference. */
bool job_end(struct unstick_job *job, int state, int error, void *result);

/* RUNNING -> ABANDONED, unless it has ended meanwhile. `outcome` is kept, and told to the log; NULL: neither. Not under the lock. */
void job_abandon(struct unstick_job *job, const struct unstick_outcome *outcome);

/* What it is stuck in now. False: it cannot be seen, *outcome is that of its thread's last attempt. `report` is filled if true. */
bool job_look(struct unstick_job *job, struct unstick_outcome *outcome, struct unstick_report *report);

#endif
