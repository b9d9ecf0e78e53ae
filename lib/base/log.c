/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

/* Set once, during initialisation, before any thread of ours runs. */
static void (*log_fn)(void *arg, const char *message);
static void *log_arg;

void log_set(void (*fn)(void *arg, const char *message), void *arg)
{
	log_fn = fn;
	log_arg = arg;
}

void log_line(const char *format, ...)
{
	char message[256];
	va_list list;
	if (!log_fn)
		return;
	va_start(list, format);
	vsnprintf(message, sizeof message, format, list);
	va_end(list);
	log_fn(log_arg, message);
}
