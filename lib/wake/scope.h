/* SPDX-License-Identifier: MIT
 *
 * What the rest of the wake layer needs of scopes. All of it runs on the owner thread.
 */
#ifndef UNSTICK_WAKE_SCOPE_H
#define UNSTICK_WAKE_SCOPE_H

#include "wake/thread.h"

/* The owner found STATE_FIRED: which scope is it, and why? Marks that scope and those inside it as cut, and returns the error;
 * 0 if none of the live scopes has fired (what had fired belonged to a frame that is gone): the flag is then cleared and the
 * call may go on. Not in the handler. */
int scope_cut(struct unstick_thread *self);

/* The same for the handler, whose interrupted code has the stack pointer `sp`: marks, but changes nothing else. */
int scope_cut_in_handler(struct unstick_thread *self, uintptr_t sp);

/* Is the frame of every open scope gone, as seen from the stack pointer `sp`? In the handler. */
bool scope_all_dead(const struct unstick_thread *self, uintptr_t sp);

/* The thread ends: disarms, drains, forgets all scopes. */
void scope_drop_all(struct unstick_thread *self);

/* Counts forks; a scope that was begun before one ends as nothing. */
extern unsigned scope_fork_epoch;

#endif
