/* SPDX-License-Identifier: MIT
 *
 * What jobs are stuck in, for people: found by looking, without stopping anything.
 */
#ifndef UNSTICK_POOL_LEFT_H
#define UNSTICK_POOL_LEFT_H

#include "pool/pool.h"

/* All abandoned jobs of the pool; a line to the log for each of those that are named. Not under the lock. */
void left_fill(struct unstick_pool *pool, struct unstick_left *left);

#endif
