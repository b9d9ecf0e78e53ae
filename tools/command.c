/* SPDX-License-Identifier: MIT
 *
 * See command.h.
 */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *command_name = "unstick";

static int output_error; /* of the first write that failed */

bool flush_output(void)
{
	errno = 0;
	if ((fflush(stdout) != 0 || ferror(stdout)) && !output_error)
		output_error = errno ? errno : EIO;
	return !output_error;
}

int end_output(int status, int failed)
{
	flush_output();
	if (fclose(stdout) != 0 && !output_error) /* file systems tell some errors only there */
		output_error = errno;
	if (!output_error)
		return status;
	fprintf(stderr, "%s: standard output: %s: not all that there was to print was written\n", command_name,
	        strerrordesc_np(output_error));
	return failed;
}

/* In one write: others may be writing to the same terminal. */
static void put_line(const char *format, va_list arguments)
{
	char line[1024];

	flush_output(); /* one terminal, one order */
	vsnprintf(line, sizeof(line), format, arguments);
	fprintf(stderr, "%s: %s\n", command_name, line);
}

void complain(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	put_line(format, arguments);
	va_end(arguments);
}

int complain_usage(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	put_line(format, arguments);
	va_end(arguments);
	fprintf(stderr, "Try '%s --help'.\n", command_name);
	return STATUS_USAGE;
}

int complain_option(int result, char *const argv[])
{
	const char *word = argv[optind - 1];

	if (result == ':')
		return complain_usage("%s: its value is missing", word);
	if (optopt == 0)
		return complain_usage("%s: no such option, or short for several", word);
	if (strncmp(word, "--", 2) == 0 && strchr(word, '='))
		return complain_usage("%s: it takes no value", word);
	return complain_usage("-%c: no such option", optopt);
}

void out_of_memory(void)
{
	complain("out of memory: nothing was changed");
	exit(STATUS_FAILED);
}
