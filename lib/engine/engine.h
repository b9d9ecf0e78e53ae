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
	_Atomic unsigned told;       /* TOLD_* */
	unsigned fork_epoch;
	bool isolates; /* UNSTICK_ENGINE_ISOLATE */
	unsigned worker_count;
	struct worker *workers;
	struct offload *offload;
	struct unstick_engine *next; /* of all that live, for forks */
};

/* Once an engine, because a correct program may meet them, and then for each of many operations. */
enum { TOLD_CLOSING = 1u << 0, TOLD_FORKED = 1u << 1, TOLD_ORPHANS = 1u << 2, TOLD_NO_MONITOR = 1u << 3 };

/* A line to the log, the first time of `which`. */
void engine_tell_once(struct unstick_engine *engine, unsigned which, const char *what, const char *why);
/* The same each time: -EINVAL. */
int engine_refuse_null(const char *what, const char *name);
/* -EOWNERDEAD. */
int engine_refuse_child(struct unstick_engine *engine, const char *what);

/* Forks that this process is away from the one that loaded the library. */
extern unsigned engine_fork_epoch;

/* Is it the engine of a parent process, in a forked child? */
static inline bool engine_is_parents(const struct unstick_engine *engine)
{
	return engine->fork_epoch != engine_fork_epoch;
}
/* Is the calling thread one of its workers? */
bool engine_has_worker_here(const struct unstick_engine *engine);

/* Was the operation begun before a fork whose child this is? Then it is not this process's. */
bool engine_is_of_parent(const struct op *op);

#endif
