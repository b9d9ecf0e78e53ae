/* SPDX-License-Identifier: MIT
 *
 * The inside of a trial: what trial.c, trial_scope.c and trial_alone.c share.
 * The hooks, run by the stuck thread, write what the trial's own thread reads only after the stuck one is done.
 */
#ifndef STUCK_TRIAL_INSIDE_H
#define STUCK_TRIAL_INSIDE_H

#include <semaphore.h>
#include <stdatomic.h>

#include "trial.h"

/* ThreadSanitizer runs handlers after the call that they interrupted: the kernel's EINTR is what libc's calls then give. */
#if defined(__SANITIZE_THREAD__)
#define HANDLERS_ARE_LATE true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HANDLERS_ARE_LATE true
#endif
#endif
#ifndef HANDLERS_ARE_LATE
#define HANDLERS_ARE_LATE false
#endif

#define PATIENCE_MS 5000 /* for what must happen: only so that a failure gets a name; less than the parent's clock */

struct trial {
	const struct situation *what;
	enum stuck_way way;
	enum moment moment;
	struct stuck *stuck;
	struct unstick_token *token;
	struct unstick_thread *_Atomic thread;
	struct unstick_scope scope;
	unstick_time deadline; /* that must not be early; 0: none */
	int reason;            /* what the scope or token gives */
	int begin_error, scope_error, stray;
	unstick_time out_at;
	sem_t told; /* an interrupt's outcome is known: the thread may end */
	char *why;
	size_t room;
};

/* Adds to what is wrong. */
void trial_complain(struct trial *trial, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, with what the thread is doing and what the library says of it. */
void trial_describe(struct trial *trial, const char *wrong);
bool trial_await_blocked(struct trial *trial);
/* Releases it, and it comes out. */
void trial_release(struct trial *trial);
/* Whether unstick_thread_interrupt() may come to this. */
bool trial_has_kind(const struct situation *what, int kind);
/* Whether `r` is what a call that was cut short for `reason` gives. */
bool trial_is_cut(const struct trial *trial, long r, int reason);

void trial_in_scope(struct trial *trial);
void trial_alone(struct trial *trial);

#endif
