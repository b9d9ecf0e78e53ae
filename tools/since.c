/* SPDX-License-Identifier: MIT
 *
 * See since.h. A thread is known by its numbers; one that ended and left its number to another has the other's count of switches, and
 * hardly the same call with the same stack. The table is sorted once a round.
 */
#include "since.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

struct stay {
	pid_t pid, tid;
	long nr;
	unsigned long args[6], sp;
	int64_t switches, first;
	bool noted;
};

struct stays {
	struct stay *at;
	size_t count, room;
};

struct since {
	struct stays old, current; /* of the round before, sorted; of this one */
	int64_t now;
};

struct since *since_new(void)
{
	struct since *since = calloc(1, sizeof(*since));
	if (!since)
		out_of_memory();
	return since;
}

void since_free(struct since *since)
{
	if (!since)
		return;
	free(since->old.at);
	free(since->current.at);
	free(since);
}

void since_begin(struct since *since, int64_t now)
{
	since->now = now;
	since->current.count = 0;
}

static int by_thread(const void *a, const void *b)
{
	const struct stay *one = a, *other = b;
	if (one->pid != other->pid)
		return one->pid < other->pid ? -1 : 1;
	return (one->tid > other->tid) - (one->tid < other->tid);
}

static bool is_same(const struct stay *one, const struct stay *other)
{
	return one->nr == other->nr && one->sp == other->sp && one->switches == other->switches &&
	       memcmp(one->args, other->args, sizeof(one->args)) == 0;
}

static void add(struct stays *stays, const struct stay *stay)
{
	if (stays->count == stays->room) {
		stays->room = stays->room ? 2 * stays->room : 64;
		stays->at = reallocarray(stays->at, stays->room, sizeof(*stays->at));
		if (!stays->at)
			out_of_memory();
	}
	stays->at[stays->count++] = *stay;
}

int64_t since_seen(struct since *since, const struct unstick_report *report, int64_t switches)
{
	struct stay stay = {.pid = report->pid,
	                    .tid = report->tid,
	                    .nr = report->nr,
	                    .sp = report->sp,
	                    .switches = switches,
	                    .first = since->now};
	memcpy(stay.args, report->args, sizeof(stay.args));
	const struct stay *before =
	        since->old.count ? bsearch(&stay, since->old.at, since->old.count, sizeof(stay), by_thread) : NULL;

	if (before && switches >= 0 && is_same(before, &stay)) {
		stay.first = before->first;
		stay.noted = before->noted;
	}
	add(&since->current, &stay);
	return since->now - stay.first;
}

bool since_note(struct since *since, const struct unstick_report *report)
{
	/* since_seen() of this thread was called a moment ago. */
	for (size_t i = since->current.count; i-- > 0;) {
		struct stay *stay = &since->current.at[i];
		if (stay->pid != report->pid || stay->tid != report->tid)
			continue;
		bool before = stay->noted;
		stay->noted = true;
		return before;
	}
	return false;
}

void since_end(struct since *since)
{
	struct stays old = since->old;

	if (since->current.count)
		qsort(since->current.at, since->current.count, sizeof(struct stay), by_thread);
	since->old = since->current;
	since->current = old;
}
