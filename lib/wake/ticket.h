/* SPDX-License-Identifier: MIT
 *
 * A ticket tells the handler of the wake signal: "if you have interrupted exactly this call, give it this error". Written by
 * one poker at a time, before it sends; read by the handler on the target thread, at any moment; a torn or old ticket changes
 * nothing. A pc and a stack pointer alone do not tell two calls apart (all cancellable calls of musl and of glibc >= 2.41 go
 * through one instruction), so the six argument registers, which the kernel preserves, are compared too.
 */
#ifndef UNSTICK_WAKE_TICKET_H
#define UNSTICK_WAKE_TICKET_H

#include "base/seqbox.h"
#include "inspect/task.h"
#include "wake/arch/arch.h"

struct ticket {
	struct seqbox box;
	_Atomic uint32_t runs;  /* handler runs that looked at it: a signal has arrived. Futex. Only the handler writes. */
	_Atomic uint32_t taken; /* of those, the ones in which the call was given the error. Only the handler writes. */
};

enum { TICKET_ZERO = 1 }; /* as `error`: the call is to return 0 */

/* `error` is what the call is to return (-EINTR: leave the kernel's answer). `generation`: of the scope, 0 for an interrupt. */
void ticket_write(struct ticket *ticket, const struct task_call *call, int error, uint64_t generation);
/* No call matches it any more. */
void ticket_clear(struct ticket *ticket);

/* In the handler. If the interrupted call is the ticket's, returns the error that it is to be given, else 0. */
int ticket_match(struct ticket *ticket, const ucontext_t *context, uint64_t generation);
/* After a match: makes the interrupted call return `error`. */
void ticket_apply(struct ticket *ticket, ucontext_t *context, int error);

#endif
