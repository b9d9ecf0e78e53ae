/* SPDX-License-Identifier: MIT
 *
 * A helper for each set of threads that have the same rights: found, started, replaced when it is held up.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "helper/client.h"
#include "helper/helper.h"
#include "wake/sleep.h"

enum { MOST_SETS = 64, MOST_REFUSALS = 3 };

static struct helper_set *sets;

/* ---- sets */

static bool is_idle(const struct helper_set *set)
{
	return set->refs == 0 && (!set->current || (set->current->state == HELPER_RUNS && set->current->refs == 0));
}

/* A set that nobody uses goes, with its helper: it holds no file. */
static bool drop_idle_set(void)
{
	for (struct helper_set **at = &sets; *at; at = &(*at)->next) {
		struct helper_set *set = *at;
		if (!is_idle(set) || helper_any_replaced(set))
			continue;
		*at = set->next;
		if (set->current) {
			set->current->set = NULL;
			helper_let_go(set->current);
		}
		free(set);
		return true;
	}
	return false;
}

static struct helper_set *add_set(const struct identity *identity)
{
	struct helper_set *set = calloc(1, sizeof *set);
	if (!set)
		return NULL;
	set->identity = *identity;
	set->next = sets;
	sets = set;
	return set;
}

int set_find(const struct identity *identity, struct helper_set **ret)
{
	struct helper_set *set = sets;
	unsigned count = 0;
	while (set && !identity_equal(&set->identity, identity, true)) {
		set = set->next;
		count++;
	}
	if (!set && count >= MOST_SETS && !drop_idle_set())
		return -EAGAIN;
	if (!set)
		set = add_set(identity);
	if (!set)
		return -ENOMEM;
	set->refs++;
	*ret = set;
	return 0;
}

void set_drop(struct helper_set *set)
{
	set->refs--;
}

/* ---- starting one */

static void end_start(struct helper *helper, int error)
{
	helper->start_error = error;
	helper->state = error ? HELPER_LOST : HELPER_RUNS;
	if (error) {
		helper->set->current = NULL;
		helper->set->refusals += error == -EPERM;
	} else {
		helper_tell(NEWS_STARTED, helper->pid);
	}
	atomic_fetch_add(&helper->freed, 1);
	futex_wake(&helper->freed, INT_MAX);
}

static int start(struct helper_set *set)
{
	if (set->refusals >= MOST_REFUSALS)
		return -EPERM;
	if (!helper_may_be_more()) {
		helper_tell(NEWS_LIMIT, 0);
		return -EAGAIN;
	}
	struct helper *helper = helper_new(set);
	if (!helper)
		return -ENOMEM;
	set->current = helper;
	helper_drop_lock();
	int error = helper_start(helper, &set->identity);
	helper_take_lock();
	end_start(helper, error);
	helper_put(helper);
	return error;
}

/* Another thread is starting it. That one's scope may cut the start short, which is no error of this one. */
static int await_start(struct helper *helper)
{
	int error = 0;
	helper_hold(helper);
	while (helper->state == HELPER_STARTING && !error) {
		uint32_t seen = atomic_load(&helper->freed);
		helper_drop_lock();
		error = sleep_on(&helper->freed, seen, UNSTICK_NEVER);
		helper_take_lock();
	}
	if (!error && helper->start_error != -ECANCELED && helper->start_error != -ETIMEDOUT)
		error = helper->start_error;
	helper_put(helper);
	return error;
}

int set_helper(struct helper_set *set, enum start_right right, struct helper **ret)
{
	for (;;) {
		struct helper *helper = set->current;
		int error = 0;
		if (helper && helper->state == HELPER_STARTING) {
			error = await_start(helper);
		} else if (helper) {
			helper_hold(helper);
			channels_look(helper);
			bool held_up = helper->state == HELPER_RUNS && channels_are_held_up(helper);
			if (helper->state == HELPER_RUNS && (!held_up || right == NO_RIGHT_TO_START)) {
				*ret = helper;
				return 0;
			}
			if (held_up && right == RIGHT_UNKNOWN)
				error = SET_NEEDS_RIGHT;
			else if (held_up)
				helper_replace(helper);
			helper_put(helper);
		} else if (right == RIGHT_UNKNOWN) {
			error = SET_NEEDS_RIGHT;
		} else {
			error = right == RIGHT_TO_START ? start(set) : -EAGAIN;
		}
		if (error)
			return error;
	}
}

/* ---- forks */

void helper_before_fork(void)
{
	lock_take(&start_lock);
	lock_take(&helper_lock);
}

void helper_after_fork_parent(void)
{
	lock_drop(&helper_lock);
	lock_drop(&start_lock);
}

void helper_after_fork_child(void)
{
	helper_disown_all();
	for (struct helper_set *set = sets; set; set = set->next)
		set->current = NULL;
	lock_drop(&helper_lock);
	lock_drop(&start_lock);
}
