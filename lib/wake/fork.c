/* SPDX-License-Identifier: MIT
 *
 * fork: the registry's lock is held over it, so that the child's lists are whole; the child has one thread and no scopes.
 * Registered after limit's handlers, so that fork(3) takes the locks in their order: registry, then tokens. _Fork(2) and bare
 * clone(2) skip this; after them only async-signal-safe functions may be called, as ever.
 */
#include "wake/fork.h"

#include <pthread.h>

#include "limit/limit.h"
#include "wake/interrupt.h"
#include "wake/scope.h"
#include "wake/signal.h"
#include "wake/thread.h"

static void before(void)
{
	thread_before_fork();
}

static void after_in_parent(void)
{
	thread_after_fork_parent();
}

static void after_in_child(void)
{
	scope_fork_epoch++;
	signal_after_fork();
	thread_after_fork_child();
	interrupt_after_fork();
}

static void register_once(void)
{
	limit_initialise();
	pthread_atfork(before, after_in_parent, after_in_child);
}

void fork_register(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, register_once);
}
