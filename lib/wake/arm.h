/* SPDX-License-Identifier: MIT
 *
 * Arming and disarming a thread's record: from when to when pokes may reach it. The owner's alone.
 */
#ifndef UNSTICK_WAKE_ARM_H
#define UNSTICK_WAKE_ARM_H

#include "wake/thread.h"

/* From here on no new poke; when it returns none is under way and no signal of one is pending. Returns the state before. */
uint64_t arm_off(struct unstick_thread *self);

/* `depth` slots are open now, or shields have changed: arms if any slot is in force. The record is disarmed. */
void arm_settle(struct unstick_thread *self, unsigned depth);

/* Fewer slots are open now; tells those in unstick_token_wait(). The record is disarmed, and to be settled. */
void arm_lower(struct unstick_thread *self, unsigned depth);

/* Shields begun in scopes that are gone. */
void arm_forget_shields(struct unstick_thread *self, unsigned depth);

#endif
