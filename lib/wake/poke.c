/* SPDX-License-Identifier: MIT
 *
 * The poker's half of the protocol.
 *
 *   1. compare-and-swap ARMED -> ARMED|FIRED|POKING on the generation that the slots were read under; on failure nothing is sent
 *   2. look: an own call shows in the marker; for a foreign call /proc tells the call, and the policy whether a signal may help
 *   3. write the ticket, send the signal
 *   4. then inflight = 1; then clear POKING, and wake the owner if it waits for that
 *
 * The order of 3 and 4: were inflight set before the signal, the handler of an earlier poke would clear it, and the new signal
 * would outlive the scope. Set after it, the handler that clears it wrongly is still running when the new signal is pending,
 * and so is followed by the new one before any other code of the thread runs.
 */
#include "wake/poke.h"

#include <errno.h>
#include <string.h>

#include "base/calls.h"
#include "base/raw.h"
#include "inspect/fd.h"
#include "wake/outcome.h"
#include "wake/policy.h"
#include "wake/scope.h"
#include "wake/signal.h"

/* One attempt: the poker's notes while it holds POKING. */
struct poking {
	struct unstick_thread *thread;
	uint64_t generation;
	enum poke_how how;
	unstick_time begun;
	bool sent;
	struct task_call call; /* what read_call() found */
	struct unstick_outcome outcome;
};

enum { MAX_REPEATS = 3 }; /* errors given to one and the same wait for a child: bash's `wait` would spin on more */

/* ---- the look */

static bool scope_allows(const struct unstick_thread *thread, long nr)
{
	unsigned depth = atomic_load_explicit(&thread->depth, memory_order_relaxed);
	for (unsigned i = atomic_load_explicit(&thread->base, memory_order_relaxed); i < depth && i < THREAD_MAX_SCOPES; i++)
		for (unsigned k = 0; k < THREAD_MAX_ALLOWED; k++)
			if (atomic_load_explicit(&thread->slot[i].allowed[k], memory_order_relaxed) == nr)
				return true;
	return false;
}

static int read_call(struct poking *poking)
{
	int fd = atomic_load(&poking->thread->call_fd);
	return fd >= 0 ? task_read_call_fd(fd, &poking->call) : task_read_call(0, atomic_load(&poking->thread->tid), &poking->call);
}

/* The policy's verdict on poking->call, noted in the outcome. */
static void judge(struct poking *poking, unsigned how, struct policy_verdict *verdict)
{
	if (poking->how == POKE_AGAIN)
		how |= POLICY_FULL;
	if (scope_allows(poking->thread, poking->call.nr))
		how |= POLICY_ALLOWED;
	policy_judge(0, poking->outcome.tid, &poking->call, how | POLICY_IN_SCOPE, verdict);
	policy_note(&poking->call, verdict, &poking->outcome);
}

static enum poke_result leave(struct poking *poking, int kind)
{
	poking->outcome.kind = kind;
	return POKE_LEFT;
}

/* The last signal has not arrived: why? */
static int find_obstacle(struct poking *poking)
{
	pid_t tid = atomic_load(&poking->thread->tid);
	bool replaced;
	if (!atomic_load(&poking->thread->inflight))
		return UNSTICK_NONE;
	poking->outcome.handler = signal_handler_found(&replaced);
	if (replaced)
		return UNSTICK_HANDLER_REPLACED;
	if (task_holds_back_signal(0, tid, unstick_signal()) && atomic_load(&poking->thread->inflight)) /* not the handler's mask */
		return UNSTICK_SIGNAL_BLOCKED;
	if (task_is_stopped(poking->outcome.state, poking->outcome.wait))
		return UNSTICK_STOPPED;
	return poking->outcome.state == 'D' ? UNSTICK_UNINTERRUPTIBLE : UNSTICK_NONE; /* NONE: eaten by a sigwait(); send another */
}

static enum poke_result send_one(struct poking *poking)
{
	struct unstick_thread *thread = poking->thread;
	int obstacle = poking->how == POKE_AGAIN ? find_obstacle(poking) : UNSTICK_NONE;
	if (obstacle != UNSTICK_NONE)
		return leave(poking, obstacle);
	int error = signal_send(atomic_load(&thread->tid));
	if (error)
		return leave(poking, error == -ESRCH ? UNSTICK_GONE : UNSTICK_SIGNAL_BLOCKED);
	atomic_store(&thread->inflight, 1);
	poking->sent = true;
	return POKE_SENT;
}

/* The fd of an own call may lie on a file system whose daemon is silent: then a signal makes the wait unkillable. */
static bool own_call_would_suffer(struct poking *poking, long nr, int fd)
{
	const struct call *call = call_find(nr);
	struct fd_info info = {.kind = FD_SOCKET};
	struct policy_verdict verdict;
	if (!call)
		return false;
	bool may_hang = (call->flags & (CALL_BY_FD | CALL_FILE_LOCK)) && fd_look(fd, &info) == 0 && info.may_hang;
	bool moves_data = call->flags & (CALL_BY_FD | CALL_ON_SOCKET);
	bool suspicious =
	        moves_data ? policy_may_be_copying(call, fd, &info) : call->verdict == CALL_LEAVE || (call->flags & CALL_BY_WAIT);
	if (!may_hang && !suspicious)
		return false;
	if (read_call(poking) != TASK_BLOCKED)
		return may_hang;
	judge(poking, POLICY_FULL, &verdict);
	return verdict.kind == UNSTICK_UNINTERRUPTIBLE;
}

static enum poke_result poke_blocked_foreign(struct poking *poking);

/* A second look at a thread with a marker. Blocked elsewhere than in the window: in a handler on top of the own call, or the
 * marker was left by a longjmp; then it is a foreign call like any other. */
static enum poke_result poke_marked_again(struct poking *poking, long nr, int fd)
{
	struct unstick_outcome *outcome = &poking->outcome;
	int looked = read_call(poking);
	if (looked == TASK_RUNNING)
		return POKE_RUNNING;
	if (looked == TASK_BLOCKED && poking->call.pc != (uintptr_t)arch_window_after)
		return poke_blocked_foreign(poking);
	outcome->state = task_state(0, outcome->tid);
	task_wait_function(0, outcome->tid, outcome->wait, sizeof outcome->wait);
	if (own_call_would_suffer(poking, nr, fd))
		return leave(poking, UNSTICK_UNINTERRUPTIBLE);
	return send_one(poking);
}

static enum poke_result poke_own(struct poking *poking, uint64_t marker)
{
	long nr = (long)(marker >> 32) - 1;
	int fd = call_find(nr) && call_find(nr)->fd_arg == 0 ? (int)(uint32_t)marker : -1;
	poking->outcome.kind = UNSTICK_NONE;
	poking->outcome.nr = nr;
	poking->outcome.fd = fd;
	if (poking->how == POKE_AGAIN)
		return poke_marked_again(poking, nr, fd);
	if (own_call_would_suffer(poking, nr, fd))
		return leave(poking, UNSTICK_UNINTERRUPTIBLE);
	return send_one(poking);
}

/* The child that a wait is for: it lives on when the wait is cut short, and the outcome names it. */
static pid_t child_of(const struct task_call *call)
{
	enum { WAITID_FOR_PID = 1 }; /* P_PID */
	if (call->nr == SYS_waitid)
		return call->args[0] == WAITID_FOR_PID ? (pid_t)call->args[1] : 0;
	return (pid_t)call->args[0] > 0 ? (pid_t)call->args[0] : 0;
}

/* Did the call that the last ticket was for take its error, and is this the same call once more? */
static void count_repeats(struct poking *poking)
{
	struct attempt *attempt = &poking->thread->attempt;
	uint32_t taken = atomic_load(&poking->thread->ticket.taken);
	bool same = memcmp(&poking->call, &attempt->last, sizeof poking->call) == 0;
	if (taken != attempt->taken)
		attempt->repeats = same ? attempt->repeats + 1 : 0;
	attempt->taken = taken;
	attempt->last = poking->call;
}

static enum poke_result poke_blocked_foreign(struct poking *poking)
{
	struct unstick_thread *thread = poking->thread;
	struct policy_verdict verdict;
	judge(poking, POLICY_FIRST, &verdict);
	const struct call *call = call_find(poking->call.nr);
	unsigned flags = call ? call->flags : 0;
	if (verdict.verdict == CALL_LEAVE)
		return leave(poking, verdict.kind);
	count_repeats(poking);
	if (flags & CALL_CHILD)
		thread->attempt.child = child_of(&poking->call);
	if (thread->attempt.repeats >= MAX_REPEATS) {
		if (flags & CALL_CHILD)
			return leave(poking, UNSTICK_LOOPING);
		poking->outcome.kind = UNSTICK_LOOPING;
	}
	if (flags & CALL_RESTART)
		ticket_clear(&thread->ticket);
	else
		ticket_write(&thread->ticket, &poking->call, verdict.verdict == CALL_REWRITE ? -ECANCELED : -EINTR,
		             poking->generation);
	return send_one(poking);
}

/* It runs. On its way into an own call? Its window stores the marker and then loads the flag; we stored the flag and then
 * loaded the marker. A processor may do each of these the other way round, so the kernel puts a barrier into all of us: now
 * either the marker shows, or every own call that is yet to come finds the flag. Foreign calls are the second look's:
 * signalled here, the thread would bring a stray EINTR into whatever it calls next. */
static enum poke_result poke_running(struct poking *poking)
{
	struct unstick_thread *thread = poking->thread;
	poking->outcome.kind = UNSTICK_NOT_BLOCKED;
	if (poking->how != POKE_FIRST || atomic_load(&thread->inflight))
		return POKE_RUNNING;
	bool ordered = signal_barrier();
	uint64_t marker = atomic_load(&thread->window.marker);
	if (marker)
		return poke_own(poking, marker);
	if (ordered)
		return POKE_RUNNING;
	ticket_clear(&thread->ticket);
	return send_one(poking);
}

static enum poke_result poke_foreign(struct poking *poking)
{
	int looked = read_call(poking);
	if (looked == TASK_BLOCKED)
		return poke_blocked_foreign(poking);
	if (looked == TASK_RUNNING)
		return poke_running(poking);
	if (looked == -ESRCH)
		return leave(poking, UNSTICK_GONE);
	poking->outcome.kind = UNSTICK_NOT_INSPECTABLE; /* a plain EINTR is the best that can be done */
	ticket_clear(&poking->thread->ticket);
	return send_one(poking);
}

/* ---- the hold */

/* Sets POKING, and with it the right to write ticket, attempt and outcome. */
static bool hold(struct unstick_thread *thread, uint64_t state)
{
	uint64_t now = state;
	while ((now & STATE_ARMED) && thread_same_generation(now, state)) {
		bool busy = now & STATE_POKING;
		uint64_t wanted = now | STATE_FIRED | (busy ? 0 : STATE_POKING);
		if (atomic_compare_exchange_weak(&thread->window.state, &now, wanted))
			return !busy; /* the other poker sends; should it have looked too early, the second look covers it */
	}
	return false;
}

static void let_go(struct unstick_thread *thread)
{
	uint64_t before = atomic_fetch_and(&thread->window.state, ~(uint64_t)STATE_POKING);
	if (!(before & STATE_ARMED))
		futex_wake((_Atomic uint32_t *)(void *)&thread->window.state, 1);
}

/* What is kept of the attempts on one scope. */
static void open_attempt(struct poking *poking)
{
	struct unstick_thread *thread = poking->thread;
	if (thread->attempt.generation == poking->generation)
		return;
	uint32_t taken = atomic_load(&thread->ticket.taken);
	thread->attempt = (struct attempt){
	        .generation = poking->generation, .begun = poking->begun, .taken = taken, .seen = taken, .last.nr = -2};
}

/* Returns whether a call has taken its error since the last poke. */
static bool note_attempt(struct poking *poking, enum poke_result result)
{
	struct attempt *attempt = &poking->thread->attempt;
	uint32_t taken = atomic_load(&poking->thread->ticket.taken);
	bool progress = taken != attempt->seen && attempt->repeats < MAX_REPEATS;
	attempt->seen = taken;
	attempt->signals += poking->sent;
	poking->outcome.signals = attempt->signals;
	poking->outcome.child = attempt->child;
	poking->outcome.ns = unstick_now() - attempt->begun;
	/* A deadline may come by two ways, the scope's and its token's: who was freed by the first runs at the second. */
	if (result != POKE_RUNNING || (poking->how == POKE_FIRST && attempt->signals == 0))
		outcome_store(&poking->thread->outcome, &poking->outcome);
	return progress;
}

enum poke_result poke_thread(struct unstick_thread *thread, uint64_t state, enum poke_how how, bool *progress)
{
	if (!hold(thread, state))
		return POKE_MISSED;
	struct poking poking;
	poking.thread = thread;
	poking.generation = state >> STATE_GENERATION_SHIFT;
	poking.how = how;
	poking.begun = unstick_now();
	poking.sent = false;
	poking.outcome = (struct unstick_outcome){.nr = -1, .fd = -1, .state = '?', .tid = atomic_load(&thread->tid)};
	uint64_t marker = atomic_load(&thread->window.marker);
	/* Between here and the signal the less is written the better: the lines of the record are the other processor's. */
	if (!marker || how != POKE_FIRST)
		open_attempt(&poking);
	enum poke_result result = marker ? poke_own(&poking, marker) : poke_foreign(&poking);
	open_attempt(&poking);
	*progress = note_attempt(&poking, result);
	let_go(thread);
	return result;
}

/* ---- a token fires */

static bool has_scope_on(const struct unstick_thread *thread, const struct unstick_token *token)
{
	unsigned depth = atomic_load_explicit(&thread->depth, memory_order_relaxed);
	for (unsigned i = atomic_load_explicit(&thread->base, memory_order_relaxed); i < depth && i < THREAD_MAX_SCOPES; i++)
		if (token_is_below(atomic_load_explicit(&thread->slot[i].token, memory_order_relaxed), token))
			return true;
	return false;
}

/* All signals are masked meanwhile: a handler of the program on top of a poker would hold up the scope_end of the thread that
 * is poked, and for ever if that is the poker's own thread and the handler begins a scope. */
void poke_token(struct unstick_token *token)
{
	bool any = false, progress;
	uint64_t before = signal_mask_all();
	for (struct unstick_thread *thread = atomic_load(&thread_registry); thread; thread = thread->next) {
		uint64_t state = thread_state(thread);
		/* The slots were read under `state`: if they have changed since, the compare-and-swap fails, and the begin
		 * that changed them has seen the token's error. */
		if ((state & STATE_ARMED) && has_scope_on(thread, token)) {
			poke_thread(thread, state, POKE_FIRST, &progress);
			any = true;
		}
	}
	signal_mask_restore(before);
	if (any)
		alarm_ring(); /* for the second looks */
}
