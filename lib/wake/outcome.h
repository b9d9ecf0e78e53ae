/* SPDX-License-Identifier: MIT
 *
 * Keeping outcomes in a thread's record, and saying them in words.
 */
#ifndef UNSTICK_WAKE_OUTCOME_H
#define UNSTICK_WAKE_OUTCOME_H

#include "base/seqbox.h"
#include "unstick.h"

/* One writer at a time: the poker while it holds POKING, or the owner while disarmed and drained. Both async-signal-safe. */
void outcome_store(struct seqbox *box, const struct unstick_outcome *outcome);
void outcome_load(const struct seqbox *box, struct unstick_outcome *outcome);

#endif
