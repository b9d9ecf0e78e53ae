/* SPDX-License-Identifier: MIT
 *
 * The owner's half of the protocol (the poker's is poke.c, the handler's handler.c).
 *
 *   arming     slots (relaxed), then one exchange of the state: new generation, ARMED; then load the tokens, and the monitor's alarm
 *   disarming  clear ARMED; if a poker is at work or a signal may be pending: wait for the poker, let the kernel deliver, take what is left
 *
 * Once disarmed nothing of the scopes that were in force can reach the thread: a poker's compare-and-swap on the old
 * generation fails, and what had been sent is delivered or taken on the way. Slots are written only while disarmed, so a poker
 * that succeeded read true things. The argument in full: docs/memory-model.md, pairs A to C.
 */
#include "wake/arm.h"

#include <errno.h>
#include <signal.h>

#include "base/raw.h"
#include "wake/signal.h"

enum { YIELDS = 16 };

/* Takes what is left of our signal although this thread blocks it, or lets the kernel deliver it. A loop: real-time signals
 * queue. */
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

/* A poker is between its signal and its last store. The signal has woken us on its processor, often: then a yield is all it
 * needs, and costs less than a sleep (1,000 threads freed: 1.14 against 1.32 to 1.66 times a bare tgkill loop). */
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
}

uint64_t arm_off(struct unstick_thread *self)
{
	uint64_t before = atomic_fetch_and(&self->window.state, ~(uint64_t)(STATE_ARMED | STATE_FIRED));
	if ((before & STATE_POKING) || atomic_load(&self->inflight))
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

/* Something had fired before we armed: the window must know; the monitor watches over foreign calls; an own call that lies
 * under this very frame (we are in a handler on top of it) gets the signal that the drain may have taken. */
static void fire_self(struct unstick_thread *self)
{
	atomic_fetch_or(&self->window.state, STATE_FIRED);
	alarm_ring();
	if (atomic_load_explicit(&self->window.marker, memory_order_relaxed) &&
	    signal_send(atomic_load_explicit(&self->tid, memory_order_relaxed)) == 0)
		atomic_store(&self->inflight, 1);
}

/* Puts the slots [base, depth) in force. The record is disarmed and drained, and has at least one slot in force. */
static void arm(struct unstick_thread *self, unsigned base, unsigned depth)
{
	unstick_time deadline = earliest(self, base, depth);
	atomic_store_explicit(&self->deadline, deadline, memory_order_relaxed);
	atomic_store_explicit(&self->base, base, memory_order_relaxed);
	atomic_store_explicit(&self->depth, depth, memory_order_relaxed);
	atomic_exchange(&self->window.state, ++self->generation << STATE_GENERATION_SHIFT | STATE_ARMED);
	/* Store buffering, twice: the state is stored before the tokens and the alarm are loaded; a canceller stores the
	 * token's error, the monitor its alarm, before they load the state. One of the two sees the other (memory-model.md, A
	 * and B). */
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

void arm_lower(struct unstick_thread *self, unsigned depth)
{
	atomic_store(&self->depth, depth);
	if (atomic_load(&token_waiters))
		token_tell_waiters();
}

void arm_settle(struct unstick_thread *self, unsigned depth)
{
	unsigned base = hidden(self, depth);
	if (depth < atomic_load_explicit(&self->depth, memory_order_relaxed))
		arm_lower(self, depth);
	if (base < depth) {
		arm(self, base, depth);
		return;
	}
	atomic_store_explicit(&self->base, base, memory_order_relaxed);
	atomic_store_explicit(&self->depth, depth, memory_order_relaxed);
	atomic_store_explicit(&self->deadline, UNSTICK_NEVER, memory_order_relaxed); /* own calls that are under way look at it */
}

void arm_forget_shields(struct unstick_thread *self, unsigned depth)
{
	for (unsigned i = depth + 1; i <= THREAD_MAX_SCOPES; i++)
		self->shields[i] = 0;
}
