/* SPDX-License-Identifier: MIT
 *
 * unstick: see and free the stuck threads of any process. Finds the subcommand; the work is in one file each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <unstick.h>

#include "command.h"

struct subcommand {
	const char *name, *title; /* title: how its messages begin */
	int (*run)(int argc, char **argv);
	int unwritten; /* its exit status if what it prints cannot be written */
	const char *summary;
};

static const struct subcommand subcommands[] = {
        {"ps", "unstick ps", ps_main, STATUS_FAILED, "list blocked threads: in what, since when, whether they can be freed"},
        {"wake", "unstick wake", wake_main, STATUS_FAILED, "make a thread's blocked call return an error"},
        {"watch", "unstick watch", watch_main, STATUS_FAILED, "log threads that are blocked for too long, and free them"},
        {"run", "unstick run", run_main, STATUS_RUN_FAILED, "run a command; at its deadline end its blocked calls, then signal it"},
        {"doctor", "unstick doctor", doctor_main, STATUS_UNWRITTEN, "tell what unstick can do on this machine, and what it lacks"},
};

enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

#define COMMANDS "ps, wake, watch, run or doctor"

static int complain_unknown(const char *word)
{
	return complain_usage("%s: no such command: there are " COMMANDS, word);
}

static void print_help(void)
{
	fputs("Usage: unstick COMMAND [ARGUMENT]...\n"
	      "Sees and frees threads that are stuck in blocking calls, in any process.\n\n",
	      stdout);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		printf("  %-8s%s\n", subcommands[i].name, subcommands[i].summary);
	fputs("\n"
	      "  help [COMMAND]\n"
	      "  -h, --help\n"
	      "  -V, --version\n\n"
	      "'unstick COMMAND --help' shows a command's options, unstick(1) the manual.\n",
	      stdout);
}

/* What is opened must not take the number of a standard stream that was closed, and be written to. Open for the other direction, it
 * fails as a closed one does; a command that is run does not inherit it. */
static void fill_standard_fds(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC) != fd)
			_exit(STATUS_FAILED);
	}
}

static const struct subcommand *find(const char *name)
{
	for (size_t i = 0; i < SUBCOMMANDS; i++) {
		if (strcmp(name, subcommands[i].name) == 0)
			return &subcommands[i];
	}
	return NULL;
}

static int run(const struct subcommand *subcommand, int argc, char **argv)
{
	command_name = subcommand->title;
	return end_output(subcommand->run(argc, argv), subcommand->unwritten);
}

/* unstick help [COMMAND] */
static int help(char *name)
{
	static char option[] = "--help";
	const struct subcommand *subcommand = name ? find(name) : NULL;

	if (subcommand)
		return run(subcommand, 2, (char *[]){name, option, NULL});
	if (name)
		return complain_unknown(name);
	print_help();
	return end_output(STATUS_DONE, STATUS_FAILED);
}

static int print_version(void)
{
	printf("unstick %s\n", unstick_version());
	return end_output(STATUS_DONE, STATUS_FAILED);
}

static bool is_either(const char *word, const char *one, const char *other)
{
	return strcmp(word, one) == 0 || strcmp(word, other) == 0;
}

int main(int argc, char **argv)
{
	fill_standard_fds();
	if (argc < 2)
		return complain_usage("no command given: " COMMANDS);
	const struct subcommand *subcommand = find(argv[1]);
	if (subcommand)
		return run(subcommand, argc - 1, argv + 1);
	if (strcmp(argv[1], "help") == 0)
		return help(argv[2]);
	if (is_either(argv[1], "-h", "--help"))
		return help(NULL);
	if (is_either(argv[1], "-V", "--version"))
		return print_version();
	return complain_unknown(argv[1]);
}
