/* SPDX-License-Identifier: MIT
 *
 * See stays.h. Two lists: of the round before, sorted, and of this one. A thread is known by its numbers; one that ended and left its
 * number to another has not the other's count of switches, call, arguments and stack at once.
 */
#include "stays.h"

#include <stdlib.h>
#include <string.h>

#include "command.h"

struct list {
	struct stay *at;
	size_t count, room;
};

struct stays {
	struct list before, now;
};

struct stays *stays_new(void)
{
	struct stays *stays = calloc(1, sizeof(*stays));
	if (!stays)
		out_of_memory();
	return stays;
}

struct stays *stays_free(struct stays *stays)
{
	if (stays) {
		free(stays->before.at);
		free(stays->now.at);
		free(stays);
	}
	return NULL;
}

static int by_thread(const void *a, const void *b)
{
	const struct stay *one = a, *other = b;
	if (one->pid != other->pid)
		return one->pid < other->pid ? -1 : 1;
	return (one->tid > other->tid) - (one->tid < other->tid);
}

void stays_begin(struct stays *stays)
{
	struct list spare = stays->before;

	stays->before = stays->now;
	stays->now = spare;
	stays->now.count = 0;
	if (stays->before.count)
		qsort(stays->before.at, stays->before.count, sizeof(struct stay), by_thread);
}

static const struct stay *find(const struct list *list, const struct stay *stay)
{
	return list->count ? bsearch(stay, list->at, list->count, sizeof(*stay), by_thread) : NULL;
}

static bool is_same(const struct task_call *one, const struct task_call *other)
{
	return one->nr == other->nr && memcmp(one->args, other->args, sizeof(one->args)) == 0 && one->sp == other->sp &&
	       one->pc == other->pc;
}

static struct stay *add(struct list *list, const struct stay *stay)
{
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 64;
		list->at = reallocarray(list->at, list->room, sizeof(*list->at));
		if (!list->at)
			out_of_memory();
	}
	list->at[list->count] = *stay;
	return &list->at[list->count++];
}

/* The call was read first, then the count, then the clock: a thread that moved between the first two has a count that is new, and is
 * asleep in what it is seen in next, if that is the same, since before the clock was read. */
struct stay *stays_see(struct stays *stays, pid_t pid, pid_t tid, const struct task_call *call, int64_t switches, unstick_time now)
{
	struct stay stay = {.pid = pid, .tid = tid, .call = *call, .switches = switches, .since = now};
	const struct stay *before = find(&stays->before, &stay);

	if (before && switches >= 0 && before->switches == switches && is_same(&before->call, call)) {
		stay.since = before->since;
		stay.told = before->told;
	}
	return add(&stays->now, &stay);
}

struct stay *stays_see_report(struct stays *stays, const struct unstick_report *report)
{
	struct task_call call = {.nr = report->nr, .sp = report->sp, .pc = report->pc};
	int64_t switches = task_switches(report->pid, report->tid);

	memcpy(call.args, report->args, sizeof(call.args));
	return stays_see(stays, report->pid, report->tid, &call, switches, unstick_now());
}
