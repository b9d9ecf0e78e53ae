/* SPDX-License-Identifier: MIT
 *
 * unstick_thread_interrupt(): ends the one call that any thread of this process is blocked in.
 *
 * The ticket lies on a desk in handler.c, because the target may have no record. One interrupter a target at a time; it looks,
 * signals, waits for the handler's acknowledgement, and looks again, until the call has ended or the caller's time is up.
 * States that a signal cannot change (D, a lock, stopped, blocked signal) are looked at as long as there is time: only `until`
 * makes them an outcome. Not async-signal-safe: it waits.
 */
#include "wake/interrupt.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/calls.h"
#include "base/lock.h"
#include "base/raw.h"
#include "wake/handler.h"
#include "wake/policy.h"
#include "wake/signal.h"
#include "wake/thread.h"

static const unstick_time FIRST_GAP = 1 * TIME_NS_PER_MS, LAST_GAP = 50 * TIME_NS_PER_MS, GRACE = 1000 * TIME_NS_PER_MS;

enum { RUNNING_LOOKS = 3, DEAF_LOOKS = 6, MAX_REPEATS = 3 };

static struct lock desk_lock;
static _Atomic uint32_t desk_freed; /* waiters for a desk sleep on it */

/* One interrupt under way. */
struct attempt_on {
	struct unstick_thread *thread;
	pid_t tid;
	unstick_time begun, until;
	const struct unstick_interrupt_options *options;
	struct desk *desk;
	struct unstick_outcome *outcome;
	struct task_call first; /* the call to end; first.nr == -2: not seen yet */
	uint32_t runs, taken;   /* of the ticket at the begin */
	uint32_t answered;      /* runs when the last signal was sent */
	bool given_eintr;       /* the ticket only asked for the kernel's EINTR */
	bool plain;             /* the last signal went without a ticket: its EINTR is all */
	bool event_loop;
	unsigned running_looks, deaf_looks, repeats;
};

/* ---- desks */

static struct desk *try_desk(pid_t tid)
{
	struct desk *found = NULL;
	lock_take(&desk_lock);
	for (unsigned i = 0; i < HANDLER_DESK_SIZE; i++) {
		pid_t user = atomic_load(&handler_desk[i].tid);
		if (user == tid) {
			lock_drop(&desk_lock);
			return NULL;
		}
		if (user == 0 && !found)
			found = &handler_desk[i];
	}
	if (found) {
		ticket_clear(&found->ticket);
		atomic_store(&found->tid, tid);
		atomic_fetch_add(&handler_desk_used, 1);
	}
	lock_drop(&desk_lock);
	return found;
}

static struct desk *take_desk(pid_t tid, unstick_time until)
{
	for (;;) {
		uint32_t seen = atomic_load(&desk_freed);
		struct desk *desk = try_desk(tid);
		if (desk || unstick_now() >= until)
			return desk;
		futex_sleep(&desk_freed, seen, until);
	}
}

static void give_back(struct desk *desk)
{
	ticket_clear(&desk->ticket);
	lock_take(&desk_lock);
	atomic_store(&desk->tid, 0);
	atomic_fetch_sub(&handler_desk_used, 1);
	lock_drop(&desk_lock);
	atomic_fetch_add(&desk_freed, 1);
	futex_wake(&desk_freed, INT_MAX);
}

void interrupt_after_fork(void)
{
	desk_lock.word = 0;
	atomic_store(&handler_desk_used, 0);
	for (unsigned i = 0; i < HANDLER_DESK_SIZE; i++) {
		atomic_store(&handler_desk[i].tid, 0);
		seqbox_reset(&handler_desk[i].ticket.box);
	}
}

/* ---- looking */

static bool has_ended(struct attempt_on *on)
{
	uint64_t start_time;
	if (atomic_load(&on->thread->attached))
		return false;
	if (atomic_load(&on->thread->ended))
		return true;
	int error = task_start_time(0, on->tid, &start_time);
	return error == -ESRCH || (error == 0 && on->thread->start_time && start_time != on->thread->start_time);
}

static bool was_taken(const struct attempt_on *on)
{
	return atomic_load(&on->desk->ticket.taken) != on->taken;
}

static bool is_answered(const struct attempt_on *on)
{
	return atomic_load(&on->desk->ticket.runs) != on->answered;
}

/* The call is over, or another: because of us? A signal that did not come to the handler and is not pending was eaten: by a
 * sigwait(), or through a signalfd, which ended the call too. */
static int how_it_ended(const struct attempt_on *on)
{
	bool handler_ran = atomic_load(&on->desk->ticket.runs) != on->runs;
	bool eaten = on->outcome->signals && !handler_ran && task_has_pending(0, on->tid, unstick_signal()) == 0;
	return was_taken(on) || (on->plain && handler_ran) || eaten ? UNSTICK_WOKEN : UNSTICK_FINISHED_FIRST;
}

/* Why a signal that was sent has not arrived. */
static int obstacle(struct attempt_on *on)
{
	bool replaced;
	on->outcome->handler = signal_handler_found(&replaced);
	if (replaced)
		return UNSTICK_HANDLER_REPLACED;
	if (task_holds_back_signal(0, on->tid, unstick_signal()) && !is_answered(on)) /* or it was the handler's mask */
		return UNSTICK_SIGNAL_BLOCKED;
	if (task_is_stopped(on->outcome->state, on->outcome->wait))
		return UNSTICK_STOPPED;
	return UNSTICK_UNINTERRUPTIBLE;
}

/* ---- one round. Returns true when on->outcome->kind is final. */

static bool finish(struct attempt_on *on, int kind)
{
	on->outcome->kind = kind;
	return true;
}

static bool keep_looking(struct attempt_on *on, int kind)
{
	on->outcome->kind = kind;
	return false;
}

static bool send_one(struct attempt_on *on)
{
	if (on->outcome->signals && !is_answered(on))
		return keep_looking(on, obstacle(on)); /* one is pending: another would only queue */
	on->answered = atomic_load(&on->desk->ticket.runs);
	int error = signal_send(on->tid);
	if (error == -ESRCH)
		return finish(on, UNSTICK_GONE);
	if (error == 0)
		on->outcome->signals++;
	return keep_looking(on, error ? UNSTICK_SIGNAL_BLOCKED : UNSTICK_UNINTERRUPTIBLE);
}

static bool same_call(const struct task_call *a, const struct task_call *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* It has had its EINTR and waits again. true: that is the outcome. */
static bool is_back_for_good(struct attempt_on *on)
{
	on->taken = atomic_load(&on->desk->ticket.taken);
	on->outcome->kind = on->event_loop ? UNSTICK_EVENT_LOOP : UNSTICK_LOOPING;
	return on->event_loop || ++on->repeats == MAX_REPEATS;
}

static bool is_allowed(const struct attempt_on *on, long nr)
{
	for (unsigned i = 0; i < on->options->allowed; i++)
		if (on->options->allow[i] == nr)
			return true;
	return false;
}

static bool is_poll(long nr)
{
	return nr == SYS_poll || nr == SYS_ppoll || nr == SYS_epoll_wait || nr == SYS_epoll_pwait || nr == SYS_epoll_pwait2;
}

/* What the call is given: for select() no 0, because it leaves the sets as they were, which reads as "all ready". */
static int gift(const struct attempt_on *on, long nr)
{
	if (on->given_eintr)
		return -EINTR;
	return (on->options->flags & UNSTICK_POLLS_EXPIRE) && is_poll(nr) ? TICKET_ZERO : on->options->error;
}

static bool round_blocked(struct attempt_on *on, const struct task_call *call)
{
	struct policy_verdict verdict;
	const struct call *known = call_find(call->nr);
	bool restarting = known && (known->flags & CALL_RESTART);
	if (on->first.nr == -2 || (on->first.nr >= 0 && call_find(on->first.nr) && (call_find(on->first.nr)->flags & CALL_RESTART)))
		on->first = *call;
	else if (!same_call(&on->first, call) && !restarting)
		return finish(on, how_it_ended(on));
	if (was_taken(on) && !on->given_eintr)
		return finish(on, UNSTICK_WOKEN); /* that call was ended, this is one more like it */
	if (was_taken(on) && is_back_for_good(on))
		return true;
	unsigned how = POLICY_IN_SCOPE | POLICY_FULL | (is_allowed(on, call->nr) ? POLICY_ALLOWED : 0);
	policy_judge(0, on->tid, call, how, &verdict);
	policy_note(call, &verdict, on->outcome);
	if (verdict.verdict == CALL_LEAVE)
		return keep_looking(on, verdict.kind);
	on->given_eintr = verdict.verdict == CALL_EINTR_ONLY;
	on->event_loop = known && (known->flags & CALL_EVENT_LOOP);
	int given = gift(on, call->nr);
	on->outcome->error = given == TICKET_ZERO ? 0 : given;
	on->plain = restarting;
	if (restarting)
		ticket_clear(&on->desk->ticket);
	else
		ticket_write(&on->desk->ticket, call, given, 0);
	return send_one(on);
}

static bool round_running(struct attempt_on *on)
{
	if (on->first.nr == -2) /* computing, or only between two calls: one look does not tell */
		return ++on->running_looks < RUNNING_LOOKS ? keep_looking(on, UNSTICK_NOT_BLOCKED)
		                                           : finish(on, UNSTICK_NOT_BLOCKED);
	/* On its way to the handler, which needs the ticket; unless a sigwait() has taken the signal, which needs it to be
	 * blocked. But so it is in the handler itself, until that has answered. */
	bool deaf = on->outcome->signals && !is_answered(on) && task_blocks_signal(0, on->tid, unstick_signal()) == 1;
	if (on->outcome->signals && !is_answered(on) && !(deaf && ++on->deaf_looks >= DEAF_LOOKS))
		return keep_looking(on, UNSTICK_WOKEN);
	/* After a mere EINTR it may be on its way back. */
	if (was_taken(on) && on->given_eintr && ++on->running_looks < RUNNING_LOOKS)
		return keep_looking(on, UNSTICK_WOKEN);
	return finish(on, how_it_ended(on));
}

/* /proc does not tell: one plain EINTR, and no claim. */
static bool round_blind(struct attempt_on *on)
{
	if (on->outcome->signals == 0)
		send_one(on);
	return is_answered(on) ? finish(on, UNSTICK_NOT_INSPECTABLE) : keep_looking(on, UNSTICK_NOT_INSPECTABLE);
}

static bool one_round(struct attempt_on *on)
{
	struct task_call call;
	int fd = atomic_load(&on->thread->call_fd);
	if (has_ended(on))
		return finish(on, UNSTICK_GONE);
	int looked = fd >= 0 ? task_read_call_fd(fd, &call) : task_read_call(0, on->tid, &call);
	if (looked == TASK_RUNNING)
		return round_running(on);
	if (looked == -ESRCH)
		return finish(on, UNSTICK_GONE);
	/* It could be read before: the thread is ending, and its files are root's meanwhile. */
	if (looked < 0 && on->first.nr != -2)
		return round_running(on);
	return looked < 0 ? round_blind(on) : round_blocked(on, &call);
}

/* Until the handler has answered, the gap has passed, or the time is up. */
static void wait_for_answer(struct attempt_on *on, unstick_time gap, unstick_time until)
{
	unstick_time end = time_min(unstick_after_ns(gap), until);
	uint32_t seen = atomic_load(&on->desk->ticket.runs);
	bool waiting = on->outcome->signals > 0 && seen == on->answered;
	while (unstick_now() < end && !(waiting && is_answered(on)))
		futex_sleep(&on->desk->ticket.runs, seen, end);
}

/* Time is up with a signal on its way. If nothing holds it up, what the thread does decides the outcome, and it needs the ticket: on
 * a machine that is too busy to run the thread this may take longer than the caller's time. */
static void settle(struct attempt_on *on)
{
	if (on->outcome->kind == UNSTICK_UNINTERRUPTIBLE)
		on->outcome->kind = obstacle(on); /* there was no time yet to ask */
	bool held_up = on->outcome->kind != UNSTICK_UNINTERRUPTIBLE && on->outcome->kind != UNSTICK_WOKEN;
	if (held_up || on->outcome->state == 'D')
		return;
	unstick_time end = unstick_after_ns(GRACE);
	while (!is_answered(on) && unstick_now() < end)
		futex_sleep(&on->desk->ticket.runs, on->answered, end);
	on->outcome->kind = is_answered(on) ? how_it_ended(on) : UNSTICK_UNINTERRUPTIBLE;
}

static void interrupt(struct attempt_on *on)
{
	unstick_time gap = FIRST_GAP;
	on->runs = on->answered = atomic_load(&on->desk->ticket.runs);
	on->taken = atomic_load(&on->desk->ticket.taken);
	while (!one_round(on) && unstick_now() < on->until) {
		wait_for_answer(on, gap, on->until);
		gap = time_min(2 * gap, LAST_GAP);
	}
	if (on->outcome->signals && !is_answered(on))
		settle(on);
	/* The last look may have been a moment too early: what the handler did counts, and only that. */
	bool taken = was_taken(on);
	if (taken && !on->given_eintr)
		on->outcome->kind = UNSTICK_WOKEN;
	if (!taken || on->outcome->kind != UNSTICK_WOKEN)
		on->outcome->error = 0;
}

/* The caller's options as far as it knows them, in `ret`. */
static int take_options(const struct unstick_interrupt_options *options, struct unstick_interrupt_options *ret)
{
	*ret = (struct unstick_interrupt_options){.size = sizeof *ret, .error = -ECANCELED};
	if (!options)
		return 0;
	if (options->size != sizeof *options || (options->flags & ~(unsigned)UNSTICK_POLLS_EXPIRE) ||
	    (options->allowed && !options->allow))
		return -EINVAL;
	*ret = *options;
	ret->error = options->error ? options->error : -ECANCELED;
	return ret->error == -ECANCELED || ret->error == -ETIMEDOUT ? 0 : -EINVAL;
}

int unstick_thread_interrupt(struct unstick_thread *thread, unstick_time until, struct unstick_outcome *outcome)
{
	return unstick_thread_interrupt_with(thread, until, NULL, outcome);
}

int unstick_thread_interrupt_with(struct unstick_thread *thread, unstick_time until, const struct unstick_interrupt_options *wanted,
                                  struct unstick_outcome *outcome)
{
	struct unstick_interrupt_options options;
	struct unstick_outcome unused;
	struct attempt_on on = {
	        .thread = thread, .until = until, .options = &options, .outcome = outcome ? outcome : &unused, .first.nr = -2};
	if (!thread || take_options(wanted, &options))
		return -EINVAL;
	int error = signal_initialise();
	if (error)
		return error;
	on.begun = unstick_now();
	on.tid = atomic_load(&thread->tid);
	if (on.tid == (pid_t)RAW_0(SYS_gettid) && !has_ended(&on))
		return -EDEADLK;
	*on.outcome = (struct unstick_outcome){.nr = -1, .fd = -1, .state = '?', .tid = on.tid};
	on.desk = take_desk(on.tid, until);
	if (!on.desk)
		return -EBUSY;
	interrupt(&on);
	give_back(on.desk);
	on.outcome->ns = unstick_now() - on.begun;
	return 0;
}
