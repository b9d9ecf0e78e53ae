/* SPDX-License-Identifier: MIT */
#include "delivery.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arrival.h"
#include "condition.h"
#include "frames.h"
#include "main_thread.h"
#include "turns.h"

/* After a call was ended its error is given these many looks (63 ms) to become an exception, before the slot is used as well. */
enum { LOOKS_FOR_ERROR = 6 };
/* So many calls ended and no exception: code that makes the same poll again whatever its error (ssl with a timeout). */
enum { CUTS_BEFORE_EXPIRE = 3 };

/* Where the kernel does not tell for how long a thread has not run: so many looks (31 ms) are no wait for the GIL. */
enum { LOOKS_AT_GIL = 5 };

static const int64_t NO_GIL = 20 * PY_MS;
static const unstick_time FIRST_GAP = 1 * PY_MS, LAST_GAP = 50 * PY_MS, GRACE = 1000 * PY_MS;

struct delivery *delivery_list;

/* ---- the asynchronous slot */

static bool others_in_slot(const struct delivery *me)
{
	for (const struct delivery *i = delivery_list; i; i = i->next)
		if (i != me && i->ident == me->ident && i->in_slot)
			return true;
	return false;
}

static void slot_clear(struct delivery *me)
{
	if (me->in_slot && !others_in_slot(me))
		PyThreadState_SetAsyncExc(me->ident, NULL);
	me->in_slot = false;
}

static void slot_set(struct delivery *me)
{
	me->in_slot = PyThreadState_SetAsyncExc(me->ident, arrival_type) > 0;
	me->gone = !me->in_slot;
}

/* ---- open, close, take */

static void unlink_it(struct delivery *me)
{
	struct delivery **i = &delivery_list;
	while (*i && *i != me)
		i = &(*i)->next;
	if (*i)
		*i = me->next;
	me->open = false;
}

int delivery_open(struct delivery *me)
{
	me->taken = me->cut = me->gone = me->in_slot = false;
	me->looks_since_cut = me->looks_in_call = me->cuts = 0;
	me->off_list = false;
	me->turns = -1;
	me->thread = NULL;
	me->gap = FIRST_GAP;
	me->begun = unstick_now();
	me->at = 0; /* by whoever has opened it, now */
	me->outcome = (struct unstick_outcome){.nr = -1, .fd = -1, .state = '?', .tid = me->tid};
	atomic_store(&me->word, 0);
	int error = unstick_thread_find(&me->thread, me->tid);
	if (error && error != -ESRCH)
		return error;
	me->gone = error == -ESRCH;
	me->next = delivery_list;
	delivery_list = me;
	me->open = true;
	return 0;
}

void delivery_close(struct delivery *me)
{
	if (!me->open)
		return;
	slot_clear(me);
	unlink_it(me);
	me->thread = unstick_thread_unref(me->thread);
}

void delivery_hold(unsigned long ident)
{
	for (struct delivery *i = delivery_list; i; i = i->next)
		if (i->ident == ident)
			slot_clear(i);
}

static struct delivery *find_for_caller(enum delivery_way way)
{
	unsigned long self = PyThread_get_thread_ident();
	pid_t tid = (pid_t)syscall(SYS_gettid); /* idents are used again */
	struct delivery *me = delivery_list;
	while (me && !(me->ident == self && me->tid == tid && (way == DELIVERY_BY_CALL ? me->cut : me->in_slot)))
		me = me->next;
	return me;
}

bool delivery_for_caller(void)
{
	return find_for_caller(DELIVERY_BY_SLOT);
}

bool delivery_take(enum delivery_way way)
{
	struct delivery *me = find_for_caller(way);
	if (!me)
		return false;
	if (way == DELIVERY_BY_SLOT)
		me->in_slot = false; /* CPython has emptied it */
	delivery_close(me);
	me->taken = true;
	me->by_slot = way == DELIVERY_BY_SLOT;
	me->taken_at = unstick_now();
	me->outcome.kind = UNSTICK_WOKEN;
	me->outcome.ns = me->taken_at - me->begun;
	if (way == DELIVERY_BY_SLOT && !me->cut) {
		me->outcome.nr = me->outcome.fd = -1;
		me->outcome.error = 0;
	}
	atomic_store(&me->word, 1);
	syscall(SYS_futex, &me->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	me->raise(me); /* last: it may let go of the GIL, and then whoever owns this may drop it */
	return true;
}

/* ---- one look */

static int end_its_call(struct delivery *me, struct unstick_outcome *outcome)
{
	/* CPython makes an exception of any errno of these. */
	static const long allow[] = {SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_openat,
	                             SYS_open,       SYS_pause,       SYS_rt_sigsuspend};
	struct unstick_interrupt_options options = {
	        .size = sizeof options, .error = arrival_errno, .allow = allow, .allowed = sizeof allow / sizeof allow[0]};
	if (me->cuts >= CUTS_BEFORE_EXPIRE)
		options.flags = UNSTICK_POLLS_EXPIRE;
	return unstick_thread_interrupt_with(me->thread, 0, &options, outcome);
}

/* In Condition.wait(). Nothing is done to it while it cannot be taken off the list: it has been notified, and will have left soon, or it
 * waits for the condition's lock. */
static void push_waiter(struct delivery *me, struct condition_wait *wait)
{
	if (!me->open || !condition_take_off(wait))
		return;
	slot_set(me);
	me->off_list = true;
	condition_wake(wait);
}

/* It will have left that code soon; one that is there whenever it is looked at is hit in the end. */
static bool is_spared(const struct delivery *me)
{
	return unstick_now() - me->begun < GRACE && frames_hold_locks(me->ident);
}

/* It has been given no processor for several of the intervals in which it would look for the GIL. */
static bool waits_for_lock(struct delivery *me)
{
	int64_t turns = turns_of(me->tid);
	if (turns < 0)
		return me->looks_in_call >= LOOKS_AT_GIL;
	if (turns != me->turns) {
		me->turns = turns;
		me->turns_seen = unstick_now();
	}
	return unstick_now() - me->turns_seen >= NO_GIL;
}

/* Raised by the slot when a call returns, an exception takes the place of what the call has got: bytes that recv() took, a lock that acquire()
 * now holds. So it is left until the thread is found elsewhere, or in a call that waits. The main thread's wait for a lock can be ended
 * before it has it. */
static bool would_lose(struct delivery *me, bool locked)
{
	if (!frames_in_call(me->ident))
		return false;
	me->looks_in_call++;
	if (locked && waits_for_lock(me))
		return me->tid != getpid();
	return unstick_now() - me->begun < GRACE;
}

/* true: it is soon to be looked at again. */
static bool push_slot(struct delivery *me, bool locked)
{
	struct condition_wait wait;
	if (frames_start_thread(me->ident))
		return true;
	if (condition_find(&wait, me->ident)) {
		push_waiter(me, &wait);
		condition_forget(&wait);
	} else if (is_spared(me)) {
		return true;
	} else if (!would_lose(me, locked) && me->open) { /* asking may have let the thread run */
		slot_set(me);
		if (locked && me->in_slot && me->tid == getpid())
			main_thread_wake();
	}
	return false;
}

/* It runs, or waits for the GIL, which we hold, or for a lock. true: it is soon to be looked at again. */
static bool push_running(struct delivery *me, bool locked)
{
	/* No error of its call will be seen: the slot, which this look has emptied, is all there is. */
	if (me->cut && me->swallowed) {
		slot_set(me);
		return false;
	}
	/* The error of its call comes first: it may only be waiting for the GIL. */
	if (me->cut && ++me->looks_since_cut < LOOKS_FOR_ERROR)
		return false;
	if (me->cut && unstick_now() - me->begun < GRACE && frames_handle_exception(me->ident))
		return false; /* the error has become another exception */
	if (!me->open)
		return false;
	return push_slot(me, locked);
}

static void look_later(struct delivery *me, bool soon)
{
	me->gap = soon ? FIRST_GAP : 2 * me->gap < LAST_GAP ? 2 * me->gap : LAST_GAP;
	me->at = unstick_now() + me->gap;
}

static void push(struct delivery *me)
{
	struct unstick_outcome outcome;
	if (!me->open || me->gone)
		return;
	/* One that has been woken must not get by without the exception. */
	if (me->off_list || me->ident == PyThread_get_thread_ident()) {
		slot_set(me);
		look_later(me, false);
		return;
	}
	/* In clean-up code the next call is another. */
	if (me->cut && me->looks_since_cut > 0 && unstick_now() - me->begun < GRACE && frames_handle_exception(me->ident)) {
		look_later(me, false);
		return;
	}
	if (me->cuts == 0)
		me->swallowed = frames_swallow_errors(me->ident);
	if (!me->open) /* asking may have let the thread run */
		return;
	slot_clear(me);
	int error = end_its_call(me, &outcome);
	if (error) {
		outcome = me->outcome;
		outcome.kind = UNSTICK_NOT_INSPECTABLE;
	}
	if (!me->cut || (!error && outcome.kind == UNSTICK_WOKEN))
		me->outcome = outcome;
	bool ended = !error && outcome.kind == UNSTICK_WOKEN, soon = ended;
	if (ended) {
		me->cut = true;
		me->cuts++;
		me->looks_since_cut = 0;
		if (me->swallowed && me->open && !me->taken)
			slot_set(me);
	} else if (outcome.kind == UNSTICK_GONE) {
		me->gone = true;
	} else if (!error && (outcome.kind == UNSTICK_NOT_BLOCKED || outcome.kind == UNSTICK_FINISHED_FIRST ||
	                      outcome.kind == UNSTICK_LOCK)) {
		soon = push_running(me, outcome.kind == UNSTICK_LOCK);
	}
	look_later(me, soon);
}

/* What is seen holds until it is acted on: no other thread runs meanwhile. */
void delivery_push(struct delivery *me)
{
	bool paused = frames_pause_collector();
	push(me);
	frames_resume_collector(paused);
}

/* ---- */

void delivery_after_fork(void)
{
	while (delivery_list)
		unlink_it(delivery_list);
}
