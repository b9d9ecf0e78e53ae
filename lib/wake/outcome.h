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

/* " in read on fd 5 (pipe_read)", or "": for a message that names the thread in its own way. */
void outcome_where(const struct unstick_outcome *outcome, char *buf, size_t size);
/* What it means for who waits, and what can be done; of a kind alone. */
const char *outcome_meaning(const struct unstick_outcome *outcome);
const char *outcome_advice(int kind);

#endif
