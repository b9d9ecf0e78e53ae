/* SPDX-License-Identifier: MIT
 *
 * The findings of `unstick doctor`, on the screen.
 */
#ifndef TOOLS_DIAGNOSIS_H
#define TOOLS_DIAGNOSIS_H

#include <stddef.h>

#include "finding.h"

enum stake {
	STAKE_ALL,     /* without it the library does not work at all */
	STAKE_LIBRARY, /* without it the library works with limits */
	STAKE_COMMAND, /* only the command needs it */
};

struct check {
	const char *name;
	enum stake stake;
	void (*run)(struct finding *finding);
};

struct diagnosis {
	bool json, no_headings;
	int color; /* 1 always, 0 if stdout is a terminal, -1 never */
};

/* A table; under it, for all that is not in order, what it means and what to do. JSON: all of it in one document. */
void diagnosis_print(const struct diagnosis *diagnosis, const struct check *checks, const struct finding *findings, size_t count);

#endif
