/* SPDX-License-Identifier: MIT
 *
 * The record of an attached thread: all that a canceller needs to reach it safely. Records are type-stable: taken from a
 * registry that only grows, recycled when their thread has ended and nobody holds a reference, never unmapped.
 * docs/memory-model.md says who owns each field; in short:
 *   owner      the attached thread itself, in ordinary code or in a handler that runs on it
 *   poker      whoever has set POKING in the state word by compare-and-swap; at most one at a time
 *   monitor    the background thread
 */
#ifndef UNSTICK_WAKE_THREAD_H
#define UNSTICK_WAKE_THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "limit/token.h"
#include "wake/arch/arch.h"
#include "wake/ticket.h"

/* The state word: generation << 8 | flags. Bits 1 and up of the flags are known to window.S. */
enum {
	STATE_ARMED = 1,  /* set and cleared by the owner: pokes for this generation may come */
	STATE_FIRED = 2,  /* set while ARMED by pokers, or by the owner; own calls are not made */
	STATE_POKING = 4, /* set by a poker while ARMED; the owner waits for its end before it leaves the scope */
	STATE_GENERATION_SHIFT = 8,
};

enum { THREAD_MAX_SCOPES = 16, THREAD_MAX_ALLOWED = 4 };

/* An open scope. Written by the owner while disarmed; read by pokers under the generation that they compare-and-swap on. */
struct scope_slot {
	_Atomic(struct unstick_token *) token; /* may be NULL; the caller's reference */
	_Atomic unstick_time deadline;
	_Atomic long allowed[THREAD_MAX_ALLOWED]; /* system calls; -1 unused */
	/* The owner's alone: */
	struct unstick_scope *scope; /* where it was begun: tells whether that frame still exists */
	uint64_t id;                 /* generation of its begin */
	_Atomic int cut;             /* the error that a call in it was cut short with (also stored by the handler); 0 none */
};

struct unstick_thread {
	struct window window; /* first: window.S */
	_Atomic uint32_t
	        inflight;        /* a signal may be pending: set by the poker after it sent, cleared by the handler and the drain */
	_Atomic uint32_t resume; /* owner: our signal gave an own call -EINTR though nothing had fired */
	_Atomic unstick_time deadline; /* the earliest of the slots in force; written by the owner while disarmed */
	_Atomic unsigned depth, base;  /* slots [base, depth) are in force; written by the owner while disarmed */
	_Atomic pid_t tid;             /* 0: the record is free */
	_Atomic int call_fd;           /* kept /proc/self/task/TID/syscall, -1 none */

	_Alignas(64) struct scope_slot slot[THREAD_MAX_SCOPES];
	unsigned short shields[THREAD_MAX_SCOPES + 1]; /* owner: shields begun at each depth */
	uint64_t generation;                           /* owner: the last one used */
	uintptr_t stack_low, stack_high;               /* owner: bounds of the thread's own stack */

	_Alignas(64) struct ticket ticket; /* poker writes, handler reads */
	struct seqbox outcome; /* struct unstick_outcome of the last attempt; written by the poker, or by the owner disarmed */

	struct attempt {             /* the poker's while POKING; the owner's once drained */
		uint64_t generation; /* of the fired scope that the rest is about */
		unstick_time begun;
		unsigned signals;
		uint32_t taken, seen;  /* of the ticket: when last blocked in a call; when last looked */
		unsigned repeats;      /* times that the same call took its error and was made again */
		struct task_call last; /* that call */
		pid_t child;           /* that a wait which was cut short was for */
	} attempt;

	struct second_look { /* the monitor's alone */
		uint64_t generation;
		unstick_time at, gap;
		bool obstacle_told;
	} look;

	_Atomic unsigned refs;       /* handles, and one for being attached */
	_Atomic bool attached;       /* its thread uses it; false: only a handle to a thread that does not use scopes, or that */
	_Atomic bool ended;          /* ... has ended (or was left behind by a fork) */
	uint64_t start_time;         /* of a thread that is not attached: tells a reused tid */
	struct unstick_thread *next; /* registry; constant once published */
	struct unstick_thread *free_next; /* under the registry's lock */
};

extern _Thread_local struct unstick_thread *thread_current __attribute__((tls_model("initial-exec")));
extern _Atomic(struct unstick_thread *) thread_registry; /* all records ever made */

/* The calling thread's record, made and attached if need be. NULL with *error set: -ENOMEM, -EAGAIN, -ENOSYS. Not
 * async-signal-safe. */
struct unstick_thread *thread_attach(int *error);

static inline uint64_t thread_state(const struct unstick_thread *thread)
{
	return atomic_load_explicit(&thread->window.state, memory_order_seq_cst);
}

/* For the owner, on its own record. */
static inline bool thread_is_armed(struct unstick_thread *self)
{
	return self && (atomic_load_explicit(&self->window.state, memory_order_relaxed) & STATE_ARMED);
}

static inline bool thread_same_generation(uint64_t a, uint64_t b)
{
	return a >> STATE_GENERATION_SHIFT == b >> STATE_GENERATION_SHIFT;
}

static inline bool thread_on_own_stack(const struct unstick_thread *self, uintptr_t address)
{
	return address >= self->stack_low && address < self->stack_high;
}

/* The marker is set. Is its call still there, for code whose stack pointer is `sp`? The owner's alone. */
bool thread_own_call_exists(const struct unstick_thread *self, uintptr_t sp);

/* Of attempts before this moment nothing is kept. The owner's alone, while no scope of it is open. */
void thread_forget_outcome(struct unstick_thread *self);

/* Is its outermost scope behind a shield, and no other one of it fired? Any thread; true of that moment only. */
static inline bool thread_is_shielded(const struct unstick_thread *thread)
{
	return thread && atomic_load_explicit(&thread->base, memory_order_relaxed) > 0 && !(thread_state(thread) & STATE_FIRED);
}

void thread_before_fork(void);
void thread_after_fork_parent(void);
void thread_after_fork_child(void);

#endif
