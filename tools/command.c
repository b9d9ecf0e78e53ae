/* SPDX-License-Identifier: MIT
 *
 * See command.h.
 */
#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *command_name = "unstick";

/* In one write: others may be writing to the same terminal. */
static void put_line(const char *format, va_list arguments)
{
	char line[1024];

	fflush(stdout); /* one terminal, one order */
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

void out_of_memory(void)
{
	complain("out of memory: nothing was changed");
	exit(STATUS_FAILED);
}
