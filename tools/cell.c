/* SPDX-License-Identifier: MIT
 *
 * See cell.h.
 */
#include "cell.h"

#include <stdio.h>
#include <string.h>

#include "parse.h"

static void format_blocked(const struct row *row, unsigned style, char cell[CELL_SIZE])
{
	int64_t ns = row->report.blocked_ns;
	char duration[16];

	if (ns < 0 || !row_is_blocked(row)) {
		if (!(style & CELL_JSON) && row->report.nr != -2)
			snprintf(cell, CELL_SIZE, "?");
	} else if (style & CELL_JSON) {
		snprintf(cell, CELL_SIZE, "%.3f", (double)ns / 1e9);
	} else {
		format_duration(ns, duration, sizeof(duration));
		snprintf(cell, CELL_SIZE, "%s%s", row->at_least ? ">" : "", duration);
	}
}

static void format_object(const struct row *row, unsigned style, char cell[CELL_SIZE])
{
	if ((style & CELL_JOINED) && row->report.fd >= 0)
		snprintf(cell, CELL_SIZE, "fd %d%s%s", row->report.fd, row->object[0] ? " " : "", row->object);
	else
		snprintf(cell, CELL_SIZE, "%s", row->object);
}

/* "1234 (cat) +2" or "1234 +2" */
static void format_holder(const struct row *row, unsigned style, char cell[CELL_SIZE])
{
	const char *rest = strrchr(row->holder_text, ')');

	if ((style & CELL_NUMBERS) && rest)
		snprintf(cell, CELL_SIZE, "%d%s", (int)row->holder, rest + 1);
	else
		snprintf(cell, CELL_SIZE, "%s", row->holder_text);
}

static void format_free(const struct row *row, unsigned style, char cell[CELL_SIZE])
{
	const char *code = style & CELL_JOINED ? row_code(row) : "";

	snprintf(cell, CELL_SIZE, *code ? "%s: %s" : "%s", row_free(row), code);
}

void cell_format(const struct row *row, enum screen_column column, unsigned style, char cell[CELL_SIZE])
{
	const struct unstick_report *report = &row->report;
	const char *text = NULL;

	*cell = '\0';
	switch (column) {
	case COLUMN_PID:
		snprintf(cell, CELL_SIZE, "%d", (int)report->pid);
		break;
	case COLUMN_TID:
		snprintf(cell, CELL_SIZE, "%d", (int)report->tid);
		break;
	case COLUMN_USER:
		text = row->user;
		break;
	case COLUMN_NAME:
		text = report->name;
		break;
	case COLUMN_STATE:
		snprintf(cell, CELL_SIZE, "%c", report->state);
		break;
	case COLUMN_BLOCKED:
		format_blocked(row, style, cell);
		break;
	case COLUMN_CALL:
		text = row_call(row);
		break;
	case COLUMN_FD:
		if (report->fd >= 0)
			snprintf(cell, CELL_SIZE, "%d", report->fd);
		break;
	case COLUMN_ARGUMENTS:
		text = row->arguments;
		break;
	case COLUMN_OBJECT:
		format_object(row, style, cell);
		break;
	case COLUMN_HOLDER:
		format_holder(row, style, cell);
		break;
	case COLUMN_WAIT:
		text = report->wait;
		break;
	case COLUMN_FREE:
		format_free(row, style, cell);
		break;
	case COLUMN_WHY:
		text = style & CELL_CODES ? row_code(row) : row_why(row);
		break;
	case COLUMN_COMMAND:
		text = row->command;
		break;
	case COLUMN_AT_LEAST:
		snprintf(cell, CELL_SIZE, "%d", row->at_least);
		break;
	case COLUMNS:
		break;
	}
	if (text)
		snprintf(cell, CELL_SIZE, "%s", text);
}

const char *cell_color(const struct row *row, enum screen_column column)
{
	if (column == COLUMN_STATE && row->report.state == 'D')
		return "red";
	if (column != COLUMN_FREE)
		return NULL;
	if (row->report.freeable > 0)
		return row_why(row)[0] ? NULL : "green"; /* only half a yes */
	return row->report.freeable == 0 ? "red" : "magenta";
}
