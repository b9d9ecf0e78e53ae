/* SPDX-License-Identifier: MIT
 *
 * The monitor's look at channels whose callers have gone: the file of an open that came to something late is closed, and so is what waits
 * for a channel or for memory to be closed, though the application should never ask for anything again. Rare: a look costs a system call
 * a channel.
 */
#include "helper/helper.h"
#include "limit/alarm.h"

static const unstick_time FIRST_GAP = 20 * TIME_NS_PER_MS, LAST_GAP = 1000 * (unstick_time)TIME_NS_PER_MS;

/* The longer it has been stuck, the longer it will be. */
static unstick_time next_look(const struct channel *channel, unstick_time now)
{
	unstick_time gap = (now - channel->since) / 4;
	gap = gap > FIRST_GAP ? gap : FIRST_GAP;
	return now + time_min(gap, LAST_GAP);
}

static void look(struct helper *helper, unstick_time now)
{
	channels_look(helper);
	unstick_time due = channels_close_due(helper) ? UNSTICK_NEVER : now + FIRST_GAP;
	for (unsigned i = 0; helper->state == HELPER_RUNS && i < HELPER_CHANNELS; i++)
		if (helper->channel[i].state == CHANNEL_STUCK)
			due = time_min(due, next_look(&helper->channel[i], now));
	helper->look = due;
}

static unstick_time scan(unstick_time now)
{
	struct helper *helper;
	helper_take_lock();
	while ((helper = helper_due(now))) {
		helper_hold(helper);
		look(helper, now);
		helper_put(helper);
	}
	unstick_time due = helper_next_look();
	helper_drop_lock();
	return due;
}

void late_expect(struct helper *helper)
{
	unstick_time at = unstick_after_ns(FIRST_GAP);
	if (at >= helper->look)
		return;
	helper->look = at;
	alarm_add(scan);
	alarm_ring();
}
