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
#include <sys/ioctl.h>
#include <unistd.h>

#include "cell.h"
#include "command.h"
#include "layout.h"

static const struct {
	const char *name;
	int flags, json;
} kinds[COLUMNS] = {
        [COLUMN_PID] = {"PID", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_TID] = {"TID", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_USER] = {"USER", 0, SCOLS_JSON_STRING},
        [COLUMN_NAME] = {"NAME", 0, SCOLS_JSON_STRING},
        [COLUMN_STATE] = {"STATE", 0, SCOLS_JSON_STRING},
        [COLUMN_BLOCKED] = {"BLOCKED", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_CALL] = {"CALL", 0, SCOLS_JSON_STRING},
        [COLUMN_FD] = {"FD", SCOLS_FL_RIGHT, SCOLS_JSON_NUMBER},
        [COLUMN_ARGUMENTS] = {"ARGUMENTS", 0, SCOLS_JSON_STRING},
        [COLUMN_OBJECT] = {"OBJECT", 0, SCOLS_JSON_STRING},
        [COLUMN_HOLDER] = {"HOLDER", 0, SCOLS_JSON_STRING},
        [COLUMN_WAIT] = {"WAIT", 0, SCOLS_JSON_STRING},
        [COLUMN_FREE] = {"FREE", 0, SCOLS_JSON_STRING},
        [COLUMN_WHY] = {"WHY", 0, SCOLS_JSON_STRING},
        [COLUMN_COMMAND] = {"COMMAND", 0, SCOLS_JSON_STRING},
        [COLUMN_AT_LEAST] = {"AT_LEAST", 0, SCOLS_JSON_BOOLEAN},
};

/* ---- columns and order */

const char *screen_column_name(enum screen_column column)
{
	return kinds[column].name;
}

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
	if (strcasecmp(list, "all") == 0) {
		for (; screen->column_count < COLUMNS; screen->column_count++)
			screen->columns[screen->column_count] = (enum screen_column)screen->column_count;
		return NULL;
	}
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
	case COLUMN_USER:
		result = strcmp(one->user, other->user);
		break;
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
	case COLUMN_COMMAND:
		result = strcmp(one->command, other->command);
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

/* ---- the table */

static void check(int error)
{
	if (error < 0)
		out_of_memory(); /* the only way in which these calls fail */
}

static size_t terminal_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static void add_line(struct libscols_table *table, const struct layout *layout, const struct row *row)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char cell[CELL_SIZE];

	if (!line)
		out_of_memory();
	for (size_t i = 0; i < layout->count; i++) {
		const char *color = cell_color(row, layout->columns[i]);
		cell_format(row, layout->columns[i], layout->style, cell);
		if (!*cell)
			continue;
		layout_cut(layout, i, cell);
		check(scols_line_set_data(line, i, cell));
		if (color)
			check(scols_cell_set_color(scols_line_get_cell(line, i), color));
	}
}

static struct libscols_table *new_table(const struct screen *screen, const struct layout *layout)
{
	scols_init_debug(0);
	struct libscols_table *table = scols_new_table();

	if (!table)
		out_of_memory();
	for (size_t i = 0; i < layout->count; i++) {
		enum screen_column kind = layout->columns[i];
		struct libscols_column *column = scols_table_new_column(table, kinds[kind].name, 0, kinds[kind].flags);
		if (!column)
			out_of_memory();
		check(scols_column_set_json_type(column, kinds[kind].json));
	}
	check(scols_table_enable_json(table, screen->json));
	check(scols_table_enable_noheadings(table, screen->no_headings));
	check(scols_table_set_name(table, "threads"));
	check(scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER)); /* the widths are the layout's */
	if (screen->color >= 0 && !getenv("NO_COLOR"))
		check(scols_table_enable_colors(table, screen->color > 0 || isatty(STDOUT_FILENO)));
	return table;
}

bool screen_shows(const struct screen *screen, enum screen_column column)
{
	return screen->column_count ? has_column(screen, column) : screen->json;
}

void screen_print(const struct screen *screen, const struct row *rows, size_t count)
{
	struct layout layout;

	layout_choose(&layout, screen, rows, count, terminal_width());
	struct libscols_table *table = new_table(screen, &layout);
	for (size_t i = 0; i < count; i++)
		add_line(table, &layout, &rows[i]);
	if (count || screen->json)
		check(scols_print_table(table));
	scols_unref_table(table);
}
