/* SPDX-License-Identifier: MIT
 *
 * fork: the locks are held over it in their order (registry, then tokens), so that the child's lists are whole; the child has one thread,
 * no scopes, no monitor. _Fork(2) and bare clone(2) skip this; after them only async-signal-safe functions may be called, as ever.
 */
#include "wake/fork.h"

#include <pthread.h>

#include "limit/alarm.h"
#include "limit/token.h"
#include "wake/interrupt.h"
#include "wake/scope.h"
#include "wake/signal.h"
#include "wake/thread.h"

static void before(void)
{
	thread_before_fork();
	token_before_fork();
}

static void after_in_parent(void)
{
	token_after_fork_parent();
	thread_after_fork_parent();
}

static void after_in_child(void)
{
	scope_fork_epoch++;
	signal_after_fork();
	alarm_after_fork();
	token_after_fork_child();
	thread_after_fork_child();
	interrupt_after_fork();
}

void fork_register(void)
{
	pthread_atfork(before, after_in_parent, after_in_child);
}
