/* SPDX-License-Identifier: MIT
 *
 * What a blocked call waits on, in words, and which process can end that wait. What it does not do: ask a
 * file system anything; the text of a link in /proc and what is in memory must do.
 */
#ifndef TOOLS_OBJECT_H
#define TOOLS_OBJECT_H

#include <sys/types.h>

#include "base/text.h"

struct holder {
	pid_t pid; /* 0: none known */
	unsigned more;
	const char *is; /* "held by", "other end:", "child": stands before it */
};

/* `holder` NULL: nobody is looked for, which spares a walk through all processes. */
void object_describe(pid_t pid, long nr, const unsigned long arguments[6], struct text *text, struct holder *holder);

#endif
