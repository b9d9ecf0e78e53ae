/* SPDX-License-Identifier: MIT
 *
 * unstick watch: keeps looking at processes, tells of each thread that has been in one call for too long, once, and may free it.
 * Invariant: a thread is told of again only after it has moved. Without --wake it reads /proc only.
 */
#include "command.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "parse.h"
#include "release.h"
#include "rights.h"
#include "rows.h"
#include "stays.h"
#include "targets.h"

static const int64_t SECOND = INT64_C(1000000000);

struct watch {
	struct rows_choice choice;
	struct release_wish release;
	int64_t longer;   /* ns: what is too long */
	int64_t interval; /* 0: chosen by that */
	bool wake, json;
	struct stays *stays;
	struct pid_list closed; /* that may not be looked into; those have been told */
};

static const char help[] = "Usage: unstick watch [OPTION]... --blocked-longer TIME PID|NAME...\n"
                           "Keeps watch over these processes and logs each thread that has been blocked in\n"
                           "one call for longer than TIME, once; may free it. Ends when all PIDs have ended.\n"
                           "\n"
                           "  -b, --blocked-longer TIME  what is too long (30s, 5m, 250ms)\n"
                           "  -c, --call NAME            only threads in this system call, such as recvfrom\n"
                           "  -W, --wake                 free them, as 'unstick wake' does\n"
                           "  -e, --error NAME           the error for that (default ECANCELED)\n"
                           "  -i, --interval TIME        between two looks (a tenth of that, 1s at most)\n"
                           "  -J, --json                 a JSON object a line\n"
                           "  -h, --help\n"
                           "\n"
                           "Exit status: 0; 1 a PID was not there; 2 usage. See unstick-watch(1).\n";

static const struct option options[] = {
        {"blocked-longer", required_argument, NULL, 'b'},
        {"call", required_argument, NULL, 'c'},
        {"wake", no_argument, NULL, 'W'},
        {"error", required_argument, NULL, 'e'},
        {"interval", required_argument, NULL, 'i'},
        {"json", no_argument, NULL, 'J'},
        {"help", no_argument, NULL, 'h'},
        {0},
};

/* ---- a line */

static void put_time(void)
{
	struct timespec now;
	struct tm local;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S%z", &local);
	fputs(text, stdout);
}

static void put_string(const char *key, const char *value)
{
	printf(",\"%s\":", key);
	if (!*value) {
		fputs("null", stdout);
		return;
	}
	putchar('"');
	for (const unsigned char *at = (const unsigned char *)value; *at; at++) {
		if (*at == '"' || *at == '\\')
			printf("\\%c", *at);
		else if (*at < ' ')
			printf("\\u%04x", *at);
		else
			putchar(*at);
	}
	putchar('"');
}

static void put_json(const struct row *row, const char *became)
{
	const struct unstick_report *report = &row->report;

	fputs("{\"time\":\"", stdout);
	put_time();
	printf("\",\"pid\":%d,\"tid\":%d,\"blocked\":%.3f,\"at_least\":%s", (int)report->pid, (int)report->tid,
	       (double)report->blocked_ns / 1e9, row->at_least ? "true" : "false");
	put_string("name", report->name);
	put_string("state", (char[2]){report->state});
	put_string("call", row_call(row));
	if (report->fd >= 0)
		printf(",\"fd\":%d", report->fd);
	put_string("object", row->object);
	put_string("holder", row->holder_text);
	put_string("wait", report->wait);
	put_string("free", row_free(row));
	put_string("why", row_why(row));
	put_string("became", became);
	puts("}");
}

/* "2026-11-26T01:50:03+0000 1234/1240 (worker): in recvfrom on fd 7 (socket ...), for 31.0s: freed, ECANCELED (...)" */
static void put_line(const struct row *row, const char *where, const char *became)
{
	const struct unstick_report *report = &row->report;

	put_time();
	printf(" %s", where);
	if (row->holder)
		printf("; %s %s", row->holder_is, row->holder_text);
	if (*became)
		printf(": %s\n", became);
	else if (report->freeable > 0)
		printf(": 'unstick wake %d/%d' can free it\n", (int)report->pid, (int)report->tid);
	else
		printf(": cannot be freed: %s\n", release_reason(report));
}

static void tell(const struct watch *watch, struct row *row)
{
	char where[RELEASE_LINE], became[RELEASE_LINE] = "";
	int error;

	row_explain(row);
	release_where(&row->report, where, sizeof(where)); /* before it runs: its fd may then be another connection */
	if (watch->wake) {
		error = release_judge(&row->report, &watch->release, became, sizeof(became));
		if (error > 0)
			release_thread(&row->report, error, became, sizeof(became));
	}
	if (watch->json)
		put_json(row, became);
	else
		put_line(row, where, became);
}

/* ---- the watch */

static void tell_closed(struct watch *watch, pid_t pid)
{
	for (size_t i = 0; i < watch->closed.count; i++) {
		if (watch->closed.at[i] == pid)
			return;
	}
	pid_list_add(&watch->closed, pid);
	complain("%d: may not be looked into: %s", (int)pid, rights_remedy());
}

/* All that is blocked is remembered, not only what is blocked for long: the measure of that is not exact (unstick-ps(1)), and a thread
 * that falls below the limit for one look must not be told of twice. */
static void tell_new(struct watch *watch, struct rows *rows)
{
	stays_begin(watch->stays);
	for (size_t i = 0; i < rows->count; i++) {
		if (rights_lack(&rows->at[i].report)) {
			tell_closed(watch, rows->at[i].report.pid);
			continue;
		}
		const struct unstick_report *report = &rows->at[i].report;
		struct stay *stay = stays_see_report(watch->stays, report);
		if (report->blocked_ns <= watch->longer || stay->told)
			continue;
		stay->told = true;
		tell(watch, &rows->at[i]);
	}
}

static bool has_names(const struct rows_choice *choice)
{
	long pid;

	for (size_t i = 0; i < choice->word_count; i++) {
		if (!parse_number(choice->words[i], INT32_MAX, &pid))
			return true;
	}
	return false;
}

/* A service of that name may come back; a PID does not. */
static int keep_watch(struct watch *watch)
{
	bool for_ever = has_names(&watch->choice);
	struct rows rows;
	int status;

	watch->choice.closed = watch->choice.waits = true;
	rows_init(&rows);
	watch->stays = stays_new();
	status = rows_collect(&rows, &watch->choice);
	watch->choice.quiet = true;
	while (for_ever || rows.processes > 0) {
		tell_new(watch, &rows);
		if (!flush_output())
			break;
		if (!for_ever && rows.closed == rows.processes) {
			status = STATUS_FAILED;
			break;
		}
		rows_wait(watch->interval);
		rows_collect(&rows, &watch->choice);
	}
	pid_list_free(&watch->closed);
	stays_free(watch->stays);
	rows_free(&rows);
	return status;
}

/* ---- options */

static const char *take_option(struct watch *watch, int option)
{
	switch (option) {
	case 'b':
		return parse_duration(optarg, &watch->longer) && watch->longer > 0 ? NULL : "not a time, such as 30s";
	case 'c':
		watch->choice.by_call = true;
		return parse_call(optarg, &watch->choice.call) ? NULL : "not the name of a system call, such as recvfrom";
	case 'e':
		return parse_errno(optarg, &watch->release.error) ? NULL : PARSE_ERRNO_WANTED;
	case 'i':
		return parse_duration(optarg, &watch->interval) && watch->interval >= SECOND / 1000 ? NULL
		                                                                                    : "not a time of at least 1ms";
	case 'W':
		watch->wake = true;
		return NULL;
	default:
		watch->json = true;
		return NULL;
	}
}

static void choose_interval(struct watch *watch)
{
	int64_t interval = watch->longer / 10;

	if (watch->interval)
		return;
	watch->interval = interval > SECOND ? SECOND : interval < SECOND / 100 ? SECOND / 100 : interval;
}

int watch_main(int argc, char **argv)
{
	struct watch watch = {0};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":b:c:We:i:Jh", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return STATUS_DONE;
		}
		if (option == '?' || option == ':')
			return complain_option(option, argv);
		const char *wrong = take_option(&watch, option);
		if (wrong)
			return complain_usage("%s: %s", optarg, wrong);
	}
	if (watch.longer == 0)
		return complain_usage("what is too long? Give --blocked-longer, such as 30s");
	if (optind == argc)
		return complain_usage("which process? Give a PID or a NAME");
	if (watch.release.error && !watch.wake)
		return complain_usage("--error without --wake: nothing is freed");
	watch.choice.words = (const char *const *)argv + optind;
	watch.choice.word_count = (size_t)(argc - optind);
	choose_interval(&watch);
	return keep_watch(&watch);
}
