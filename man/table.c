/* SPDX-License-Identifier: MIT
 *
 * Writes unstick_syscalls.7.scd: copies the template on standard input, and puts the table of system calls, made from
 * lib/base/syscalls.def, in the place of the line "@TABLE@". Run by meson.
 * Invariant: every CALL() of the file becomes one row, in the order of the names.
 * What it does not do: judge. The words of a row are those of the file; the conditions are those that policy.c applies to its flags.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calls.h"

struct row {
	const char *name;
	int verdict;
	unsigned flags;
	const char *reason;
};

static struct row rows[] = {
#define CALL(nr, format, fd, decision, marks, why) {.name = #nr, .verdict = (decision), .flags = (marks), .reason = (why)},
#include "base/syscalls.def"
#undef CALL
};

enum { ROWS = sizeof rows / sizeof rows[0] };

struct condition {
	unsigned flag;
	const char *text;
};

static const struct condition conditions[] = {
        {CALL_BY_FD, "not on a regular file, directory or block device"},
        {CALL_LOCK_COMMAND, "F_SETLKW and F_OFD_SETLKW only"},
        {CALL_CHILD, "in a scope as \"error\", three times running at most"},
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static const char *verdict_of(const struct row *row)
{
	if (row->verdict == CALL_REWRITE)
		return "error";
	if (row->verdict == CALL_EINTR_ONLY)
		return "EINTR";
	return row->flags & CALL_NEVER ? "never" : "leave";
}

/* scdoc's own characters are literal only behind a backslash. */
static void put_text(const char *text)
{
	for (; *text; text++) {
		if (strchr("\\*_", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void put_row(const struct row *row)
{
	fputs("|  ", stdout);
	put_text(row->name);
	printf("\n:  %s\n:  ", verdict_of(row));
	put_text(row->reason);
	for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++)
		if (row->flags & conditions[i].flag) {
			fputs("; ", stdout);
			put_text(conditions[i].text);
		}
	putchar('\n');
}

static void put_table(void)
{
	qsort(rows, ROWS, sizeof rows[0], by_name);
	fputs("|[ *call*\n:[ *verdict*\n:< *reason*\n", stdout);
	for (size_t i = 0; i < ROWS; i++)
		put_row(&rows[i]);
}

int main(void)
{
	char line[1024];
	int tables = 0;

	while (fgets(line, sizeof line, stdin)) {
		if (strcmp(line, "@TABLE@\n")) {
			fputs(line, stdout);
		} else {
			put_table();
			tables++;
		}
	}
	if (ferror(stdin) || fflush(stdout) || tables != 1) {
		fprintf(stderr, "table: %s\n", tables == 1 ? strerror(errno) : "the template must have one line @TABLE@");
		return 1;
	}
	return 0;
}
