/* SPDX-License-Identifier: MIT
 *
 * See finding.h.
 */
#include "finding.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stream.h"

void finding_ok(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	*finding = (struct finding){.level = LEVEL_OK};
	va_start(arguments, format);
	vsnprintf(finding->found, sizeof(finding->found), format, arguments);
	va_end(arguments);
}

void finding_set(struct finding *finding, enum level level, const char *consequence, const char *remedy, const char *format, ...)
{
	va_list arguments;

	*finding = (struct finding){.level = level, .consequence = consequence, .remedy = remedy};
	va_start(arguments, format);
	vsnprintf(finding->found, sizeof(finding->found), format, arguments);
	va_end(arguments);
}

/* The value of a line of /proc/self/status in this base; `otherwise` if there is none. */
static uint64_t read_status(const char *key, int base, uint64_t otherwise)
{
	char text[4096];
	const char *line;

	if (file_read("/proc/self/status", text, sizeof(text)) <= 0)
		return otherwise;
	line = strstr(text, key);
	return line ? strtoull(line + strlen(key), NULL, base) : otherwise;
}

bool has_filter(void)
{
	enum { MODE_FILTER = 2 }; /* SECCOMP_MODE_FILTER of linux/seccomp.h */
	return read_status("\nSeccomp:", 10, 0) == MODE_FILTER;
}

bool has_capability(int number)
{
	return read_status("\nCapEff:", 16, 0) >> number & 1;
}

int read_setting(const char *path)
{
	char text[16];
	return file_read(path, text, sizeof(text)) > 0 ? atoi(text) : -1;
}
