/* SPDX-License-Identifier: MIT
 *
 * Poking: one signal to one thread whose scope has fired, sent only after a look says that it can help.
 * Everything here is async-signal-safe, waits for no lock and allocates nothing: it is the cancel path.
 */
#ifndef UNSTICK_WAKE_POKE_H
#define UNSTICK_WAKE_POKE_H

#include "wake/thread.h"

enum poke_how {
	POKE_FIRST, /* the scope has just fired */
	POKE_AGAIN, /* a second look: asks also why the last signal did nothing */
};

enum poke_result {
	POKE_MISSED,  /* the scope is over, or another poker is at it */
	POKE_SENT,    /* a signal was sent */
	POKE_RUNNING, /* none: the thread runs */
	POKE_LEFT,    /* none: the call must be left alone, or the kernel refused the signal; the outcome says why */
};

/* Pokes the thread if its scope is still the one of `state`, and marks it as fired. *progress: since the last poke of this
 * scope a call has taken its error. */
enum poke_result poke_thread(struct unstick_thread *thread, uint64_t state, enum poke_how how, bool *progress);

/* Token listener: pokes every thread that has a scope in force on the token or on one below it. */
void poke_token(struct unstick_token *token);

#endif
