/* SPDX-License-Identifier: MIT
 *
 * What the subcommands of `unstick` share: their entry points, their exit statuses, and how they speak to people.
 * A subcommand is given its own argv, argv[0] being its name; it returns the exit status.
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <stdbool.h>

enum {
	STATUS_DONE = 0,
	STATUS_FAILED = 1, /* something that was asked for could not be had: the messages say what */
	STATUS_USAGE = 2,
	STATUS_UNWRITTEN = 4,    /* doctor's, whose 1 and 3 say something else */
	STATUS_RUN_FAILED = 125, /* run's, as timeout(1) has it */
};

int ps_main(int argc, char **argv);
int wake_main(int argc, char **argv);
int watch_main(int argc, char **argv);
int run_main(int argc, char **argv);
int doctor_main(int argc, char **argv);

/* "unstick ps"; set by main(). */
extern const char *command_name;

/* A line on stderr that begins with the command's name: "unstick wake: WHO: WHY: WHAT TO DO". `format` has no newline. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* The same, then where help is, for a mistake in the arguments. STATUS_USAGE. */
__attribute__((format(printf, 1, 2))) int complain_usage(const char *format, ...);

/* What getopt_long() has refused, with "?" or, for a missing value, ":": says what was wrong with it. STATUS_USAGE. */
int complain_option(int result, char *const argv[]);

/* What has been printed goes out. False: it cannot, and nothing that is printed from now on will; end_output() says why. */
bool flush_output(void);

/* The last that is done with stdout: `status`, or `failed` after a message if not all could be written to it. */
int end_output(int status, int failed);

/* Ends the command. */
_Noreturn void out_of_memory(void);

#endif
