/* SPDX-License-Identifier: MIT
 *
 * What a row says in a column.
 */
#ifndef TOOLS_CELL_H
#define TOOLS_CELL_H

#include "row.h"
#include "screen.h"

enum { CELL_SIZE = 512 };

enum cell_style {
	CELL_JSON = 1u << 0,    /* numbers as JSON has them */
	CELL_JOINED = 1u << 1,  /* for narrow tables: OBJECT has the fd too, FREE the reason in a word */
	CELL_CODES = 1u << 2,   /* WHY in a word */
	CELL_NUMBERS = 1u << 3, /* HOLDER without the name */
};

/* "": unknown, or there is none. */
void cell_format(const struct row *row, enum screen_column column, unsigned style, char cell[CELL_SIZE]);

/* NULL: as the rest. Red, green and magenta can be read on a light and on a dark background. */
const char *cell_color(const struct row *row, enum screen_column column);

#endif
