/* SPDX-License-Identifier: MIT */
#include "limit/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* Doubly linked through the address of whatever points here, so that one unlink serves the token's list and the queue. */
struct unstick_watch {
	struct unstick_watch *next, **back; /* back NULL: on no list */
	struct unstick_token *token;        /* a reference */
	void (*fn)(void *arg, int error);
	void *arg;
};

/* Under token_lock: */
static struct unstick_watch *queue;
static struct unstick_watch *running;

static _Atomic uint32_t finished; /* counts calls that have returned; watch_free() sleeps on it */

static void push(struct unstick_watch *watch, struct unstick_watch **list)
{
	watch->next = *list;
	watch->back = list;
	if (watch->next)
		watch->next->back = &watch->next;
	*list = watch;
}

static void unlink_watch(struct unstick_watch *watch)
{
	*watch->back = watch->next;
	if (watch->next)
		watch->next->back = watch->back;
	watch->back = NULL;
}

bool watch_queue_all(struct unstick_token *token)
{
	struct unstick_watch *watch;
	bool any = false;
	while ((watch = token->watches.first)) {
		unlink_watch(watch);
		push(watch, &queue);
		any = true;
	}
	return any;
}

void watch_drop_all(struct unstick_token *token)
{
	while (token->watches.first)
		unlink_watch(token->watches.first);
}

void watch_after_fork_child(void)
{
	while (queue)
		unlink_watch(queue);
	running = NULL;
}

unstick_time watch_scan(unstick_time now)
{
	(void)now;
	lock_take(&token_lock);
	while (queue) {
		running = queue;
		unlink_watch(running);
		struct unstick_watch copy = *running; /* fn may free the watch */
		unstick_token_ref(copy.token);
		token_unlock();
		copy.fn(copy.arg, unstick_token_error(copy.token));
		unstick_token_unref(copy.token);
		lock_take(&token_lock);
		running = NULL;
		atomic_fetch_add(&finished, 1);
		futex_wake(&finished, INT_MAX);
	}
	token_unlock();
	return UNSTICK_NEVER;
}

int unstick_token_watch(struct unstick_token *token, struct unstick_watch **ret, void (*fn)(void *arg, int error), void *arg)
{
	int error = token && ret && fn ? alarm_start() : -EINVAL;
	if (error)
		return error;
	struct unstick_watch *watch = malloc(sizeof *watch);
	if (!watch)
		return -ENOMEM;
	*watch = (struct unstick_watch){.token = unstick_token_ref(token), .fn = fn, .arg = arg};
	*ret = watch; /* before fn can run: it may free its own watch */
	lock_take(&token_lock);
	bool fired_already = token_error(token) != 0;
	push(watch, fired_already ? &queue : &token->watches.first);
	token_unlock();
	if (fired_already)
		alarm_ring();
	return 0;
}

struct unstick_watch *unstick_watch_free(struct unstick_watch *watch)
{
	if (!watch)
		return NULL;
	lock_take(&token_lock);
	if (watch->back)
		unlink_watch(watch);
	while (running == watch && !alarm_is_self()) {
		uint32_t seen = atomic_load(&finished);
		token_unlock();
		futex_sleep(&finished, seen, UNSTICK_NEVER);
		lock_take(&token_lock);
	}
	token_unlock();
	unstick_token_unref(watch->token);
	free(watch);
	return NULL;
}
