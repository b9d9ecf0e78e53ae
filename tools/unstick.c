/* SPDX-License-Identifier: MIT
 *
 * unstick: see and free the stuck threads of any process. Finds the subcommand; the work is in one file each.
 */
#include <stdio.h>
#include <string.h>

#include <unstick.h>

#include "command.h"

struct subcommand {
	const char *name, *title; /* title: how its messages begin */
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct subcommand subcommands[] = {
        {"ps", "unstick ps", ps_main, "list blocked threads: in what, since when, whether they can be freed"},
        {"wake", "unstick wake", wake_main, "make a thread's blocked call return an error"},
        {"watch", "unstick watch", watch_main, "log threads that are blocked for too long, and free them"},
        {"run", "unstick run", run_main, "run a command; at its deadline end its blocked calls, then signal it"},
        {"doctor", "unstick doctor", doctor_main, "tell what unstick can do on this machine, and what it lacks"},
};

enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

static void print_help(void)
{
	fputs("Usage: unstick COMMAND [ARGUMENT]...\n"
	      "Sees and frees threads that are stuck in blocking calls, in any process.\n\n",
	      stdout);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		printf("  %-8s%s\n", subcommands[i].name, subcommands[i].summary);
	fputs("\n"
	      "  --help, --version\n\n"
	      "'unstick COMMAND --help' shows a command's options, unstick(1) the manual.\n",
	      stdout);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return complain_usage("no command given");
	for (size_t i = 0; i < SUBCOMMANDS; i++) {
		if (strcmp(argv[1], subcommands[i].name) == 0) {
			command_name = subcommands[i].title;
			return subcommands[i].run(argc - 1, argv + 1);
		}
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help();
		return STATUS_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("unstick %s\n", unstick_version());
		return STATUS_DONE;
	}
	return complain_usage("%s: no such command", argv[1]);
}
