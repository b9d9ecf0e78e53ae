/* SPDX-License-Identifier: MIT
 *
 * An engine: its workers and its offload threads; which of the workers an fd belongs to; opening, closing, forks.
 */
#ifndef UNSTICK_ENGINE_ENGINE_H
#define UNSTICK_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "unstick.h"

struct offload;
struct op;
struct worker;

struct unstick_engine {
	_Atomic bool closing;
	_Atomic unsigned submitters; /* threads between "is it closing?" and "posted" */
	unsigned fork_epoch;
	unsigned worker_count;
	struct worker *workers;
	struct offload *offload;
	struct unstick_engine *next; /* of all that live, for forks */
};

/* Was the operation begun before a fork whose child this is? Then it is not this process's. */
bool engine_is_of_parent(const struct op *op);

#endif
