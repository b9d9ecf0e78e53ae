/* SPDX-License-Identifier: MIT
 *
 * unstick_token_wait(): until the token has fired and all the scopes it holds have ended. Itself an own call: a scope of the
 * waiter cuts it short. Sleeps on a counter that every end of a scope bumps while somebody waits, and every firing.
 */
#include <errno.h>

#include "wake/sleep.h"
#include "wake/thread.h"

enum held { HELD_NOT, HELD_BY_OTHERS, HELD_BY_SELF };

/* A slot that changes under us belongs to a begin that sees the fired token, or to an end that lowers the depth (seq_cst) and
 * then finds us among the waiters. */
static enum held who_holds(const struct unstick_token *token)
{
	enum held held = HELD_NOT;
	for (struct unstick_thread *thread = atomic_load(&thread_registry); thread; thread = thread->next) {
		unsigned depth = atomic_load(&thread->depth);
		for (unsigned i = 0; i < depth && i < THREAD_MAX_SCOPES; i++)
			if (token_is_below(atomic_load_explicit(&thread->slot[i].token, memory_order_relaxed), token)) {
				if (thread == thread_current)
					return HELD_BY_SELF;
				held = HELD_BY_OTHERS;
			}
	}
	return held;
}

static int wait_until(struct unstick_token *token, unstick_time until)
{
	for (;;) {
		uint32_t seen = atomic_load(&token_events);
		enum held held = who_holds(token);
		if (held == HELD_BY_SELF)
			return -EDEADLK;
		if (held == HELD_NOT && token_error(token))
			return 0;
		if (unstick_now() >= until)
			return -ETIMEDOUT;
		int error = sleep_on(&token_events, seen, until);
		if (error)
			return error;
	}
}

int unstick_token_wait(struct unstick_token *token, unstick_time until)
{
	if (!token)
		return -EINVAL;
	if (token_has_deadlines()) /* in a forked child the monitor is to be started again */
		(void)alarm_start();
	atomic_fetch_add(&token_waiters, 1);
	int error = wait_until(token, until);
	atomic_fetch_sub(&token_waiters, 1);
	return error;
}
