/* SPDX-License-Identifier: MIT
 *
 * Which columns a table has, how wide each is, and how much is said in them, so that a line fits the terminal. What gives way, in this
 * order: the reason, which becomes one word if too little of it would be left; the object; the holder's name; the arguments and the
 * command. Names, calls and whether a thread can be freed are never cut.
 */
#ifndef TOOLS_LAYOUT_H
#define TOOLS_LAYOUT_H

#include "screen.h"

struct layout {
	enum screen_column columns[COLUMNS];
	size_t count;
	size_t width[COLUMNS]; /* of the columns, in their order: longer cells are cut */
	unsigned style;        /* enum cell_style */
};

/* `terminal`: how wide it is; 0: as wide as need be. */
void layout_choose(struct layout *layout, const struct screen *screen, const struct row *rows, size_t count, size_t terminal);

/* Fits the text into the column at that place. */
void layout_cut(const struct layout *layout, size_t place, char *cell);

#endif
