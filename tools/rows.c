/* SPDX-License-Identifier: MIT
 *
 * See rows.h.
 */
#include "rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "holders.h"
#include "inspect/task.h"
#include "parse.h"
#include "rights.h"
#include "stays.h"
#include "sockets.h"
#include "targets.h"
#include "wake/report.h"

void rows_init(struct rows *rows)
{
	*rows = (struct rows){.stays = stays_new()};
}

void rows_free(struct rows *rows)
{
	stays_free(rows->stays);
	free(rows->at);
	sockets_forget();
	holders_forget();
}

static void add(struct rows *rows, const struct row *row)
{
	if (rows->count == rows->room) {
		rows->room = rows->room ? 2 * rows->room : 64;
		rows->at = reallocarray(rows->at, rows->room, sizeof(*rows->at));
		if (!rows->at)
			out_of_memory();
	}
	rows->at[rows->count++] = *row;
}

/* As task_blocked_ns(), but this thread's own file is read once a round. */
static int64_t blocked_ns(const struct rows *rows, const struct unstick_report *report)
{
	int64_t last = task_last_run_ns(report->pid, report->tid);
	int64_t now = rows->scheduler_ns + unstick_now() - rows->round_ns;

	if (last < 0 || rows->scheduler_ns < 0)
		return -1;
	return now > last ? now - last : 0;
}

/* Where the kernel does not tell, the rounds before do. */
static void measure(struct rows *rows, struct row *row)
{
	if (!row_is_blocked(row))
		return;
	row->report.blocked_ns = blocked_ns(rows, &row->report);
	if (row->report.blocked_ns >= 0)
		return;
	row->report.blocked_ns = unstick_now() - stays_see_report(rows->stays, &row->report)->since;
	row->at_least = true;
}

static bool is_chosen(struct rows *rows, const struct rows_choice *choice, const struct row *row)
{
	if (!row_is_blocked(row))
		return choice->all || (rights_lack(&row->report) && choice->closed);
	if (choice->by_call && row->report.nr != choice->call)
		return false;
	if (choice->by_fd && row->report.fd != choice->fd)
		return false;
	if (choice->longer == 0 || row->report.blocked_ns > choice->longer)
		return true;
	rows->unsure += row->at_least;
	return false;
}

static void look(struct rows *rows, const struct rows_choice *choice, pid_t pid, pid_t tid)
{
	struct row row = {0};

	if (report_look(pid, tid, 0, &row.report) < 0)
		return;
	if (rights_lack(&row.report))
		rows->closed += pid == tid;
	else
		rows->threads++;
	measure(rows, &row);
	if (is_chosen(rows, choice, &row))
		add(rows, &row);
}

/* False if it has ended. */
static bool look_at_process(struct rows *rows, const struct rows_choice *choice, pid_t pid)
{
	struct pid_list threads = {0};
	int error = targets_threads(&threads, pid);

	for (size_t i = 0; i < threads.count; i++)
		look(rows, choice, pid, threads.at[i]);
	pid_list_free(&threads);
	return error == 0;
}

static int tell_missing(const struct rows_choice *choice, const char *word)
{
	long number = 0;
	bool is_number = parse_number(word, INT32_MAX, &number);
	pid_t process = number ? targets_process_of((pid_t)number) : 0;

	if ((is_number && number == 0) || *word == '-' || strchr(word, '/'))
		complain("%s: not a PID or a name", word);
	else if (process > 0)
		complain("%s: a thread of process %d: say %d", word, (int)process, (int)process);
	else if (choice->waits && !is_number)
		complain("%s: none yet: waiting", word);
	else
		complain("%s: no such process", word);
	return choice->waits && !is_number ? STATUS_DONE : STATUS_FAILED;
}

static int choose_processes(struct pid_list *processes, const struct rows_choice *choice)
{
	int status = STATUS_DONE;

	if (choice->word_count == 0)
		targets_all(processes, choice->all);
	for (size_t i = 0; i < choice->word_count; i++) {
		if (targets_find(processes, choice->words[i]) > 0)
			continue;
		if (!choice->quiet)
			status |= tell_missing(choice, choice->words[i]);
	}
	return status;
}

int rows_collect(struct rows *rows, const struct rows_choice *choice)
{
	struct pid_list processes = {0};
	int status = choose_processes(&processes, choice);

	rows->round_ns = unstick_now();
	rows->scheduler_ns = task_last_run_ns(0, gettid());
	rows->processes = processes.count;
	rows->count = rows->threads = rows->closed = rows->unsure = 0;
	sockets_forget();
	holders_forget();
	stays_begin(rows->stays);
	for (size_t i = 0; i < processes.count; i++)
		look_at_process(rows, choice, processes.at[i]);
	pid_list_free(&processes);
	return status;
}

void rows_explain(struct rows *rows, bool processes)
{
	for (size_t i = 0; i < rows->count; i++) {
		row_explain(&rows->at[i]);
		if (processes)
			row_explain_process(&rows->at[i], i ? &rows->at[i - 1] : NULL);
	}
}

void rows_wait(int64_t ns)
{
	struct timespec time = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	while (nanosleep(&time, &time) < 0 && errno == EINTR)
		;
}

bool rows_are_filtered(const struct rows_choice *choice)
{
	return choice->longer > 0 || choice->by_call || choice->by_fd;
}

bool rows_are_unsure(const struct rows *rows, const struct rows_choice *choice)
{
	return choice->longer > 0 && rows->unsure > 0;
}

void rows_tell(const struct rows *rows, const struct rows_choice *choice)
{
	bool shown = choice->all || choice->closed;
	size_t blocked = 0;

	for (size_t i = 0; i < rows->count; i++)
		blocked += !rights_lack(&rows->at[i].report);
	if (rows->closed > 0)
		complain("%zu process%s may not be looked into (%s): %s", rows->closed, rows->closed == 1 ? "" : "es",
		         shown ? "shown with ?" : "not shown", rights_remedy());
	if (blocked == 0 && rows->threads > 0)
		complain("none of the %zu thread%s%s is blocked%s%s", rows->threads, rows->threads == 1 ? "" : "s",
		         rows->closed ? " that may be looked into" : "", choice->by_call || choice->by_fd ? " in such a call" : "",
		         choice->longer ? " for that long" : "");
}
