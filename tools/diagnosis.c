/* SPDX-License-Identifier: MIT
 *
 * See diagnosis.h.
 */
#include "diagnosis.h"

#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "command.h"

enum { COLUMN_CHECK, COLUMN_STATE, COLUMN_FOR, COLUMN_FOUND, COLUMN_CONSEQUENCE, COLUMN_REMEDY, COLUMNS };

static const char *const level_names[] = {[LEVEL_OK] = "ok", [LEVEL_LIMITED] = "limited", [LEVEL_MISSING] = "missing"};

static void demand(int error)
{
	if (error < 0)
		out_of_memory(); /* the only way in which these calls fail */
}

static struct libscols_table *new_table(const struct diagnosis *diagnosis)
{
	static const char *const names[COLUMNS] = {"CHECK", "STATE", "FOR", "FOUND", "CONSEQUENCE", "REMEDY"};
	scols_init_debug(0);
	struct libscols_table *table = scols_new_table();

	if (!table)
		out_of_memory();
	for (size_t i = 0; i < (diagnosis->json ? COLUMNS : COLUMN_CONSEQUENCE); i++)
		if (!scols_table_new_column(table, names[i], 0, i == COLUMN_FOUND ? SCOLS_FL_WRAP : 0))
			out_of_memory();
	demand(scols_table_set_name(table, "checks"));
	demand(scols_table_enable_json(table, diagnosis->json));
	demand(scols_table_enable_noheadings(table, diagnosis->no_headings));
	if (diagnosis->color >= 0 && !getenv("NO_COLOR"))
		demand(scols_table_enable_colors(table, diagnosis->color > 0 || isatty(STDOUT_FILENO)));
	return table;
}

static void add_line(struct libscols_table *table, bool json, const struct check *check, const struct finding *finding)
{
	static const char *const colors[] = {[LEVEL_OK] = "green", [LEVEL_LIMITED] = "magenta", [LEVEL_MISSING] = "red"};
	struct libscols_line *line = scols_table_new_line(table, NULL);

	if (!line)
		out_of_memory();
	demand(scols_line_set_data(line, COLUMN_CHECK, check->name));
	demand(scols_line_set_data(line, COLUMN_STATE, level_names[finding->level]));
	demand(scols_cell_set_color(scols_line_get_cell(line, COLUMN_STATE), colors[finding->level]));
	demand(scols_line_set_data(line, COLUMN_FOR, check->stake == STAKE_COMMAND ? "command" : "library"));
	demand(scols_line_set_data(line, COLUMN_FOUND, finding->found));
	if (json && finding->consequence) {
		demand(scols_line_set_data(line, COLUMN_CONSEQUENCE, finding->consequence));
		demand(scols_line_set_data(line, COLUMN_REMEDY, finding->remedy));
	}
}

static void print_advice(const struct check *check, const struct finding *finding)
{
	if (finding->level != LEVEL_OK)
		printf("\n%s (%s)\n  %s\n  %s\n", check->name, level_names[finding->level], finding->consequence, finding->remedy);
}

void diagnosis_print(const struct diagnosis *diagnosis, const struct check *checks, const struct finding *findings, size_t count)
{
	struct libscols_table *table = new_table(diagnosis);

	for (size_t i = 0; i < count; i++)
		add_line(table, diagnosis->json, &checks[i], &findings[i]);
	demand(scols_print_table(table));
	scols_unref_table(table);
	for (size_t i = 0; i < count && !diagnosis->json; i++)
		print_advice(&checks[i], &findings[i]);
}
