/* SPDX-License-Identifier: MIT
 *
 * unstick ps: a row a blocked thread. Options, and which threads become rows; what a row says is in row.c, how it looks in screen.c.
 * Invariant: reads /proc only. Nothing is stopped, signalled or made to run.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "parse.h"
#include "rows.h"
#include "screen.h"

struct ps {
	struct screen screen;
	struct rows_choice choice;
	enum screen_column sort;
	int64_t interval; /* of --watch; 0: once */
};

static const char help[] = "Usage: unstick ps [OPTION]... [PID|NAME]...\n"
                           "Lists the threads of these processes, or of all, that are blocked: in which\n"
                           "call, on what, since when, and whether the call can be cut short. Stops nothing.\n"
                           "\n"
                           "  -b, --blocked-longer TIME  only those blocked for longer (30s, 5m, 250ms)\n"
                           "  -a, --all                  also those that run, and the kernel's own\n"
                           "  -C, --call NAME            only those in this system call, such as recvfrom\n"
                           "  -f, --fd N                 only those in a call on this fd\n"
                           "  -c, --columns LIST         which columns, separated by commas; all, or some of\n";

static const char more_help[] = "  -s, --sort COLUMN          by this one; blocked: the longest first\n"
                                "  -w, --watch[=TIME]         again and again, every 2s or TIME: -w1, --watch=1\n"
                                "  -J, --json                 one JSON document, with all columns\n"
                                "  -n, --no-headings\n"
                                "      --color[=WHEN]         always, never or auto\n"
                                "  -h, --help\n"
                                "\n"
                                "FREE says whether 'unstick wake' can free the thread, WHY why not.\n"
                                "Exit status: 0; 1 a process is not there; 2 usage. See unstick-ps(1).\n";

enum { OPTION_COLOR = 256 };

static const struct option options[] = {
        {"blocked-longer", required_argument, NULL, 'b'},
        {"all", no_argument, NULL, 'a'},
        {"call", required_argument, NULL, 'C'},
        {"fd", required_argument, NULL, 'f'},
        {"columns", required_argument, NULL, 'c'},
        {"sort", required_argument, NULL, 's'},
        {"watch", optional_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'J'},
        {"no-headings", no_argument, NULL, 'n'},
        {"color", optional_argument, NULL, OPTION_COLOR},
        {"help", no_argument, NULL, 'h'},
        {0},
};

static int take_interval(struct ps *ps, const char *word)
{
	ps->interval = 2 * INT64_C(1000000000);
	if (word && (!parse_duration(word, &ps->interval) || ps->interval < 10000000))
		return complain_usage("--watch: %s: not a time of at least 10ms", word);
	return STATUS_DONE;
}

/* `ps -w 1`, as watch(1) has it, and PID 1 is there. `next` is the argument after the option, or NULL. */
static void warn_of_interval(const char *word, const char *next)
{
	long number;

	if (!word && next && parse_number(next, INT32_MAX, &number))
		complain("%s is taken as a PID; for the interval write --watch=%s", next, next);
}

static int take_color(struct ps *ps, const char *word)
{
	if (!word || strcmp(word, "always") == 0)
		ps->screen.color = 1;
	else if (strcmp(word, "never") == 0)
		ps->screen.color = -1;
	else if (strcmp(word, "auto") == 0)
		ps->screen.color = 0;
	else
		return complain_usage("--color: %s: neither always, never nor auto", word);
	return STATUS_DONE;
}

static int complain_column(const char *option, const char *word)
{
	char names[256] = "";

	for (unsigned i = 0; i < COLUMNS; i++)
		snprintf(names + strlen(names), sizeof(names) - strlen(names), " %s", screen_column_name((enum screen_column)i));
	return complain_usage("%s: %s: no such column: there are%s", option, word, names);
}

static int take_columns(struct ps *ps, char *list)
{
	const char *wrong = screen_columns_set(&ps->screen, list);
	enum screen_column column;

	if (wrong && screen_column_find(wrong, &column))
		return complain_usage("--columns: %s: given twice", wrong);
	return wrong ? complain_column("--columns", wrong) : STATUS_DONE;
}

static int take_option(struct ps *ps, int option, char *word)
{
	switch (option) {
	case 'b':
		if (!parse_duration(word, &ps->choice.longer))
			return complain_usage("--blocked-longer: %s: not a time such as 30s, 5m or 250ms", word);
		return STATUS_DONE;
	case 'a':
		ps->choice.all = true;
		return STATUS_DONE;
	case 'C':
		ps->choice.by_call = true;
		if (!parse_call(word, &ps->choice.call))
			return complain_usage("--call: %s: not the name of a system call, such as recvfrom", word);
		return STATUS_DONE;
	case 'f':
		ps->choice.by_fd = true;
		if (!parse_number(word, INT32_MAX, &ps->choice.fd))
			return complain_usage("--fd: %s: not the number of an fd", word);
		return STATUS_DONE;
	case 'c':
		return take_columns(ps, word);
	case 's':
		if (!screen_column_find(word, &ps->sort))
			return complain_column("--sort", word);
		return STATUS_DONE;
	case 'w':
		return take_interval(ps, word);
	case 'J':
		ps->screen.json = true;
		return STATUS_DONE;
	case 'n':
		ps->screen.no_headings = true;
		return STATUS_DONE;
	case OPTION_COLOR:
		return take_color(ps, word);
	default:
		return complain_usage("what is meant is not clear");
	}
}

static void print_help(void)
{
	fputs(help, stdout);
	screen_columns_print("      ", 78);
	fputs(more_help, stdout);
}

static void show(const struct ps *ps, struct rows *rows, bool first)
{
	bool terminal = ps->interval && isatty(STDOUT_FILENO);

	screen_sort(rows->at, rows->count, ps->sort);
	if (terminal && !first) /* what was said before the first stays to be read */
		fputs("\033[H\033[2J", stdout);
	screen_print(&ps->screen, rows->at, rows->count);
	if (ps->interval && !terminal)
		putchar('\n');
}

int ps_main(int argc, char **argv)
{
	struct ps ps = {.sort = COLUMN_PID};
	struct rows rows;
	int option, status = STATUS_DONE;
	bool first = true, about_processes;

	opterr = 0;
	while (status == STATUS_DONE && (option = getopt_long(argc, argv, ":b:aC:f:c:s:w::Jnh", options, NULL)) != -1) {
		if (option == 'h') {
			print_help();
			return STATUS_DONE;
		}
		if (option == '?' || option == ':')
			return complain_option(option, argv);
		if (option == 'w')
			warn_of_interval(optarg, argv[optind]);
		status = take_option(&ps, option, optarg);
	}
	if (status != STATUS_DONE)
		return status;
	ps.choice.words = (const char *const *)argv + optind;
	ps.choice.word_count = (size_t)(argc - optind);
	about_processes = screen_shows(&ps.screen, COLUMN_USER) || screen_shows(&ps.screen, COLUMN_COMMAND) ||
	                  ps.sort == COLUMN_USER || ps.sort == COLUMN_COMMAND;
	ps.choice.closed = ps.choice.word_count > 0 && !rows_are_filtered(&ps.choice);
	rows_init(&rows);
	for (;;) {
		status = rows_collect(&rows, &ps.choice);
		if (rows_are_unsure(&rows, &ps.choice)) {
			complain("this kernel does not tell since when a thread is blocked: watching for that long");
			rows_wait(ps.choice.longer);
			status = rows_collect(&rows, &ps.choice);
		}
		rows_explain(&rows, about_processes);
		show(&ps, &rows, first);
		first = false;
		if (!flush_output() || !ps.interval)
			break;
		rows_wait(ps.interval);
	}
	rows_tell(&rows, &ps.choice);
	rows_free(&rows);
	return status;
}
