/* SPDX-License-Identifier: MIT
 *
 * A hierarchical timing wheel: deadlines to insert, remove and expire at a cost that does not depend on how many there are.
 * Never early; late by one tick (0.53 ms) at most, and by what the caller oversleeps. Also keeps those that never expire, so
 * that it lists all. One owner: no function may be called by two threads at once. Nothing here allocates.
 */
#ifndef UNSTICK_ENGINE_WHEEL_H
#define UNSTICK_ENGINE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limit/time.h"

enum { WHEEL_TICK_SHIFT = 19, WHEEL_SLOT_SHIFT = 6, WHEEL_SLOTS = 1 << WHEEL_SLOT_SHIFT, WHEEL_LEVELS = 7 };

/* In the object that has the deadline. */
struct wheel_link {
	struct wheel_link *next, *prev; /* NULL: not in the wheel */
	unstick_time when;
};

struct wheel {
	uint64_t tick; /* all that was due up to here has been taken out */
	/* The last tick that something was inserted for, and its list. WHEEL_NO_TICK once the list has been emptied, or `tick` has
	 * moved, for then a tick may have another list. */
	uint64_t recent_tick;
	struct wheel_link *recent;
	uint64_t map[WHEEL_LEVELS]; /* a bit a list that is not empty */
	struct wheel_link list[WHEEL_LEVELS][WHEEL_SLOTS];
	struct wheel_link never;
};

void wheel_start(struct wheel *wheel, unstick_time now);
void wheel_insert_timed(struct wheel *wheel, struct wheel_link *link);

#define WHEEL_NO_TICK UINT64_MAX

static inline uint64_t wheel_tick_up(unstick_time t)
{
	const uint64_t mask = ((uint64_t)1 << WHEEL_TICK_SHIFT) - 1;
	return t < 0 ? 0 : ((uint64_t)t + mask) >> WHEEL_TICK_SHIFT;
}

static inline void wheel_append(struct wheel_link *head, struct wheel_link *link)
{
	link->next = head;
	link->prev = head->prev;
	head->prev->next = link;
	head->prev = link;
}

/* `when` UNSTICK_NEVER is allowed. The link must not be in the wheel. Operations that are begun together mostly have the same
 * deadline, within a tick. */
static inline void wheel_insert(struct wheel *wheel, struct wheel_link *link, unstick_time when)
{
	link->when = when;
	if (when == UNSTICK_NEVER)
		wheel_append(&wheel->never, link);
	else if (wheel_tick_up(when) == wheel->recent_tick)
		wheel_append(wheel->recent, link);
	else
		wheel_insert_timed(wheel, link);
}

/* The last of its list has been removed; its neighbours were the list's head. */
void wheel_emptied(struct wheel *wheel, const struct wheel_link *head);

static inline void wheel_remove(struct wheel *wheel, struct wheel_link *link)
{
	struct wheel_link *next = link->next;
	link->prev->next = next;
	next->prev = link->prev;
	link->next = link->prev = NULL;
	if (next->next == next)
		wheel_emptied(wheel, next);
}
static inline bool wheel_holds(const struct wheel_link *link)
{
	return link->next;
}

/* The next one that is due at `now`, taken out of the wheel; NULL: no more. */
struct wheel_link *wheel_expired(struct wheel *wheel, unstick_time now);
/* When to call wheel_expired() again; at that moment there may be nothing to take yet. UNSTICK_NEVER: there is nothing that
 * expires. */
unstick_time wheel_next(const struct wheel *wheel);
/* All, taken out, linked by `next`, the last one's NULL. */
struct wheel_link *wheel_take_all(struct wheel *wheel);

#endif
