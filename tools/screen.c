/* SPDX-License-Identifier: MIT
 *
 * See screen.h.
 */
#include "screen.h"

#include <ctype.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "command.h"
#include "parse.h"

enum { CELL_SIZE = 256 };

static const struct {
	const char *name;
	double width_hint;
	int flags, json;
} kinds[COLUMNS] = {
        [COLUMN_PID] = {"PID", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_TID] = {"TID", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_NAME] = {"NAME", 0, SCOLS_FL_TRUNC, SCOLS_JSON_STRING},
        [COLUMN_STATE] = {"STATE", 0, 0, SCOLS_JSON_STRING},
        [COLUMN_BLOCKED] = {"BLOCKED", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_CALL] = {"CALL", 0, 0, SCOLS_JSON_STRING},
        [COLUMN_FD] = {"FD", 0, SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_ARGUMENTS] = {"ARGUMENTS", 0.2, SCOLS_FL_TRUNC, SCOLS_JSON_STRING},
        [COLUMN_OBJECT] = {"OBJECT", 0.25, SCOLS_FL_TRUNC, SCOLS_JSON_STRING},
        [COLUMN_HOLDER] = {"HOLDER", 0.1, SCOLS_FL_TRUNC, SCOLS_JSON_STRING},
        [COLUMN_WAIT] = {"WAIT", 0, SCOLS_FL_TRUNC, SCOLS_JSON_STRING},
        [COLUMN_FREE] = {"FREE", 0, 0, SCOLS_JSON_STRING},
        [COLUMN_WHY] = {"WHY", 0.2, SCOLS_FL_TRUNC, SCOLS_JSON_STRING},
        [COLUMN_AT_LEAST] = {"AT_LEAST", 0, 0, SCOLS_JSON_BOOLEAN},
};

static const enum screen_column usual[] = {COLUMN_PID, COLUMN_TID,    COLUMN_NAME,   COLUMN_STATE, COLUMN_BLOCKED, COLUMN_CALL,
                                           COLUMN_FD,  COLUMN_OBJECT, COLUMN_HOLDER, COLUMN_FREE,  COLUMN_WHY};

/* ---- columns and order */

bool screen_column_find(const char *name, enum screen_column *ret)
{
	for (unsigned i = 0; i < COLUMNS; i++) {
		if (strcasecmp(kinds[i].name, name) == 0) {
			*ret = (enum screen_column)i;
			return true;
		}
	}
	return false;
}

static bool has_column(const struct screen *screen, enum screen_column column)
{
	for (size_t i = 0; i < screen->column_count; i++) {
		if (screen->columns[i] == column)
			return true;
	}
	return false;
}

const char *screen_columns_set(struct screen *screen, char *list)
{
	char *rest;

	screen->column_count = 0;
	for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
		enum screen_column column;
		if (!screen_column_find(word, &column) || has_column(screen, column))
			return word;
		screen->columns[screen->column_count++] = column;
	}
	return screen->column_count ? NULL : "an empty list";
}

void screen_columns_print(const char *indent, size_t width)
{
	size_t at = 0;

	for (unsigned i = 0; i < COLUMNS; i++) {
		size_t length = strlen(kinds[i].name);
		if (at + 1 + length > width) {
			putchar('\n');
			at = 0;
		}
		at += (size_t)printf("%s", at ? " " : indent);
		for (const char *letter = kinds[i].name; *letter; letter++)
			putchar(tolower(*letter));
		at += length;
	}
	putchar('\n');
}

static int order(int64_t one, int64_t other)
{
	return (one > other) - (one < other);
}

static int by_column(const void *a, const void *b, void *arg)
{
	const struct row *one = a, *other = b;
	int result = 0;

	switch (*(enum screen_column *)arg) {
	case COLUMN_TID:
		return order(one->report.tid, other->report.tid);
	case COLUMN_NAME:
		result = strcmp(one->report.name, other->report.name);
		break;
	case COLUMN_STATE:
		result = order(one->report.state, other->report.state);
		break;
	case COLUMN_BLOCKED:
		result = order(other->report.blocked_ns, one->report.blocked_ns);
		break;
	case COLUMN_CALL:
		result = strcmp(row_call(one), row_call(other));
		break;
	case COLUMN_FD:
		result = order(one->report.fd, other->report.fd);
		break;
	case COLUMN_ARGUMENTS:
		result = strcmp(one->arguments, other->arguments);
		break;
	case COLUMN_OBJECT:
		result = strcmp(one->object, other->object);
		break;
	case COLUMN_HOLDER:
		result = order(one->holder, other->holder);
		break;
	case COLUMN_WAIT:
		result = strcmp(one->report.wait, other->report.wait);
		break;
	case COLUMN_FREE:
		result = -order(one->report.freeable, other->report.freeable);
		break;
	case COLUMN_WHY:
		result = strcmp(row_why(one), row_why(other));
		break;
	case COLUMN_AT_LEAST:
		result = order(one->at_least, other->at_least);
		break;
	case COLUMN_PID:
	case COLUMNS:
		break;
	}
	if (!result)
		result = order(one->report.pid, other->report.pid);
	return result ? result : order(one->report.tid, other->report.tid);
}

void screen_sort(struct row *rows, size_t count, enum screen_column column)
{
	if (count)
		qsort_r(rows, count, sizeof(*rows), by_column, &column);
}

/* ---- cells */

static void format_blocked(const struct row *row, bool json, char *cell)
{
	char duration[16];

	if (json) {
		snprintf(cell, CELL_SIZE, "%.3f", (double)row->report.blocked_ns / 1e9);
		return;
	}
	format_duration(row->report.blocked_ns, duration, sizeof(duration));
	snprintf(cell, CELL_SIZE, "%s%s", row->at_least ? ">" : "", duration);
}

/* Empty: unknown, or there is none. */
static void format_cell(const struct row *row, enum screen_column column, bool json, char *cell)
{
	const struct unstick_report *report = &row->report;

	*cell = '\0';
	switch (column) {
	case COLUMN_PID:
		snprintf(cell, CELL_SIZE, "%d", (int)report->pid);
		break;
	case COLUMN_TID:
		snprintf(cell, CELL_SIZE, "%d", (int)report->tid);
		break;
	case COLUMN_NAME:
		snprintf(cell, CELL_SIZE, "%s", report->name);
		break;
	case COLUMN_STATE:
		snprintf(cell, CELL_SIZE, "%c", report->state);
		break;
	case COLUMN_BLOCKED:
		if (report->blocked_ns >= 0 && row_is_blocked(row))
			format_blocked(row, json, cell);
		else if (!json && report->nr != -2)
			snprintf(cell, CELL_SIZE, "?");
		break;
	case COLUMN_CALL:
		snprintf(cell, CELL_SIZE, "%s", row_call(row));
		break;
	case COLUMN_FD:
		if (report->fd >= 0)
			snprintf(cell, CELL_SIZE, "%d", report->fd);
		break;
	case COLUMN_ARGUMENTS:
		snprintf(cell, CELL_SIZE, "%s", row->arguments);
		break;
	case COLUMN_OBJECT:
		snprintf(cell, CELL_SIZE, "%s", row->object);
		break;
	case COLUMN_HOLDER:
		snprintf(cell, CELL_SIZE, "%s", row->holder_text);
		break;
	case COLUMN_WAIT:
		snprintf(cell, CELL_SIZE, "%s", report->wait);
		break;
	case COLUMN_FREE:
		snprintf(cell, CELL_SIZE, "%s", row_free(row));
		break;
	case COLUMN_WHY:
		snprintf(cell, CELL_SIZE, "%s", row_why(row));
		break;
	case COLUMN_AT_LEAST:
		snprintf(cell, CELL_SIZE, "%d", row->at_least);
		break;
	case COLUMNS:
		break;
	}
}

static void check(int error)
{
	if (error < 0)
		out_of_memory(); /* the only way in which these calls fail */
}

/* Both can be read on a light and on a dark background. */
static const char *color_of(const struct row *row, enum screen_column column)
{
	if (column == COLUMN_FREE)
		return row->report.freeable > 0 ? "green" : row->report.freeable == 0 ? "red" : "magenta";
	if (column == COLUMN_STATE && row->report.state == 'D')
		return "red";
	return NULL;
}

static void add_line(struct libscols_table *table, const struct screen *screen, const struct row *row)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char cell[CELL_SIZE];

	if (!line)
		out_of_memory();
	for (size_t i = 0; i < screen->column_count; i++) {
		const char *color = color_of(row, screen->columns[i]);
		format_cell(row, screen->columns[i], screen->json, cell);
		if (!*cell)
			continue;
		check(scols_line_set_data(line, i, cell));
		if (color)
			check(scols_cell_set_color(scols_line_get_cell(line, i), color));
	}
}

static struct libscols_table *new_table(const struct screen *screen)
{
	scols_init_debug(0);
	struct libscols_table *table = scols_new_table();

	if (!table)
		out_of_memory();
	for (size_t i = 0; i < screen->column_count; i++) {
		enum screen_column kind = screen->columns[i];
		struct libscols_column *column =
		        scols_table_new_column(table, kinds[kind].name, kinds[kind].width_hint, kinds[kind].flags);
		if (!column)
			out_of_memory();
		check(scols_column_set_json_type(column, kinds[kind].json));
	}
	check(scols_table_enable_json(table, screen->json));
	check(scols_table_enable_noheadings(table, screen->no_headings));
	check(scols_table_set_name(table, "threads"));
	if (screen->color >= 0 && !getenv("NO_COLOR"))
		check(scols_table_enable_colors(table, screen->color > 0 || isatty(STDOUT_FILENO)));
	return table;
}

void screen_print(const struct screen *screen, const struct row *rows, size_t count)
{
	struct screen full = *screen;

	if (full.column_count == 0 && full.json) {
		for (unsigned i = 0; i < COLUMNS; i++)
			full.columns[full.column_count++] = (enum screen_column)i;
	} else if (full.column_count == 0) {
		full.column_count = sizeof(usual) / sizeof(usual[0]);
		memcpy(full.columns, usual, sizeof(usual));
	}
	struct libscols_table *table = new_table(&full);
	for (size_t i = 0; i < count; i++)
		add_line(table, &full, &rows[i]);
	if (count || full.json)
		check(scols_print_table(table));
	scols_unref_table(table);
}
