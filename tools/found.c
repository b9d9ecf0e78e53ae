/* SPDX-License-Identifier: MIT
 *
 * See found.h.
 */
#include "found.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "rights.h"
#include "targets.h"
#include "wake/report.h"

void found_free(struct found_list *list)
{
	free(list->at);
	*list = (struct found_list){0};
}

static void add(struct found_list *list, const struct found_wish *wish, const struct unstick_report *report)
{
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 16;
		list->at = reallocarray(list->at, list->room, sizeof(*list->at));
		if (!list->at)
			out_of_memory();
	}
	struct found *found = &list->at[list->count++];
	*found = (struct found){.report = *report};
	found->error = release_judge(report, &wish->release, found->why, sizeof(found->why));
	list->freeable += found->error > 0;
}

static bool matches(const struct found_wish *wish, const struct unstick_report *report)
{
	if (wish->nr >= 0 && report->nr != wish->nr)
		return false;
	if (wish->fd >= 0 && report->fd != wish->fd)
		return false;
	return wish->blocked_ns < 0 || report->blocked_ns > wish->blocked_ns;
}

static bool tell_missing(int error, pid_t pid, pid_t tid)
{
	if (error == -ENOENT)
		complain("%d: /proc shows no system calls: nothing can be decided: mount it with mount -t proc proc /proc",
		         (int)pid);
	else if (tid > 0)
		complain("%d/%d: there is no such thread: 'unstick ps %d' shows those that there are", (int)pid, (int)tid,
		         (int)pid);
	else
		complain("%d: there is no such process", (int)pid);
	return false;
}

/* "--call and --fd": what the caller has asked for, and no more. */
static const char *name_options(const struct found_wish *wish, char *buf, size_t size)
{
	const bool given[] = {wish->nr >= 0, wish->fd >= 0, wish->blocked_ns >= 0};
	static const char *const names[] = {"--call", "--fd", "--blocked-longer"};

	buf[0] = '\0';
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
		if (given[i])
			snprintf(buf + strlen(buf), size - strlen(buf), "%s%s", buf[0] ? " and " : "", names[i]);
	}
	return buf;
}

static bool tell_closed(pid_t pid)
{
	complain("%d: no right to see its calls: %s", (int)pid, rights_remedy());
	return false;
}

/* `untimed`: of how many it cannot be told for how long they have been blocked. */
static bool tell_no_match(const struct found_wish *wish, pid_t pid, size_t untimed)
{
	char options[48];

	if (untimed > 0)
		complain("%d: the kernel does not tell for how long threads have been blocked (no /proc/PID/sched): leave out "
		         "--blocked-longer",
		         (int)pid);
	else
		complain("%d: no thread is as %s would have it: 'unstick ps %d' shows them", (int)pid,
		         name_options(wish, options, sizeof(options)), (int)pid);
	return false;
}

static bool look_at_all(struct found_list *list, const struct found_wish *wish, pid_t pid)
{
	struct pid_list threads = {0};
	struct unstick_report report;
	size_t untimed = 0, closed = 0;
	int error = targets_threads(&threads, pid);

	for (size_t i = 0; i < threads.count && error != -ENOENT; i++) {
		int r = threads.count == 1 ? trace_look(pid, threads.at[i], REPORT_BLOCKED, &report)
		                           : report_look(pid, threads.at[i], REPORT_BLOCKED, &report);
		if (r == 0 && matches(wish, &report))
			add(list, wish, &report);
		else if (r == 0 && rights_lack(&report))
			closed++;
		else if (r == 0)
			untimed += wish->blocked_ns >= 0 && report.blocked_ns < 0;
		else if (r == -ENOENT)
			error = r;
	}
	pid_list_free(&threads);
	if (error < 0)
		return tell_missing(error, pid, 0);
	if (list->count == 0 && closed > 0)
		return tell_closed(pid);
	return list->count > 0 || tell_no_match(wish, pid, untimed);
}

static bool look_at_one(struct found_list *list, const struct found_wish *wish, pid_t pid, pid_t tid)
{
	struct unstick_report report;
	struct found_wish named = *wish;
	char where[RELEASE_LINE], options[48];
	int r = trace_look(pid, tid, REPORT_BLOCKED, &report);

	named.release.unsure = true; /* who names a thread has looked */
	if (r < 0)
		return tell_missing(r, pid, tid);
	if (matches(wish, &report)) {
		add(list, &named, &report);
		return true;
	}
	if (rights_lack(&report))
		return tell_closed(pid);
	release_where(&report, where, sizeof(where));
	complain("%s: not as %s would have it: left alone", where, name_options(wish, options, sizeof(options)));
	return false;
}

bool found_look(struct found_list *list, const struct found_wish *wish, pid_t pid, pid_t tid)
{
	pid_t process = targets_process_of(pid);

	if (process > 0 && process != pid) {
		complain("%d: a thread of process %d: say %d/%d to mean it", (int)pid, (int)process, (int)process, (int)pid);
		return false;
	}
	return tid > 0 ? look_at_one(list, wish, pid, tid) : look_at_all(list, wish, pid);
}
