/* SPDX-License-Identifier: MIT
 *
 * See overdue.h.
 */
#include "overdue.h"

static struct stay *sample_thread(struct stays *stays, pid_t pid, pid_t tid)
{
	struct task_call call;

	if (task_read_call(pid, tid, &call) != TASK_BLOCKED || call.nr < 0)
		return NULL;
	int64_t switches = task_switches(pid, tid);
	return stays_see(stays, pid, tid, &call, switches, unstick_now());
}

void overdue_sample(struct stays *stays, const struct pid_list *processes, unstick_time start,
                    void (*found)(void *arg, pid_t pid, pid_t tid, unstick_time since), void *arg)
{
	stays_begin(stays);
	for (size_t i = 0; i < processes->count; i++) {
		struct pid_list threads = {0};
		pid_t pid = processes->at[i];

		targets_threads(&threads, pid);
		for (size_t j = 0; j < threads.count; j++) {
			struct stay *stay = sample_thread(stays, pid, threads.at[j]);
			if (!stay || stay->told || stay->since > start)
				continue;
			stay->told = true;
			found(arg, pid, threads.at[j], stay->since);
		}
		pid_list_free(&threads);
	}
}
