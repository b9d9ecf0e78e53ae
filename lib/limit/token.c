/* SPDX-License-Identifier: MIT
 *
 * Cancel tokens: a tree by parent, each firing once with a reason.
 *
 * Truth is in the chain: a token has fired if it or one of its parents has. What a fire also does for those below it
 * (eventfds, watches) walks the tree under token_lock; a canceller that finds the lock taken, perhaps by the very thread it
 * interrupted, leaves its token on `fired`, and the holder deals with it after release. So cancel waits for nothing, allocates
 * nothing, and works in a signal handler. Deadlines are in heap.c; watches in watch.c; who is blocked in scopes on a token is
 * the listener's business.
 */
#include "limit/token.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "base/raw.h"
#include "limit/heap.h"
#include "limit/moment.h"
#include "limit/limit.h"
#include "limit/watch.h"

enum { CHUNK = 64 };

struct chunk {
	struct chunk *next;
	struct unstick_token token[CHUNK];
};

struct lock token_lock;

static struct chunk *chunks;                  /* under token_lock; never freed */
static struct unstick_token *free_list;       /* under token_lock */
static _Atomic(struct unstick_token *) fired; /* pushed by cancellers; each token at most once in its life */
static void (*_Atomic listener)(struct unstick_token *);
_Atomic uint32_t token_events, token_waiters;

void token_set_listener(void (*fn)(struct unstick_token *))
{
	atomic_store(&listener, fn);
}

void token_tell_waiters(void)
{
	atomic_fetch_add(&token_events, 1);
	futex_wake(&token_events, INT_MAX);
}

/* ---- the tree is told */

static void tell_one(struct unstick_token *token, int error)
{
	int unfired = 0;
	atomic_compare_exchange_strong(&token->error, &unfired, error);
	if (token->fd >= 0) {
		uint64_t one = 1;
		RAW_3(SYS_write, token->fd, &one, sizeof one);
	}
	if (watch_queue_all(token))
		alarm_ring();
	if (token->place)
		heap_remove(token);
}

/* Depth first through parent links: a deep tree must not need a deep stack, we may be in a signal handler. */
static void tell_tree(struct unstick_token *root, int error)
{
	struct unstick_token *at = root;
	for (;;) {
		tell_one(at, error);
		if (at->children) {
			at = at->children;
			continue;
		}
		while (at != root && !at->next)
			at = atomic_load_explicit(&at->parent, memory_order_relaxed);
		if (at == root)
			return;
		at = at->next;
	}
}

static struct unstick_token *release_locked(struct unstick_token *token);

static void tell_fired(void)
{
	struct unstick_token *token = atomic_exchange(&fired, NULL);
	while (token) {
		struct unstick_token *next = atomic_load_explicit(&token->pending, memory_order_relaxed);
		tell_tree(token, atomic_load(&token->error));
		while (token)
			token = release_locked(token); /* the reference that token_fire() took */
		token = next;
	}
}

void token_unlock(void)
{
	for (;;) {
		lock_drop(&token_lock);
		if (!atomic_load(&fired) || !lock_try(&token_lock))
			return; /* nothing to tell, or the new holder will */
		tell_fired();
	}
}

static bool mark(struct unstick_token *token, int error)
{
	int unfired = 0;
	return !token_error(token) && atomic_compare_exchange_strong(&token->error, &unfired, error);
}

/* Its error is stored, by us: now everybody is told. */
static void announce(struct unstick_token *token)
{
	void (*listen)(struct unstick_token *) = atomic_load(&listener);
	if (listen)
		listen(token);
	if (atomic_load(&token_waiters))
		token_tell_waiters();
	unstick_token_ref(token);
	struct unstick_token *head = atomic_load(&fired);
	do {
		atomic_store_explicit(&token->pending, head, memory_order_relaxed);
	} while (!atomic_compare_exchange_weak(&fired, &head, token));
	if (lock_try(&token_lock)) {
		tell_fired();
		token_unlock();
	}
}

bool token_fire(struct unstick_token *token, int error)
{
	if (!mark(token, error))
		return false;
	announce(token);
	return true;
}

/* ---- errors and ancestry */

int token_error(struct unstick_token *token)
{
	const struct unstick_token *at = token;
	for (unsigned i = 0; at && i <= TOKEN_MAX_DEPTH; i++) {
		int error = atomic_load(&at->error);
		if (error) {
			int unfired = 0; /* the first reason seen stays: a parent fired, then our own deadline */
			if (at != token && !atomic_compare_exchange_strong(&token->error, &unfired, error))
				return unfired;
			return error;
		}
		at = atomic_load_explicit(&at->parent, memory_order_acquire);
	}
	return 0;
}

bool token_is_below(const struct unstick_token *token, const struct unstick_token *ancestor)
{
	for (unsigned i = 0; token && i <= TOKEN_MAX_DEPTH; i++) {
		if (token == ancestor)
			return true;
		token = atomic_load_explicit(&token->parent, memory_order_acquire);
	}
	return false;
}

/* ---- life */

static bool grow(void)
{
	struct chunk *chunk = calloc(1, sizeof *chunk);
	if (!chunk)
		return false;
	chunk->next = chunks;
	chunks = chunk;
	for (size_t i = 0; i < CHUNK; i++) {
		chunk->token[i].fd = -1;
		chunk->token[i].free_next = free_list;
		free_list = &chunk->token[i];
	}
	return true;
}

static void link_child(struct unstick_token *token, struct unstick_token *parent)
{
	token->next = parent->children;
	token->back = &parent->children;
	if (token->next)
		token->next->back = &token->next;
	parent->children = token;
}

static void unlink_child(struct unstick_token *token)
{
	*token->back = token->next;
	if (token->next)
		token->next->back = token->back;
	token->next = NULL;
	token->back = NULL;
}

int unstick_token_new(struct unstick_token **ret, struct unstick_token *parent)
{
	if (!ret)
		return -EINVAL;
	if (parent && parent->depth + 1 > TOKEN_MAX_DEPTH)
		return -ELOOP;
	limit_initialise();
	lock_take(&token_lock);
	if (!free_list && !grow()) {
		token_unlock();
		return -ENOMEM;
	}
	struct unstick_token *token = free_list;
	free_list = token->free_next;
	token->depth = parent ? parent->depth + 1 : 0;
	token->deadline = UNSTICK_NEVER;
	atomic_store_explicit(&token->error, 0, memory_order_relaxed);
	atomic_store_explicit(&token->parent, unstick_token_ref(parent), memory_order_relaxed);
	atomic_store_explicit(&token->refs, 1, memory_order_release);
	if (parent)
		link_child(token, parent);
	token_unlock();
	*ret = token;
	return 0;
}

struct unstick_token *unstick_token_ref(struct unstick_token *token)
{
	if (token)
		atomic_fetch_add_explicit(&token->refs, 1, memory_order_relaxed);
	return token;
}

/* Drops one reference; if it was the last, recycles the token and returns the parent, whose reference is then to be dropped. */
static struct unstick_token *release_locked(struct unstick_token *token)
{
	if (atomic_fetch_sub_explicit(&token->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	struct unstick_token *parent = atomic_load_explicit(&token->parent, memory_order_relaxed);
	if (parent)
		unlink_child(token);
	if (token->place)
		heap_remove(token);
	if (token->fd >= 0)
		RAW_1(SYS_close, token->fd);
	token->fd = -1;
	atomic_store_explicit(&token->parent, NULL, memory_order_relaxed);
	token->free_next = free_list;
	free_list = token;
	return parent;
}

struct unstick_token *unstick_token_unref(struct unstick_token *token)
{
	if (!token)
		return NULL;
	lock_take(&token_lock);
	while (token)
		token = release_locked(token);
	token_unlock();
	return NULL;
}

int unstick_token_cancel(struct unstick_token *token)
{
	if (!token)
		return -EINVAL;
	token_fire(token, -ECANCELED);
	return 0;
}

int unstick_token_error(const struct unstick_token *token)
{
	return token ? token_error((struct unstick_token *)(uintptr_t)token) : -EINVAL;
}

/* ---- deadlines */

int unstick_token_set_deadline(struct unstick_token *token, unstick_time when)
{
	int error = token ? moment_check("unstick_token_set_deadline", "when", when) : -EINVAL;
	if (error || (error = alarm_start()))
		return error;
	lock_take(&token_lock);
	if (token_error(token))
		error = -EALREADY;
	else
		error = heap_set(token, when);
	token_unlock();
	if (!error && alarm_is_late_for(when)) {
		if (unstick_now() >= when)
			token_fire(token, -ETIMEDOUT);
		else
			alarm_ring();
	}
	return error;
}

unstick_time token_scan(unstick_time now)
{
	struct unstick_token *due = NULL, *token;
	lock_take(&token_lock);
	while ((token = heap_first()) && token->deadline <= now) {
		heap_remove(token);
		if (!mark(token, -ETIMEDOUT)) /* under the lock: a later deadline comes before it or is refused */
			continue;
		token->batch_next = due;
		due = unstick_token_ref(token);
	}
	unstick_time next = token ? token->deadline : UNSTICK_NEVER;
	token_unlock();
	while (due) {
		token = due;
		due = token->batch_next;
		announce(token);
		unstick_token_unref(token);
	}
	return next;
}

bool token_has_deadlines(void)
{
	lock_take(&token_lock);
	bool any = heap_first() != NULL;
	token_unlock();
	return any;
}

/* ---- the eventfd */

int unstick_token_fd(struct unstick_token *token)
{
	if (!token)
		return -EINVAL;
	if (token_has_deadlines()) /* in a forked child the monitor is to be started again */
		(void)alarm_start();
	lock_take(&token_lock);
	if (token->fd < 0) {
		unsigned fired_already = token_error(token) ? 1 : 0;
		long fd = RAW_2(SYS_eventfd2, fired_already, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0) {
			token_unlock();
			return (int)fd;
		}
		token->fd = (int)fd;
	}
	int fd = token->fd;
	token_unlock();
	return fd;
}

/* ---- fork: the tree is consistent in the child, because the lock is held over the fork */

void token_before_fork(void)
{
	lock_take(&token_lock);
}

void token_after_fork_parent(void)
{
	token_unlock();
}

/* The child must not make the parent's eventfds readable: it gets its own under the same numbers. */
static void own_fd(struct unstick_token *token)
{
	unsigned fired_already = token_error(token) ? 1 : 0;
	long fd = RAW_2(SYS_eventfd2, fired_already, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return;
	RAW_3(SYS_dup3, fd, token->fd, O_CLOEXEC);
	RAW_1(SYS_close, fd);
}

void token_after_fork_child(void)
{
	watch_after_fork_child();
	for (struct chunk *chunk = chunks; chunk; chunk = chunk->next)
		for (size_t i = 0; i < CHUNK; i++) {
			if (chunk->token[i].fd >= 0)
				own_fd(&chunk->token[i]);
			watch_drop_all(&chunk->token[i]);
		}
	token_unlock();
}
