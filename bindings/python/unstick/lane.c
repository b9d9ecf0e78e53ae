/* SPDX-License-Identifier: MIT */
#include "lane.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frames.h"
#include "scope.h"

static const unstick_time PEACE = 10 * PY_MS, GRACE = 1000 * PY_MS;

static struct lane *lanes;
static unsigned walkers; /* who may let other threads run while it holds a pointer to a lane */
_Thread_local struct lane *lane_own;
static pthread_key_t end_key;

static void thread_ends(void *lane)
{
	lane_own = NULL; /* what ends after this gets another */
	atomic_store(&((struct lane *)lane)->ended, true);
}

int lane_initialise(void)
{
	return -pthread_key_create(&end_key, thread_ends);
}

/* Lanes of threads that have ended. A scope that is still in one is in a frame that nobody will run again. */
static void drop_ended(void)
{
	if (walkers)
		return;
	struct lane **i = &lanes;
	while (*i) {
		struct lane *lane = *i;
		if (!atomic_load(&lane->ended) || lane->top) {
			i = &lane->next;
			continue;
		}
		*i = lane->next;
		free(lane);
	}
}

/* A thread that asks for limits wants the signal that keeps them, even if it blocks all others for its sigwait(). */
static void let_signal_in(void)
{
	sigset_t ours;
	int error = unstick_init(NULL);
	sigemptyset(&ours);
	if ((error == 0 || error == -EALREADY) && sigaddset(&ours, unstick_signal()) == 0)
		pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

struct lane *lane_new(void)
{
	drop_ended();
	struct lane *lane = calloc(1, sizeof *lane);
	if (!lane || pthread_setspecific(end_key, lane)) {
		free(lane);
		return NULL;
	}
	let_signal_in();
	lane->ident = PyThread_get_thread_ident();
	lane->tid = (pid_t)syscall(SYS_gettid);
	lane->next = lanes;
	lanes = lane;
	lane_own = lane;
	return lane;
}

/* The child has one thread, and its scopes do not fire any more, as those of the library. */
void lane_after_fork(void)
{
	lanes = lane_own;
	walkers = 0;
	if (!lane_own)
		return;
	lane_own->next = NULL;
	lane_own->tid = (pid_t)syscall(SYS_gettid);
	for (struct scope *i = lane_own->top; i; i = i->outer)
		scope_disable(i);
}

bool lane_is_shielded(unsigned long ident)
{
	const struct lane *lane = lanes;
	while (lane && (lane->ident != ident || atomic_load(&lane->ended)))
		lane = lane->next;
	const struct scope *i = lane ? lane->top : NULL;
	while (i && !i->admits && i->kind != SCOPE_SHIELD)
		i = i->outer;
	return i && !i->admits;
}

/* ---- firing */

static unstick_time earlier(unstick_time a, unstick_time b)
{
	return a < b ? a : b;
}

/* The scope that is being fired, or is to be; *next: when the others will be due. */
static struct scope *find_due(struct lane *lane, unstick_time now, unstick_time *next)
{
	struct scope *due = NULL;
	for (struct scope *i = lane->top; i && i->kind != SCOPE_SHIELD; i = i->outer) {
		if (scope_under_way(i))
			return i;
		if (i->spent)
			continue;
		if (scope_reason(i, now))
			due = i;
		else
			*next = earlier(*next, i->deadline);
	}
	return due;
}

/* When the thread may get another exception. It may be let run while it is asked. */
static unstick_time peace_until(const struct lane *lane, unstick_time now)
{
	if (lane->taken_at == 0 || now >= lane->taken_at + GRACE)
		return now;
	if (now < lane->taken_at + PEACE)
		return lane->taken_at + PEACE;
	return frames_handle_exception(lane->ident) ? now + PEACE : now;
}

static unstick_time step(struct lane *lane, unstick_time now)
{
	unstick_time next = UNSTICK_NEVER;
	struct scope *due = find_due(lane, now, &next);
	if (!due)
		return next;
	struct delivery *delivery = scope_under_way(due);
	if (!delivery) {
		unstick_time until = peace_until(lane, now);
		if (until > now)
			return earlier(next, until);
		due = find_due(lane, now, &next); /* it may have been left, and others entered */
		delivery = !due ? NULL : scope_under_way(due) ? scope_under_way(due) : scope_fire(due);
		if (!delivery)
			return earlier(next, now + PEACE);
	}
	if (delivery->at > now)
		return earlier(next, delivery->at);
	Py_INCREF(due); /* while it is pushed the thread may leave it */
	delivery_push(delivery);
	if (delivery->open && !delivery->gone)
		next = earlier(next, delivery->at);
	if (delivery->open)
		scope_tell_overdue(due, now);
	Py_DECREF(due);
	return next;
}

unstick_time lane_step(struct lane *lane, unstick_time now)
{
	walkers++;
	unstick_time next = step(lane, now);
	walkers--;
	return next;
}

unstick_time lane_step_all(unstick_time now)
{
	unstick_time next = UNSTICK_NEVER;
	walkers++; /* meanwhile lanes may come, at the head, but none goes */
	for (struct lane *lane = lanes; lane; lane = lane->next)
		if (lane->top && !atomic_load(&lane->ended))
			next = earlier(next, step(lane, now));
	walkers--;
	return next;
}
