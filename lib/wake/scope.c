/* SPDX-License-Identifier: MIT
 *
 * Scopes and shields: begin, end, what was cut short, and scopes whose frames are gone. Everything in a slot is written while
 * disarmed; arming and disarming, which is where the races are, is arm.c. The bookkeeping is in the thread's record; the
 * caller's struct only says which slot, and is touched by its own thread only.
 */
#include "wake/scope.h"

#include <errno.h>
#include <limits.h>

#include "base/calls.h"
#include "wake/arm.h"
#include "wake/outcome.h"

/* What the caller's 128 bytes hold. */
struct inside {
	uint64_t cookie; /* COOKIE ^ address while open or inert: tells a struct that was overwritten, copied or never begun */
	uint64_t id;     /* generation of the begin; 0 with an inert scope */
	struct unstick_thread *thread;
	unsigned index;
	int error; /* of an inert scope */
	unsigned epoch;
} __attribute__((may_alias));

_Static_assert(sizeof(struct inside) <= sizeof(struct unstick_scope), "fits");

static const uint64_t COOKIE = 0x756e737469636b21; /* "unstick!" */

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
	if (!scope)
		return false;
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

static void fill_slot(struct scope_slot *slot, struct unstick_scope *scope, struct unstick_token *token, unstick_time deadline,
                      uint64_t id)
{
	atomic_store_explicit(&slot->token, token, memory_order_relaxed);
	atomic_store_explicit(&slot->deadline, deadline, memory_order_relaxed);
	for (unsigned i = 0; i < THREAD_MAX_ALLOWED; i++)
		atomic_store_explicit(&slot->allowed[i], -1, memory_order_relaxed);
	atomic_store_explicit(&slot->cut, 0, memory_order_relaxed);
	slot->scope = scope;
	slot->id = id;
}

/* Where `fresh` is begun, nothing else can be any more. */
static bool is_covered(const struct unstick_scope *old, const struct unstick_scope *fresh)
{
	uintptr_t a = (uintptr_t)old, b = (uintptr_t)fresh;
	return fresh && a < b + sizeof *fresh && b < a + sizeof *old;
}

static bool is_dead(const struct unstick_thread *self, unsigned i, uintptr_t sp, const struct unstick_scope *fresh)
{
	return !is_alive(self, i, sp) || is_covered(self->slot[i].scope, fresh);
}

/* Voids the slots whose scopes are gone, and pops those on top. Returns whether there were any: the record is then disarmed. */
static bool drop_dead(struct unstick_thread *self, uintptr_t sp, const struct unstick_scope *fresh)
{
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed), i = 0;
	while (i < depth && !is_dead(self, i, sp, fresh))
		i++;
	if (i == depth)
		return false;
	arm_off(self);
	for (; i < depth; i++)
		if (is_dead(self, i, sp, fresh))
			fill_slot(&self->slot[i], NULL, NULL, UNSTICK_NEVER, 0);
	while (depth > 0 && !self->slot[depth - 1].scope)
		depth--;
	arm_forget_shields(self, depth);
	arm_lower(self, depth);
	return true;
}

int scope_cut(struct unstick_thread *self)
{
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
	bool dropped = drop_dead(self, sp, NULL);
	if (!dropped) {
		int error = scope_cut_in_handler(self, sp);
		if (error)
			return error;
		arm_off(self);
	}
	arm_settle(self, atomic_load_explicit(&self->depth, memory_order_relaxed));
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
		drop_dead(self, (uintptr_t)__builtin_frame_address(0), scope);
		arm_off(self);
		depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
		if (depth == THREAD_MAX_SCOPES) {
			arm_settle(self, depth);
			return inert(scope, -EOVERFLOW);
		}
	}
	uint64_t id = self->generation + 1;
	fill_slot(&self->slot[depth], scope, token, deadline, id);
	*inside(scope) =
	        (struct inside){.cookie = cookie_of(scope), .id = id, .thread = self, .index = depth, .epoch = scope_fork_epoch};
	arm_settle(self, depth + 1);
	return 0;
}

/* ---- end */

/* Nobody had to signal it: a checkpoint or an own call found the scope fired. What an earlier look has found it in was not cut. */
static void forget_call(struct unstick_outcome *outcome)
{
	outcome->nr = outcome->fd = -1;
	outcome->wait[0] = '\0';
	outcome->signals = 0;
}

/* The last attempt's outcome becomes final: the record is disarmed and drained, so the owner may write it. */
static void close_outcome(struct unstick_thread *self, int cut)
{
	struct unstick_outcome outcome;
	bool signalled = self->attempt.generation == self->generation && self->attempt.signals;
	outcome_load(&self->outcome, &outcome);
	if (cut) {
		outcome.kind = UNSTICK_WOKEN;
		outcome.error = cut;
		if (!signalled)
			forget_call(&outcome);
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
	uint64_t before = arm_off(self);
	int cut = atomic_load_explicit(&self->slot[index].cut, memory_order_relaxed);
	if (before & STATE_FIRED)
		close_outcome(self, cut);
	arm_forget_shields(self, index);
	arm_settle(self, index);
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
	arm_off(self);
	for (unsigned i = 0; i <= THREAD_MAX_SCOPES; i++)
		self->shields[i] = 0;
	arm_settle(self, 0);
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
	drop_dead(self, (uintptr_t)__builtin_frame_address(0), NULL);
	arm_off(self);
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	self->shields[depth]++;
	arm_settle(self, depth);
}

void unstick_shield_end(void)
{
	struct unstick_thread *self = thread_current;
	if (!self)
		return;
	drop_dead(self, (uintptr_t)__builtin_frame_address(0), NULL);
	arm_off(self);
	unsigned depth = atomic_load_explicit(&self->depth, memory_order_relaxed);
	if (self->shields[depth])
		self->shields[depth]--;
	arm_settle(self, depth);
}
