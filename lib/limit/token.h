/* SPDX-License-Identifier: MIT
 *
 * Tokens, as the rest of the library sees them. Type-stable: a token's memory is recycled as a token, never returned, so that a
 * canceller may follow a stale pointer that it found in another thread's slots; what it concludes is validated by the generation of
 * that thread's state word.
 */
#ifndef UNSTICK_LIMIT_TOKEN_H
#define UNSTICK_LIMIT_TOKEN_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/lock.h"
#include "limit/alarm.h"

enum { TOKEN_MAX_DEPTH = 32 };

struct token_watch_list {
	struct unstick_watch *first;
};

struct unstick_token {
	_Atomic int error;                       /* 0 until it fires, then the reason; stored once, by compare-and-swap */
	_Atomic unsigned refs;                   /* 0: on the free list */
	_Atomic(struct unstick_token *) parent;  /* constant while refs > 0; holds a reference */
	unsigned depth;                          /* number of parents; constant while refs > 0 */
	_Atomic(struct unstick_token *) pending; /* link of the list of fired tokens whose tree is still to be told */
	/* Under the tree lock: */
	int fd;                                        /* eventfd, -1 none */
	struct unstick_token *children, *next, **back; /* siblings, doubly linked */
	struct unstick_token *free_next, *batch_next;  /* free list; tokens taken out of the heap together */
	struct token_watch_list watches;
	unstick_time deadline; /* in the heap while `place` is not 0 */
	size_t place;          /* index in the heap, from 1 */
};

/* Guards the tree (children, fds, watches, the deadline heap, free lists). A holder must drop it with token_unlock(), which
 * tells the trees of tokens that were fired meanwhile: cancel never waits for the lock. Order: tree lock, nothing below it. */
extern struct lock token_lock;
void token_unlock(void);

/* The reason, looking at the parents. The caller holds a reference. Async-signal-safe. */
int token_error(struct unstick_token *token);

/* Is `ancestor` in the chain of parents that starts at `token`, which may be stale? Bounded. Async-signal-safe. */
bool token_is_below(const struct unstick_token *token, const struct unstick_token *ancestor);

/* Fires it; false if it had fired. Async-signal-safe. */
bool token_fire(struct unstick_token *token, int error);

/* `listener` is called by token_fire() after the token's error is stored, on the firing thread, which may be in a signal handler:
 * it finds and wakes whoever is bound to the token or to one below it. Set during initialisation. */
void token_set_listener(void (*listener)(struct unstick_token *));

/* What unstick_token_wait() sleeps on: bumped when a token has fired, and by token_tell_waiters() when something that a token
 * held has ended. Whoever ends something: store that (seq_cst), then load token_waiters; the waiter adds to token_waiters,
 * then looks. */
extern _Atomic uint32_t token_events, token_waiters;
void token_tell_waiters(void);

/* Is there a deadline for the monitor to see to? */
bool token_has_deadlines(void);

/* alarm source: fires tokens whose deadline has passed. */
alarm_scan token_scan;

void token_before_fork(void);
void token_after_fork_parent(void);
void token_after_fork_child(void);

#endif
