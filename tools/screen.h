/* SPDX-License-Identifier: MIT
 *
 * Rows as a table for people or as JSON, by libsmartcols; what fits a terminal is for layout.c to say.
 */
#ifndef TOOLS_SCREEN_H
#define TOOLS_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "row.h"

enum screen_column {
	COLUMN_PID,
	COLUMN_TID,
	COLUMN_USER,
	COLUMN_NAME,
	COLUMN_STATE,
	COLUMN_BLOCKED,
	COLUMN_CALL,
	COLUMN_FD,
	COLUMN_ARGUMENTS,
	COLUMN_OBJECT,
	COLUMN_HOLDER,
	COLUMN_WAIT,
	COLUMN_FREE,
	COLUMN_WHY,
	COLUMN_COMMAND,
	COLUMN_AT_LEAST,
	COLUMNS
};

struct screen {
	enum screen_column columns[COLUMNS];
	size_t column_count; /* 0: the usual ones */
	bool json, no_headings;
	int color; /* 1 always, 0 if stdout is a terminal, -1 never */
};

/* In capitals. */
const char *screen_column_name(enum screen_column column);

/* "pid", "blocked": any case. */
bool screen_column_find(const char *name, enum screen_column *ret);

/* "pid,tid,call", each at most once, or "all". NULL, or the word that is no column, or one twice. The text is cut into its words. */
const char *screen_columns_set(struct screen *screen, char *list);

/* For --help: "pid tid name ..." */
void screen_columns_print(const char *indent, size_t width);

/* By `column`: numbers as numbers, BLOCKED the longest first, then PID and TID. */
void screen_sort(struct row *rows, size_t count, enum screen_column column);

/* Not the usual columns of a table: whether it was asked for, or is in a JSON document. */
bool screen_shows(const struct screen *screen, enum screen_column column);

void screen_print(const struct screen *screen, const struct row *rows, size_t count);

#endif
