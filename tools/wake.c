/* SPDX-License-Identifier: MIT
 *
 * unstick wake: makes the blocked call of a thread return an error. Options, and which threads are meant; the freeing is release.c.
 *
 * A PID/TID, --call and --fd ask for the threads that they name: one of them that cannot be freed is a failure. A PID alone, or with
 * --blocked-longer, asks for what can be freed in that process; what cannot is told only if nothing can. If a PID alone means several
 * threads none is freed, unless --all-threads: which of them is the stuck one, only the caller knows.
 * Invariant: all of that is decided before the first thread is stopped.
 */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stream.h"
#include "parse.h"
#include "release.h"
#include "targets.h"
#include "wake/report.h"

struct wish {
	struct release_wish release;
	long nr;            /* -1: any */
	long fd;            /* -1: any */
	int64_t blocked_ns; /* -1: any */
	bool dry_run, all_threads;
};

struct found {
	struct unstick_report report;
	int error; /* what its call is to be given; 0: it cannot be freed, and `why` */
	char why[160];
};

struct found_list {
	struct found *at;
	size_t count, room, freeable;
};

static const char help[] = "Usage: unstick wake [OPTION]... PID[/TID]...\n"
                           "Makes the blocking call that a thread is stuck in return an error, once. Stops\n"
                           "the thread for less than a millisecond, and only if its call may be ended.\n"
                           "\n"
                           "  -e, --error NAME           the error (default ECANCELED; EINTR for calls whose\n"
                           "                             callers accept no other, such as waitpid)\n"
                           "  -c, --call NAME            only threads in this system call, such as recvfrom\n"
                           "  -f, --fd N                 only threads in a call on this fd\n"
                           "  -b, --blocked-longer TIME  only threads blocked for longer: 30s, 5m, 250ms\n"
                           "  -a, --all-threads          free several threads of a PID given alone\n"
                           "      --yes-event-loop       also epoll_wait and the like, with EINTR\n"
                           "  -n, --dry-run              say what would be done, stop nothing\n"
                           "  -h, --help\n"
                           "\n"
                           "  unstick wake 1234/1240          free that thread\n"
                           "  unstick wake 1234 --call read --error ETIMEDOUT\n"
                           "\n"
                           "Exit status: 0 all that were asked for were freed, 1 some were not, 2 usage.\n"
                           "'unstick ps PID' shows the threads. Manual: unstick-wake(1).\n";

/* ---- the threads that are meant */

static bool is_named(const struct wish *wish, pid_t tid)
{
	return tid > 0 || wish->nr >= 0 || wish->fd >= 0;
}

static bool matches(const struct wish *wish, const struct unstick_report *report)
{
	if (wish->nr >= 0 && report->nr != wish->nr)
		return false;
	if (wish->fd >= 0 && report->fd != wish->fd)
		return false;
	return wish->blocked_ns < 0 || report->blocked_ns > wish->blocked_ns;
}

static void add_found(struct found_list *list, const struct wish *wish, const struct unstick_report *report)
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

/* /proc/N answers for a thread N as well, but `wake N` would then mean all threads of its process. */
static pid_t process_of(pid_t pid)
{
	char path[64], text[1024];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return 0;
	line = strstr(text, "\nTgid:");
	return line ? (pid_t)strtol(line + strlen("\nTgid:"), NULL, 10) : 0;
}

static bool look_at_all(struct found_list *list, const struct wish *wish, pid_t pid)
{
	struct pid_list threads = {0};
	struct unstick_report report;
	int r = targets_threads(&threads, pid);

	for (size_t i = 0; i < threads.count; i++) {
		r = report_look(pid, threads.at[i], REPORT_BLOCKED, &report);
		if (r == 0 && matches(wish, &report))
			add_found(list, wish, &report);
	}
	pid_list_free(&threads);
	return (r == 0 || list->count > 0) || tell_missing(r, pid, 0);
}

static bool look_at_one(struct found_list *list, const struct wish *wish, pid_t pid, pid_t tid)
{
	struct unstick_report report;
	struct wish named = *wish;
	char where[RELEASE_LINE];
	int r = report_look(pid, tid, REPORT_BLOCKED, &report);

	named.release.unsure = true; /* who names a thread has looked */
	if (r < 0)
		return tell_missing(r, pid, tid);
	if (matches(wish, &report)) {
		add_found(list, &named, &report);
		return true;
	}
	release_where(&report, where, sizeof(where));
	complain("%s: not what --call, --fd and --blocked-longer ask for: left alone", where);
	return false;
}

/* ---- what becomes of them */

static void tell_refusal(const struct found *found)
{
	char where[RELEASE_LINE];

	release_where(&found->report, where, sizeof(where));
	complain("%s: %s", where, found->why);
}

static int tell_all(const struct found_list *list, bool freeable)
{
	char where[RELEASE_LINE];

	for (size_t i = 0; i < list->count; i++) {
		if (!freeable) {
			tell_refusal(&list->at[i]);
		} else if (list->at[i].error > 0) {
			release_where(&list->at[i].report, where, sizeof(where));
			complain("%s", where);
		}
	}
	return STATUS_FAILED;
}

static int wake_one(const struct found *found, bool dry_run)
{
	char where[RELEASE_LINE], line[RELEASE_LINE];

	release_where(&found->report, where, sizeof(where));
	if (dry_run) {
		printf("%s: would be freed with %s\n", where, strerrorname_np(found->error));
		return STATUS_DONE;
	}
	if (!release_thread(&found->report, found->error, line, sizeof(line))) {
		complain("%s: %s", where, line);
		return STATUS_FAILED;
	}
	printf("%s: %s\n", where, line);
	fflush(stdout);
	return STATUS_DONE;
}

static int wake_all(const struct found_list *list, const struct wish *wish, bool named)
{
	int status = STATUS_DONE;

	for (size_t i = 0; i < list->count; i++) {
		const struct found *found = &list->at[i];
		if (found->error > 0) {
			status |= wake_one(found, wish->dry_run);
		} else if (named) {
			tell_refusal(found);
			status = STATUS_FAILED;
		}
	}
	return status;
}

static int wake_found(const struct found_list *list, const struct wish *wish, pid_t pid, pid_t tid)
{
	bool named = is_named(wish, tid);

	if (list->count == 0) {
		complain("%d: no thread is as --call, --fd and --blocked-longer ask for: 'unstick ps %d' shows them", (int)pid,
		         (int)pid);
		return STATUS_FAILED;
	}
	if (list->freeable == 0)
		return tell_all(list, false);
	if (list->freeable > 1 && !named && wish->blocked_ns < 0 && !wish->all_threads && !wish->dry_run) {
		tell_all(list, true);
		return complain_usage(
		        "%d: %zu threads could be freed, none was: say which: PID/TID, --call, --fd, --blocked-longer, "
		        "or --all-threads",
		        (int)pid, list->freeable);
	}
	return wake_all(list, wish, named);
}

static int wake_target(const char *word, const struct wish *wish)
{
	struct found_list list = {0};
	pid_t pid, tid, process;
	int status = STATUS_FAILED;

	if (!parse_thread(word, &pid, &tid))
		return complain_usage("%s: not a PID or PID/TID", word);
	process = process_of(pid);
	if (process > 0 && process != pid) {
		complain("%d: a thread of process %d: say %d/%d to free it", (int)pid, (int)process, (int)process, (int)pid);
		return STATUS_FAILED;
	}
	if (tid > 0 ? look_at_one(&list, wish, pid, tid) : look_at_all(&list, wish, pid))
		status = wake_found(&list, wish, pid, tid);
	free(list.at);
	return status;
}

/* ---- options */

enum { OPTION_EVENT_LOOP = 256 };

static const struct option options[] = {
        {"error", required_argument, NULL, 'e'},
        {"call", required_argument, NULL, 'c'},
        {"fd", required_argument, NULL, 'f'},
        {"blocked-longer", required_argument, NULL, 'b'},
        {"all-threads", no_argument, NULL, 'a'},
        {"yes-event-loop", no_argument, NULL, OPTION_EVENT_LOOP},
        {"dry-run", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},
        {0},
};

/* NULL, or what the value should have been. */
static const char *take_option(struct wish *wish, int option)
{
	switch (option) {
	case 'e':
		return parse_errno(optarg, &wish->release.error) ? NULL : "not the name of an error, such as ECANCELED";
	case 'c':
		return parse_call(optarg, &wish->nr) ? NULL : "not the name of a system call, such as recvfrom";
	case 'f':
		return parse_number(optarg, INT32_MAX, &wish->fd) ? NULL : "not the number of an fd";
	case 'b':
		return parse_duration(optarg, &wish->blocked_ns) ? NULL : "not a time, such as 30s";
	case 'a':
		wish->all_threads = true;
		return NULL;
	case 'n':
		wish->dry_run = true;
		return NULL;
	default:
		wish->release.event_loops = true;
		return NULL;
	}
}

int wake_main(int argc, char **argv)
{
	struct wish wish = {.nr = -1, .fd = -1, .blocked_ns = -1};
	int option, status = STATUS_DONE;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "e:c:f:b:anh", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return STATUS_DONE;
		}
		if (option == '?')
			return complain_usage("%s: no such option, or its value is missing", argv[optind - 1]);
		const char *mistake = take_option(&wish, option);
		if (mistake)
			return complain_usage("%s: %s", optarg, mistake);
	}
	if (optind == argc)
		return complain_usage("no PID given");
	for (int i = optind; i < argc; i++) {
		int one = wake_target(argv[i], &wish);
		status = one > status ? one : status;
	}
	return status;
}
