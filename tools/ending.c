/* SPDX-License-Identifier: MIT
 *
 * See ending.h.
 */
#include "ending.h"

#include <string.h>

#include "command.h"
#include "release.h"
#include "wake/report.h"

static void tell(struct ending *ending, const char *where, const struct trace *trace)
{
	if (trace->kind == UNSTICK_WOKEN && !ending->quiet)
		complain("%s: gave it %s", where, strerrorname_np(ending->error));
	if (trace->kind == UNSTICK_NOT_INSPECTABLE && !ending->refused) {
		complain("%s: not ended: %s", where, trace->why);
		ending->refused = true;
	}
}

bool ending_thread(struct ending *ending, pid_t pid, pid_t tid, int64_t ns)
{
	const struct release_wish wish = {.error = ending->error};
	struct unstick_report report;
	struct trace trace;
	char where[RELEASE_LINE];

	if (report_look(pid, tid, ns < 0 ? REPORT_BLOCKED : 0, &report) < 0)
		return false;
	ending->moving |= report.expect == UNSTICK_NOT_BLOCKED;
	if (!release_judge(&report, &wish, where, sizeof(where)))
		return false;
	if (ns >= 0)
		report.blocked_ns = ns;
	release_where(&report, where, sizeof(where)); /* before it runs: its fd may then be another connection */
	trace_end_call(&report, ending->error, &trace);
	ending->moving |= trace.kind == UNSTICK_NOT_BLOCKED || trace.kind == UNSTICK_FINISHED_FIRST;
	tell(ending, where, &trace);
	return trace.kind == UNSTICK_WOKEN;
}

unsigned ending_all(struct ending *ending, const struct pid_list *processes)
{
	unsigned ended = 0;

	ending->moving = false;
	for (size_t i = 0; i < processes->count; i++) {
		struct pid_list threads = {0};
		pid_t pid = processes->at[i];

		targets_threads(&threads, pid);
		for (size_t j = 0; j < threads.count; j++)
			ended += ending_thread(ending, pid, threads.at[j], -1);
		pid_list_free(&threads);
	}
	return ended;
}
