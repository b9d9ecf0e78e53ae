/* SPDX-License-Identifier: MIT
 *
 * See layout.h.
 */
#include "layout.h"

#include <string.h>

#include "cell.h"

enum {
	NARROW = 100,        /* terminals that are less wide get fewer columns */
	LONGEST_OBJECT = 60, /* one long path must not push apart the whole table */
	/* What a column may be cut to: that much still says something. */
	SOME_REASON = 24,
	SOME_OBJECT = 24,
	SHORT_OBJECT = 12,
	SHORT_TEXT = 12,
};

static const enum screen_column wide[] = {COLUMN_PID, COLUMN_TID,    COLUMN_NAME,   COLUMN_STATE, COLUMN_BLOCKED, COLUMN_CALL,
                                          COLUMN_FD,  COLUMN_OBJECT, COLUMN_HOLDER, COLUMN_FREE,  COLUMN_WHY};
static const enum screen_column narrow[] = {COLUMN_PID,  COLUMN_TID,    COLUMN_NAME,   COLUMN_BLOCKED,
                                            COLUMN_CALL, COLUMN_OBJECT, COLUMN_HOLDER, COLUMN_FREE};

/* ---- which columns */

static void choose_columns(struct layout *layout, const struct screen *screen, size_t terminal)
{
	bool few = terminal && terminal < NARROW;

	if (screen->column_count) {
		layout->count = screen->column_count;
		memcpy(layout->columns, screen->columns, sizeof(layout->columns));
	} else if (screen->json) {
		for (unsigned i = 0; i < COLUMNS; i++)
			layout->columns[layout->count++] = (enum screen_column)i;
	} else {
		layout->count = few ? sizeof(narrow) / sizeof(narrow[0]) : sizeof(wide) / sizeof(wide[0]);
		memcpy(layout->columns, few ? narrow : wide, layout->count * sizeof(layout->columns[0]));
		layout->style = few ? CELL_JOINED : 0;
	}
}

/* ---- how wide */

static size_t widest(const struct layout *layout, const struct screen *screen, enum screen_column column, const struct row *rows,
                     size_t count)
{
	size_t width = screen->no_headings ? 0 : strlen(screen_column_name(column));
	char cell[CELL_SIZE];

	for (size_t i = 0; i < count; i++) {
		cell_format(&rows[i], column, layout->style, cell);
		width = strlen(cell) > width ? strlen(cell) : width;
	}
	return width;
}

static size_t *find_width(struct layout *layout, enum screen_column column)
{
	for (size_t i = 0; i < layout->count; i++) {
		if (layout->columns[i] == column)
			return &layout->width[i];
	}
	return NULL;
}

static size_t excess(const struct layout *layout, size_t terminal)
{
	size_t sum = layout->count - 1;

	for (size_t i = 0; i < layout->count; i++)
		sum += layout->width[i];
	return sum > terminal ? sum - terminal : 0;
}

static void shrink(struct layout *layout, size_t terminal, enum screen_column column, size_t least)
{
	size_t *width = find_width(layout, column), over = excess(layout, terminal);

	if (width && *width > least)
		*width -= over < *width - least ? over : *width - least;
}

/* Says less in a column, if that is needed. */
static void abridge(struct layout *layout, size_t terminal, enum screen_column column, unsigned style, const struct screen *screen,
                    const struct row *rows, size_t count)
{
	size_t *width = find_width(layout, column);

	if (!width || !excess(layout, terminal))
		return;
	layout->style |= style;
	*width = widest(layout, screen, column, rows, count);
}

static void fit(struct layout *layout, size_t terminal, const struct screen *screen, const struct row *rows, size_t count)
{
	shrink(layout, terminal, COLUMN_WHY, SOME_REASON);
	abridge(layout, terminal, COLUMN_WHY, CELL_CODES, screen, rows, count);
	shrink(layout, terminal, COLUMN_OBJECT, SOME_OBJECT);
	abridge(layout, terminal, COLUMN_HOLDER, CELL_NUMBERS, screen, rows, count);
	shrink(layout, terminal, COLUMN_OBJECT, SHORT_OBJECT);
	shrink(layout, terminal, COLUMN_ARGUMENTS, SHORT_TEXT);
	shrink(layout, terminal, COLUMN_COMMAND, SHORT_TEXT);
}

void layout_choose(struct layout *layout, const struct screen *screen, const struct row *rows, size_t count, size_t terminal)
{
	*layout = (struct layout){.style = 0};
	choose_columns(layout, screen, terminal);
	if (screen->json)
		layout->style = CELL_JSON;
	for (size_t i = 0; i < layout->count; i++)
		layout->width[i] = screen->json ? CELL_SIZE : widest(layout, screen, layout->columns[i], rows, count);
	if (screen->json)
		return;
	size_t *object = screen->column_count ? NULL : find_width(layout, COLUMN_OBJECT);
	if (object && *object > LONGEST_OBJECT)
		*object = LONGEST_OBJECT;
	if (terminal)
		fit(layout, terminal, screen, rows, count);
}

/* Of an object the end tells something, too: the name of the file, the other side of the connection. */
void layout_cut(const struct layout *layout, size_t place, char *cell)
{
	size_t width = layout->width[place], length = strlen(cell);
	size_t tail = layout->columns[place] == COLUMN_OBJECT ? width / 3 : 0;

	if (length <= width)
		return;
	if (width >= SHORT_TEXT)
		memcpy(cell + width - tail - 2, "..", 2);
	memmove(cell + width - tail, cell + length - tail, tail);
	cell[width] = '\0';
}
