/* SPDX-License-Identifier: MIT
 *
 * What becomes of an operation, on its worker's thread.
 */
#ifndef UNSTICK_ENGINE_COURSE_H
#define UNSTICK_ENGINE_COURSE_H

#include "engine/worker.h"

/* A new operation; with it goes the engine's reference, which its end gives back. */
void course_begin(struct worker *worker, struct op *op);
/* Cuts it short, if it has not ended. */
void course_cut(struct worker *worker, struct op *op, int reason);
/* Its call on a thread has a result. */
void course_call_returned(struct worker *worker, struct op *op);
/* All whose moment has come. */
void course_expire(struct worker *worker);
/* All there are; those that begin later are refused. */
void course_cut_all(struct worker *worker);

#endif
