/* SPDX-License-Identifier: MIT
 *
 * See overdue.h. A sample is a list of the threads that are blocked, in the order of process and thread, so that it is set beside the
 * one before it in one pass.
 */
#include "overdue.h"

#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "inspect/task.h"

struct blocked {
	pid_t pid, tid;
	struct task_call call;
	int64_t switches;
	unstick_time since; /* known to be in this call then */
	bool told;
};

struct sample {
	struct blocked *at;
	size_t count, room;
};

struct overdue {
	struct sample before, now;
	size_t next; /* in `before`: the first that does not come before the thread that is looked at */
};

struct overdue *overdue_new(void)
{
	struct overdue *overdue = calloc(1, sizeof(*overdue));
	if (!overdue)
		out_of_memory();
	return overdue;
}

struct overdue *overdue_free(struct overdue *overdue)
{
	if (overdue) {
		free(overdue->before.at);
		free(overdue->now.at);
		free(overdue);
	}
	return NULL;
}

static struct blocked *add(struct sample *sample, const struct blocked *blocked)
{
	if (sample->count == sample->room) {
		sample->room = sample->room ? 2 * sample->room : 64;
		sample->at = reallocarray(sample->at, sample->room, sizeof(*sample->at));
		if (!sample->at)
			out_of_memory();
	}
	sample->at[sample->count] = *blocked;
	return &sample->at[sample->count++];
}

/* The call first, then the count, then the clock: a thread that moves between the first two has a count that is new, and is
 * asleep in what it is seen in next, if that is the same, since before the clock was read. */
static bool look(pid_t pid, pid_t tid, struct blocked *blocked)
{
	memset(blocked, 0, sizeof(*blocked)); /* `call` is compared as bytes */
	blocked->pid = pid;
	blocked->tid = tid;
	if (task_read_call(pid, tid, &blocked->call) != TASK_BLOCKED || blocked->call.nr < 0)
		return false;
	blocked->switches = task_switches(pid, tid);
	blocked->since = unstick_now();
	return blocked->switches >= 0;
}

static const struct blocked *earlier(struct overdue *overdue, pid_t pid, pid_t tid)
{
	const struct sample *before = &overdue->before;

	while (overdue->next < before->count) {
		const struct blocked *one = &before->at[overdue->next];
		if (one->pid == pid && one->tid == tid)
			return one;
		if (one->pid > pid || (one->pid == pid && one->tid > tid))
			break;
		overdue->next++;
	}
	return NULL;
}

static bool is_same_call(const struct blocked *a, const struct blocked *b)
{
	return a->switches == b->switches && memcmp(&a->call, &b->call, sizeof(a->call)) == 0;
}

static struct blocked *sample_thread(struct overdue *overdue, pid_t pid, pid_t tid)
{
	const struct blocked *before = earlier(overdue, pid, tid);
	struct blocked blocked;

	if (!look(pid, tid, &blocked))
		return NULL;
	if (before && is_same_call(before, &blocked)) {
		blocked.since = before->since;
		blocked.told = before->told;
	}
	return add(&overdue->now, &blocked);
}

static void begin_sample(struct overdue *overdue)
{
	struct sample spare = overdue->before;

	overdue->before = overdue->now;
	overdue->now = spare;
	overdue->now.count = 0;
	overdue->next = 0;
}

void overdue_sample(struct overdue *overdue, const struct pid_list *processes, unstick_time start,
                    void (*found)(void *arg, pid_t pid, pid_t tid, unstick_time since), void *arg)
{
	begin_sample(overdue);
	for (size_t i = 0; i < processes->count; i++) {
		struct pid_list threads = {0};
		pid_t pid = processes->at[i];

		targets_threads(&threads, pid);
		for (size_t j = 0; j < threads.count; j++) {
			struct blocked *blocked = sample_thread(overdue, pid, threads.at[j]);
			if (!blocked || blocked->told || blocked->since > start)
				continue;
			blocked->told = true;
			found(arg, pid, threads.at[j], blocked->since);
		}
		pid_list_free(&threads);
	}
}
