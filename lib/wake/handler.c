/* SPDX-License-Identifier: MIT
 *
 * What happens when the wake signal arrives. All signals are masked meanwhile, so on this thread nothing runs on top of it; it
 * takes no lock, allocates nothing, sleeps in no system call, and leaves errno as it was.
 *
 * It has interrupted one of:
 *   the window before the call     fired: move the pc to the cut exit. The call was not made and will not be.
 *   the window after the call      a result >= 0 is kept. -EINTR: with a scope fired, call.c turns it into the reason; with a ticket, it
 *                                  becomes the ticket's error; else call.c makes the call again ("resume").
 *   another handler on top of an own call   the call is below, perhaps about to be restarted: the pc in that handler's frame is moved.
 *   a foreign call                 if it is exactly the ticket's call, and the kernel ended it with -EINTR: give it the ticket's error.
 *                                  Another call that it ended keeps its EINTR; the scope was cut short all the same.
 *   anything else                  nothing is touched.
 */
#include "wake/handler.h"

#include <errno.h>

#include "base/raw.h"
#include "wake/scope.h"
#include "wake/signal.h"

struct desk handler_desk[HANDLER_DESK_SIZE];
_Atomic unsigned handler_desk_used;

/* ---- interrupts */

static bool serve_desk(ucontext_t *context)
{
	bool applied = false;
	pid_t tid = (pid_t)RAW_0(SYS_gettid);
	for (unsigned i = 0; i < HANDLER_DESK_SIZE; i++) {
		struct desk *desk = &handler_desk[i];
		if (atomic_load(&desk->tid) != tid)
			continue;
		int error = ticket_match(&desk->ticket, context, 0);
		if (error) {
			ticket_apply(&desk->ticket, context, error);
			applied = true;
		}
		atomic_fetch_add(&desk->ticket.runs, 1);
		futex_wake(&desk->ticket.runs, 1);
	}
	return applied;
}

/* ---- own calls */

static bool in_window(uintptr_t pc)
{
	return pc >= (uintptr_t)arch_window_start && pc <= (uintptr_t)arch_window_syscall;
}

/* Another handler lies on top of an own call: the call's registers are in that handler's signal frame, somewhere between the
 * stack pointer and the call's. Its pc is moved as the handler's own would be, so that the call is cut as soon as the upper
 * handler returns. Found by what it must hold: that stack pointer, and a pc in the window. Where there is no such frame (the
 * call was left by a longjmp; the upper handler runs on an alternate stack) nothing is done: the second look remains. No ASan:
 * the frames in between are not ours. */
__attribute__((no_sanitize("address"))) static void cut_below(struct unstick_thread *self, const ucontext_t *context)
{
	enum { FARTHEST = 128 * 1024 };
	uintptr_t call_sp = atomic_load_explicit(&self->window.marker_sp, memory_order_relaxed);
	uintptr_t at = arch_sp(context) & ~(uintptr_t)7;
	if (!thread_on_own_stack(self, at) || !thread_on_own_stack(self, call_sp) || call_sp - at > FARTHEST)
		return;
	for (; at + sizeof(ucontext_t) <= call_sp; at += 8) {
		uintptr_t *sp = (uintptr_t *)(at + ARCH_SP_OFFSET), *pc = (uintptr_t *)(at + ARCH_PC_OFFSET);
		if (*sp == call_sp && in_window(*pc))
			*pc = (uintptr_t)arch_window_cut;
	}
}

/* ---- foreign calls */

/* Our signal has ended some call that no ticket is for: it was on its way into it when it was looked at. It may be any call,
 * so that it keeps its plain EINTR; but the scope was cut short. Only the page of the pc is known to be mapped. */
static bool was_interrupted(const ucontext_t *context)
{
	uintptr_t pc = arch_pc(context);
	enum { SMALLEST_PAGE = 4096 };
	return arch_result(context) == -EINTR && pc % SMALLEST_PAGE >= ARCH_SYSCALL_LENGTH && arch_after_syscall(pc);
}

static void cut_foreign(struct unstick_thread *self, ucontext_t *context, uint64_t generation)
{
	uintptr_t sp = arch_sp(context);
	if (scope_all_dead(self, sp)) { /* left by longjmp: nothing may hit what runs now. The next begin clears up. */
		atomic_fetch_and(&self->window.state, ~(uint64_t)(STATE_ARMED | STATE_FIRED));
		return;
	}
	int error = ticket_match(&self->ticket, context, generation);
	if (!error && !was_interrupted(context))
		return;
	int reason = scope_cut_in_handler(self, sp);
	if (error && reason)
		ticket_apply(&self->ticket, context, error == -EINTR ? -EINTR : reason);
}

static void serve_scope(struct unstick_thread *self, ucontext_t *context)
{
	uint64_t state = thread_state(self);
	uintptr_t pc = arch_pc(context);
	bool fired = state & STATE_FIRED;
	if (in_window(pc)) {
		if (fired)
			arch_set_pc(context, (uintptr_t)arch_window_cut);
	} else if (pc == (uintptr_t)arch_window_cut) {
		return; /* an earlier signal has moved it here */
	} else if (pc == (uintptr_t)arch_window_after) {
		if (!fired && arch_result(context) == -EINTR)
			atomic_store_explicit(&self->resume, 1, memory_order_relaxed);
	} else if (fired) {
		if (atomic_load_explicit(&self->window.marker, memory_order_relaxed))
			cut_below(self, context);
		cut_foreign(self, context, state >> STATE_GENERATION_SHIFT);
	}
}

void handler_run(int signal, siginfo_t *info, void *raw)
{
	int saved_errno = errno;
	ucontext_t *context = raw;
	struct unstick_thread *self = thread_current;
	(void)signal;
	(void)info;
	if (self) {
		atomic_store(&self->inflight, 0); /* first: a poke that comes from here on is seen by scope_end */
		atomic_fetch_add_explicit(&self->ticket.runs, 1, memory_order_relaxed);
	}
	/* Whoever sent it: ours may have merged with somebody else's, and without a ticket or a fired scope nothing is changed. */
	bool applied = atomic_load(&handler_desk_used) && serve_desk(context);
	if (self && !applied)
		serve_scope(self, context);
	errno = saved_errno;
}
