/* SPDX-License-Identifier: MIT
 *
 * Scopes and shields: the owner's half of the protocol (the poker's is poke.c, the handler's signal.c).
 *
 *   begin   slots (relaxed), then one exchange of the state: new generation, ARMED; then load the tokens, and the monitor's alarm
 *   end     clear ARMED; if a poker is at work or a signal may be pending: wait for the poker, let the kernel deliver, take what is left
 *
 * After end nothing of the scope can reach the thread: a poker's compare-and-swap on the old generation fails, and what had been sent
 * is delivered or taken inside end. Everything in a slot is written while disarmed, so a poker that succeeded read true things.
 * The bookkeeping is in the thread's record; the caller's struct only says which slot, and is touched by its own thread only.
 */
#include "wake/scope.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "base/calls.h"
#include "base/raw.h"
#include "wake/outcome.h"
#include "wake/signal.h"

/* What the caller's 128 bytes hold. */
struct inside {
	uint64_t cookie; /* COOKIE ^ address while open or inert: tells a struct that was overwritten, copied or never begun */
	uint64_t id;     /* generation of the begin; 0 with an inert scope */
	struct unstick_thread *thread;
	unsigned index;
	int error;       /* of an inert scope */
	unsigned epoch;
};

_Static_assert(sizeof(struct inside) <= sizeof(struct unstick_scope), "fits");

enum { YIELDS = 16 };

static const uint64_t COOKIE = 0x756e737469636b21; /* "unstick!" */

_Atomic uint32_t scope_ended, scope_waiters;
unsigned scope_fork_epoch;

static struct inside *inside(struct unstick_scope *scope)
{
	return (struct inside *)(void *)scope;
}

static uint64_t cookie_of(const struct unstick_scope *scope)
{
	return COOKIE ^ (uint64_t)(uintptr_t)scope;
}

/* ---- dead frames */

/* Is the struct of slot `i` still there, for code whose stack pointer is `sp`? Stacks grow down: a struct below sp is in no frame.
 * Off the thread's own stack (heap, coroutine, alternate stack) nothing can be told, and only end ends it.
 * No ASan: the struct may lie in a block that has been left, which is one of the things to be found out. */
__attribute__((no_sanitize("address"))) static bool is_alive(const struct unstick_thread *self, unsigned i, uintptr_t sp)
{
	struct unstick_scope *scope = self->slot[i].scope;
	uintptr_t address = (uintptr_t)scope;
	if (!thread_on_own_stack(self, address) || !thread_on_own_stack(self, sp))
		return true;
	return sp <= address && inside(scope)->cookie == cookie_of(scope) && inside(scope)->id == self->slot[i].id;
}

bool scope_all_dead(const struct unstick_thread *self, uintptr_t sp)
{
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	for (unsigned i = 0; i < depth; i++)
		if (is_alive(self, i, sp))
			return false;
	return true;
}

/* ---- disarm, drain, arm */

/* Takes what is left of our signal although this thread blocks it, or lets the kernel deliver it. A loop: real-time signals queue. */
static void take_pending(struct unstick_thread *self)
{
	static const struct timespec at_once;
	uint64_t set = UINT64_C(1) << (unstick_signal() - 1);
	RAW_0(SYS_getppid); /* the trivial call: what is pending and not blocked is delivered on its way out */
	long taken = 0;
	while (atomic_load(&self->inflight) && (taken >= 0 || taken == -EINTR))
		taken = RAW_4(SYS_rt_sigtimedwait, &set, NULL, &at_once, sizeof set);
	atomic_store(&self->inflight, 0);
}

/* A poker is between its signal and its last store. The signal has woken us on its processor, often: then a yield is all it needs, and
 * costs less than a sleep (1,000 threads freed: 1.14 against 1.32 to 1.66 times a bare tgkill loop). */
static void wait_for_poker(struct unstick_thread *self)
{
	uint64_t state;
	for (unsigned i = 0; i < YIELDS && (thread_state(self) & STATE_POKING); i++)
		RAW_0(SYS_sched_yield);
	while ((state = thread_state(self)) & STATE_POKING) /* the low half of the word, little endian */
		futex_sleep((_Atomic uint32_t *)(void *)&self->window.state, (uint32_t)state, UNSTICK_NEVER);
}

static void drain(struct unstick_thread *self)
{
	wait_for_poker(self);
	if (atomic_load(&self->inflight))
		take_pending(self);
	if (atomic_exchange(&self->deferred, 0)) /* the upper handler was left by longjmp: our signal is blocked still */
		signal_unblock();
}

/* From here on no new poke; when it returns none is under way and no signal of one is pending. Returns the state before. */
static uint64_t disarm(struct unstick_thread *self)
{
	uint64_t before = atomic_fetch_and(&self->window.state, ~(uint64_t)(STATE_ARMED | STATE_FIRED));
	if ((before & STATE_POKING) || atomic_load(&self->inflight) || atomic_load_explicit(&self->deferred, memory_order_relaxed))
		drain(self);
	return before;
}

static bool any_token_fired(struct unstick_thread *self, unsigned base, unsigned depth)
{
	for (unsigned i = base; i < depth; i++) {
		struct unstick_token *token = atomic_load_explicit(&self->slot[i].token, memory_order_relaxed);
		if (token && token_error(token))
			return true;
	}
	return false;
}

static unstick_time earliest(struct unstick_thread *self, unsigned base, unsigned depth)
{
	unstick_time deadline = UNSTICK_NEVER;
	for (unsigned i = base; i < depth; i++)
		deadline = time_min(deadline, atomic_load_explicit(&self->slot[i].deadline, memory_order_relaxed));
	return deadline;
}

/* Something had fired before we armed: the window must know; the monitor watches over foreign calls; an own call that lies under this
 * very frame (we are in a handler on top of it) gets the signal that the drain may have taken. */
static void fire_self(struct unstick_thread *self)
{
	atomic_fetch_or(&self->window.state, STATE_FIRED);
	alarm_ring();
	if (atomic_load_explicit(&self->window.marker, memory_order_relaxed))
		signal_send(atomic_load_explicit(&self->tid, memory_order_relaxed));
}

/* Puts the slots [base, depth) in force. The record is disarmed and drained, and has at least one slot in force. */
static void arm(struct unstick_thread *self, unsigned base, unsigned depth)
{
	unstick_time deadline = earliest(self, base, depth);
	atomic_store_explicit(&self->deadline, deadline, memory_order_relaxed);
	atomic_store_explicit(&self->base, base, memory_order_relaxed);
	atomic_store_explicit(&self->depth, depth, memory_order_relaxed);
	atomic_exchange(&self->window.state, ++self->generation << STATE_GENERATION_SHIFT | STATE_ARMED);
	/* Store buffering, twice: the state is stored before the tokens and the alarm are loaded; a canceller stores the token's error, the
	 * monitor its alarm, before they load the state. One of the two sees the other (memory-model.md, A and B). */
	bool fired = any_token_fired(self, base, depth);
	if (!fired && alarm_is_late_for(deadline)) {
		fired = unstick_now() >= deadline;
		if (!fired)
			alarm_ring();
	}
	if (fired)
		fire_self(self);
}

/* The number of slots that a shield hides, with `depth` open. */
static unsigned hidden(const struct unstick_thread *self, unsigned depth)
{
	while (depth > 0 && !self->shields[depth])
		depth--;
	return depth;
}

/* After slots or shields have changed. */
static void settle(struct unstick_thread *self, unsigned depth)
{
	unsigned base = hidden(self, depth);
	if (base < depth) {
		arm(self, base, depth);
		return;
	}
	atomic_store_explicit(&self->base, base, memory_order_relaxed);
	atomic_store_explicit(&self->depth, depth, memory_order_relaxed);
}

static void forget_shields_above(struct unstick_thread *self, unsigned depth)
{
	for (unsigned i = depth + 1; i <= THREAD_MAX_SCOPES; i++)
		self->shields[i] = 0;
}

/* ---- what was cut short */

static int slot_error(struct scope_slot *slot)
{
	struct unstick_token *token = atomic_load_explicit(&slot->token, memory_order_relaxed);
	int error = token ? token_error(token) : 0;
	if (error)
		return error;
	unstick_time deadline = atomic_load_explicit(&slot->deadline, memory_order_relaxed);
	return deadline != UNSTICK_NEVER && unstick_now() >= deadline ? -ETIMEDOUT : 0;
}

int scope_cut_in_handler(struct unstick_thread *self, uintptr_t sp)
{
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	unsigned i = atomic_load_explicit(&self->base, memory_order_relaxed);
	int error = 0;
	while (i < depth && !(is_alive(self, i, sp) && (error = slot_error(&self->slot[i]))))
		i++;
	for (; i < depth; i++) {
		int uncut = 0;
		atomic_compare_exchange_strong(&self->slot[i].cut, &uncut, error);
	}
	return error;
}

/* Pops the scopes on top whose frames are gone. Returns whether there were any. The record may be armed before; it is disarmed after. */
static bool drop_dead(struct unstick_thread *self, uintptr_t sp)
{
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	if (depth == 0 || is_alive(self, depth - 1, sp))
		return false;
	disarm(self);
	while (depth > 0 && !is_alive(self, depth - 1, sp))
		depth--;
	atomic_store_explicit(&self->depth, depth, memory_order_relaxed);
	forget_shields_above(self, depth);
	return true;
}

int scope_cut(struct unstick_thread *self)
{
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
	bool dropped = drop_dead(self, sp);
	if (!dropped) {
		int error = scope_cut_in_handler(self, sp);
		if (error)
			return error;
		disarm(self);
	}
	settle(self, atomic_load_explicit(&self->depth, memory_order_relaxed));
	return thread_is_armed(self) && (thread_state(self) & STATE_FIRED) ? scope_cut_in_handler(self, sp) : 0;
}

int unstick_check(void)
{
	struct unstick_thread *self = thread_current;
	if (!self || !(atomic_load_explicit(&self->window.state, memory_order_relaxed) & STATE_FIRED))
		return 0;
	return scope_cut(self);
}

/* ---- begin */

static int inert(struct unstick_scope *scope, int error)
{
	*inside(scope) = (struct inside){.cookie = cookie_of(scope), .error = error};
	return error;
}

static void fill_slot(struct scope_slot *slot, struct unstick_scope *scope, struct unstick_token *token, unstick_time deadline, uint64_t id)
{
	atomic_store_explicit(&slot->token, token, memory_order_relaxed);
	atomic_store_explicit(&slot->deadline, deadline, memory_order_relaxed);
	for (unsigned i = 0; i < THREAD_MAX_ALLOWED; i++)
		atomic_store_explicit(&slot->allowed[i], -1, memory_order_relaxed);
	atomic_store_explicit(&slot->cut, 0, memory_order_relaxed);
	slot->scope = scope;
	slot->id = id;
}

int unstick_scope_begin(struct unstick_scope *scope, struct unstick_token *token, unstick_time deadline)
{
	int error = 0;
	if (!scope)
		return -EINVAL;
	struct unstick_thread *self = thread_current ? thread_current : thread_attach(&error);
	if (!self)
		return inert(scope, error);
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	if (depth > 0) {
		inside(scope)->cookie = 0; /* begun again where one was left without an end: that one is gone */
		drop_dead(self, (uintptr_t)__builtin_frame_address(0));
		disarm(self);
		depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
		if (depth == THREAD_MAX_SCOPES) {
			settle(self, depth);
			return inert(scope, -EOVERFLOW);
		}
	}
	uint64_t id = self->generation + 1;
	fill_slot(&self->slot[depth], scope, token, deadline, id);
	*inside(scope) = (struct inside){
	        .cookie = cookie_of(scope), .id = id, .thread = self, .index = depth, .epoch = scope_fork_epoch};
	arm(self, hidden(self, depth), depth + 1);
	return 0;
}

/* ---- end */

void scope_tell_ended(void)
{
	atomic_fetch_add(&scope_ended, 1);
	if (atomic_load(&scope_waiters))
		futex_wake(&scope_ended, INT_MAX);
}

/* The last attempt's outcome becomes final: the record is disarmed and drained, so the owner may write it. */
static void close_outcome(struct unstick_thread *self, int cut)
{
	struct unstick_outcome outcome;
	outcome_load(&self->outcome, &outcome);
	if (cut) {
		outcome.kind = UNSTICK_WOKEN;
		outcome.error = cut;
	} else if (outcome.kind == UNSTICK_NONE || outcome.kind == UNSTICK_WOKEN) {
		outcome.kind = UNSTICK_FINISHED_FIRST;
		outcome.error = 0;
	}
	outcome.tid = atomic_load_explicit(&self->tid, memory_order_relaxed);
	if (self->attempt.generation == self->generation)
		outcome.ns = unstick_now() - self->attempt.begun;
	outcome_store(&self->outcome, &outcome);
}

static int pop(struct unstick_thread *self, unsigned index)
{
	uint64_t before = disarm(self);
	int cut = atomic_load_explicit(&self->slot[index].cut, memory_order_relaxed);
	if (before & STATE_FIRED)
		close_outcome(self, cut);
	forget_shields_above(self, index);
	settle(self, index);
	if (before & STATE_FIRED)
		scope_tell_ended();
	return cut;
}

static bool is_open(struct unstick_thread *self, const struct inside *in)
{
	return in->index < atomic_load_explicit(&self->depth, memory_order_relaxed) && self->slot[in->index].id == in->id;
}

static int end_begun(struct unstick_thread *self, const struct inside *in)
{
	if (is_open(self, in))
		return pop(self, in->index);
	/* Ended together with one around it: its slot tells still, unless a later scope has taken it. */
	struct scope_slot *slot = &self->slot[in->index];
	return slot->id == in->id ? atomic_load_explicit(&slot->cut, memory_order_relaxed) : 0;
}

int unstick_scope_end(struct unstick_scope *scope)
{
	struct inside *in = scope ? inside(scope) : NULL;
	if (!in || in->cookie != cookie_of(scope))
		return -EINVAL;
	if (in->id == 0)
		return in->error;
	if (in->epoch != scope_fork_epoch)
		return 0;
	if (thread_current != in->thread)
		return -EPERM;
	int error = end_begun(in->thread, in);
	inert(scope, error); /* ended again, it says the same */
	return error;
}

void scope_drop_all(struct unstick_thread *self)
{
	uint64_t before = disarm(self);
	atomic_store_explicit(&self->depth, 0, memory_order_relaxed);
	atomic_store_explicit(&self->base, 0, memory_order_relaxed);
	for (unsigned i = 0; i <= THREAD_MAX_SCOPES; i++)
		self->shields[i] = 0;
	if (before & STATE_FIRED)
		scope_tell_ended();
}

/* ---- allow, shields */

int unstick_scope_allow(struct unstick_scope *scope, long nr)
{
	struct inside *in = scope ? inside(scope) : NULL;
	struct unstick_thread *self = thread_current;
	const struct call *call = call_find(nr);
	if (!in || in->cookie != cookie_of(scope) || in->id == 0 || !self || self != in->thread || !is_open(self, in))
		return -EINVAL;
	if (nr < 0 || (call && (call->flags & CALL_NEVER)))
		return -EPERM;
	for (unsigned i = 0; i < THREAD_MAX_ALLOWED; i++) {
		long unused = -1;
		/* A poker may read it at any time from here on: that is what it is for. */
		if (atomic_compare_exchange_strong(&self->slot[in->index].allowed[i], &unused, nr) || unused == nr)
			return 0;
	}
	return -ENOSPC;
}

void unstick_shield_begin(void)
{
	struct unstick_thread *self = thread_current;
	if (!self)
		return;
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	self->shields[depth]++;
	disarm(self);
	settle(self, depth);
}

void unstick_shield_end(void)
{
	struct unstick_thread *self = thread_current;
	if (!self)
		return;
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	if (!self->shields[depth])
		return;
	disarm(self);
	self->shields[depth]--;
	settle(self, depth);
}
