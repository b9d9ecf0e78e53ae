/* SPDX-License-Identifier: MIT
 *
 * What the layer needs once: its sources at the monitor, and its fork handlers. The tree lock is held over a fork, so that the
 * child's lists are whole; a layer above that registers later takes its own locks first, as the lock order wants.
 */
#include "limit/limit.h"

#include <pthread.h>

#include "limit/alarm.h"
#include "limit/token.h"
#include "limit/watch.h"

static void after_fork_child(void)
{
	alarm_after_fork();
	token_after_fork_child();
}

static void initialise(void)
{
	alarm_add(token_scan);
	alarm_add(watch_scan);
	pthread_atfork(token_before_fork, token_after_fork_parent, after_fork_child);
}

void limit_initialise(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, initialise);
}
