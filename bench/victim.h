/* SPDX-License-Identifier: MIT
 *
 * A victim: a thread that blocks in a call again and again, and a canceller (the main thread) that ends the call, one sample each.
 *
 *     canceller                          victim
 *     prepare()                          sleeps at its gate
 *     opens the gate                     block(): makes the call
 *     waits until /proc says "blocked"
 *     t0; wake()                         comes out; victim_note() takes t1
 *     waits for the note                 back to the gate
 *     settle()
 *
 * The sample is t1 - t0. Everything but the line with t0 is the same in all cases, so differences are the way's own. One thread
 * plays the victims of all cases of a run in turn: with one thread each, the kernel kept some on the canceller's CPU and some on
 * the other, and the same case differed from itself by a factor of 3.5.
 * The victim is one of the harness's instances: victim_open, victim_block_run, victim_close.
 */
#ifndef BENCH_VICTIM_H
#define BENCH_VICTIM_H

#include "harness.h"
#include "os.h"

struct unstick_token;
struct victim;

struct victim_spec {
	long nr;                                /* the system call that it blocks in */
	bool one_shot;                          /* its end is the thread's end: a new thread each sample */
	void (*prepare)(struct victim *victim); /* canceller, before; may be NULL */
	void (*block)(struct victim *victim);   /* victim: calls victim_note() as its first act after the call */
	void (*wake)(struct victim *victim);    /* canceller: the way under test */
	void (*settle)(struct victim *victim);  /* canceller, after; may be NULL */
};

struct victim {
	const struct victim_spec *spec;
	const char *name;
	pthread_t thread;  /* of a one-shot victim */
	_Atomic pid_t tid; /* of the thread that plays it; 0 until that is known */
	int pipe[2];       /* nothing is ever written to it */
	int event;         /* an eventfd, for those who poll */
	struct unstick_token *token;
	unsigned long blocked_arg0; /* of the blocked call */
	_Atomic uint32_t word;      /* a futex for those who sleep on one */
	_Atomic uint32_t notes;     /* counted up by the victim, for the canceller */
	int64_t out;                /* t1; published by `notes` */
};

static inline void victim_note(struct victim *victim)
{
	victim->out = os_now();
}

/* For block(), after the note: dies unless `as_expected`; `why` says what came instead. */
void victim_expect(const struct victim *victim, bool as_expected, const char *why);

void *victim_open(const struct bench_case *bench_case, const struct bench_config *config);
void victim_block_run(void *instance, unsigned count, struct samples *samples);
void victim_close(void *instance);

/* Installs what the ways below need; a `begin` of the harness. */
void victim_begin(const struct benchmark *benchmark, const struct bench_config *config);

/* Ways that need no unstick: victims.c */
extern const struct victim_spec victim_tgkill, victim_look_tgkill, victim_pthread_cancel, victim_futex, victim_poll;

#endif
