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

#include "found.h"
#include "parse.h"
#include "release.h"

enum { LINES = 20 }; /* about threads that nobody named one by one */

struct wish {
	struct found_wish found;
	bool dry_run, all_threads;
};

static const char help[] = "Usage: unstick wake [OPTION]... PID[/TID]...\n"
                           "Makes the blocking call that a thread is stuck in return an error, once. Stops\n"
                           "the thread only if its call may be ended, usually for less than a millisecond.\n"
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

/* ---- what becomes of them */

static void tell_refusal(const struct found *found)
{
	char where[RELEASE_LINE];

	release_where(&found->report, where, sizeof(where));
	complain("%s: %s", where, found->why);
}

/* Those that can be freed, or, if that is none, all with the reason. */
static void tell_all(const struct found_list *list)
{
	char where[RELEASE_LINE];
	size_t told = 0, count = list->freeable ? list->freeable : list->count;

	for (size_t i = 0; i < list->count && told < LINES; i++) {
		const struct found *found = &list->at[i];
		if (!list->freeable) {
			tell_refusal(found);
		} else if (found->error > 0) {
			release_where(&found->report, where, sizeof(where));
			complain("%s", where);
		} else {
			continue;
		}
		told++;
	}
	if (told < count)
		complain("and %zu more: 'unstick ps %d' shows them", count - told, (int)list->at[0].report.pid);
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
	flush_output();
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

static bool is_named(const struct found_wish *wish, pid_t tid)
{
	return tid > 0 || wish->nr >= 0 || wish->fd >= 0;
}

static int wake_found(const struct found_list *list, const struct wish *wish, pid_t pid, pid_t tid)
{
	bool named = is_named(&wish->found, tid);

	if (list->freeable == 0) {
		tell_all(list);
		return STATUS_FAILED;
	}
	if (list->freeable > 1 && !named && wish->found.blocked_ns < 0 && !wish->all_threads) {
		tell_all(list);
		return complain_usage("%d: %zu threads could be freed, none was: say which by PID/TID, --call, --fd, or "
		                      "--blocked-longer, or say --all-threads",
		                      (int)pid, list->freeable);
	}
	return wake_all(list, wish, named);
}

static int wake_target(const char *word, const struct wish *wish)
{
	struct found_list list = {0};
	pid_t pid, tid;
	int status = STATUS_FAILED;

	if (!parse_thread(word, &pid, &tid))
		return complain_usage("%s: not a PID or PID/TID", word);
	if (found_look(&list, &wish->found, pid, tid))
		status = wake_found(&list, wish, pid, tid);
	found_free(&list);
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
		return parse_errno(optarg, &wish->found.release.error) ? NULL : PARSE_ERRNO_WANTED;
	case 'c':
		return parse_call(optarg, &wish->found.nr) ? NULL : "not the name of a system call, such as recvfrom";
	case 'f':
		return parse_number(optarg, INT32_MAX, &wish->found.fd) ? NULL : "not the number of an fd";
	case 'b':
		return parse_duration(optarg, &wish->found.blocked_ns) ? NULL : "not a time, such as 30s";
	case 'a':
		wish->all_threads = true;
		return NULL;
	case 'n':
		wish->dry_run = true;
		return NULL;
	default:
		wish->found.release.event_loops = true;
		return NULL;
	}
}

int wake_main(int argc, char **argv)
{
	struct wish wish = {.found = {.nr = -1, .fd = -1, .blocked_ns = -1}};
	int option, status = STATUS_DONE;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":e:c:f:b:anh", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return STATUS_DONE;
		}
		if (option == '?' || option == ':')
			return complain_option(option, argv);
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
