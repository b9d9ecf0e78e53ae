/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/raw.h"

/* Set once, during initialisation, before any thread of ours runs. */
static void (*log_fn)(void *arg, const char *message);
static void *log_arg;

void log_set(void (*fn)(void *arg, const char *message), void *arg)
{
	log_fn = fn;
	log_arg = arg;
}

/* The variable is looked at once: later the program may be changing its environment. */
static bool goes_to_stderr(void)
{
	enum { UNKNOWN, YES, NO };
	static _Atomic int found;
	int known = atomic_load(&found);
	if (known == UNKNOWN) {
		const char *wish = secure_getenv("UNSTICK_LOG");
		known = wish && strcmp(wish, "stderr") == 0 ? YES : NO;
		atomic_store(&found, known);
	}
	return known == YES;
}

/* One write: lines of several threads, or programs, do not mix. A pipe that is ready takes a line whole. No stdio: its lock may be
 * held by whoever is stuck. */
static void write_line(char *message, size_t length)
{
	struct pollfd end = {.fd = STDERR_FILENO, .events = POLLOUT};
	message[length] = '\n';
	if (RAW_3(SYS_poll, &end, 1, 0) == 1 && (end.revents & (POLLOUT | POLLERR)) == POLLOUT)
		RAW_3(SYS_write, STDERR_FILENO, message, length + 1);
}

void log_line(const char *format, ...)
{
	char message[512];
	va_list list;
	if (!log_fn && !goes_to_stderr())
		return;
	va_start(list, format);
	vsnprintf(message, sizeof message, format, list);
	va_end(list);
	if (log_fn)
		log_fn(log_arg, message);
	else
		write_line(message, strlen(message));
}
