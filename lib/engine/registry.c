/* SPDX-License-Identifier: MIT
 *
 * All engines that live, for forks: the child has their memory, not their threads. It closes their fds, because a child that
 * kept the rings' would keep their operations alive after the parent's close, and knows by a count of forks that they are not
 * its own.
 */
#include "engine/registry.h"

#include <pthread.h>

#include "base/lock.h"
#include "engine/op.h"
#include "engine/worker.h"
#include "helper/client.h"
#include "wake/fork.h"

static struct lock engines_lock; /* order: this one, then the helpers', then limit's and wake's */
static struct unstick_engine *engines;
unsigned engine_fork_epoch;

static void before_fork(void)
{
	lock_take(&engines_lock);
	op_before_fork();
	helper_before_fork();
}

static void after_fork_parent(void)
{
	helper_after_fork_parent();
	op_after_fork();
	lock_drop(&engines_lock);
}

static void after_fork_child(void)
{
	helper_after_fork_child();
	op_after_fork();
	engine_fork_epoch++;
	worker_current = NULL;
	worker_after_fork();
	for (struct unstick_engine *engine = engines; engine; engine = engine->next)
		for (unsigned i = 0; i < engine->worker_count; i++)
			if (engine->workers[i].state)
				engine->workers[i].back_end->abandon(&engine->workers[i]);
	engines = NULL;
	lock_drop(&engines_lock);
}

static void register_once(void)
{
	fork_register();
	pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void registry_start(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, register_once);
}

bool engine_is_of_parent(const struct op *op)
{
	return op->fork_epoch != (uint8_t)engine_fork_epoch;
}

void registry_add(struct unstick_engine *engine)
{
	lock_take(&engines_lock);
	engine->next = engines;
	engines = engine;
	lock_drop(&engines_lock);
}

void registry_remove(struct unstick_engine *engine)
{
	lock_take(&engines_lock);
	for (struct unstick_engine **at = &engines; *at; at = &(*at)->next)
		if (*at == engine) {
			*at = engine->next;
			break;
		}
	lock_drop(&engines_lock);
}

void registry_close_workers(struct unstick_engine *engine)
{
	lock_take(&engines_lock); /* a fork meanwhile would find rings that are half closed */
	for (unsigned i = 0; i < engine->worker_count; i++)
		worker_close(&engine->workers[i]);
	engine->worker_count = 0;
	lock_drop(&engines_lock);
}
