/* SPDX-License-Identifier: MIT
 *
 * For tests with criterion: a FUSE mount with a silent daemon (tests/hung/hung_fuse.h). Needs root.
 */
#ifndef TESTS_SILENT_FUSE_H
#define TESTS_SILENT_FUSE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "blocked.h"
#include "hung/hung_fuse.h"

struct silent_fuse {
	struct hung_fuse hung;
	const char *dir;
	const char *file;   /* can be opened; nothing else that is asked about it ends */
	const char *hidden; /* its look-up never ends */
};

/* False, after saying why, where there can be no FUSE mount. */
static inline bool silent_fuse_start(struct silent_fuse *fuse)
{
	if (hung_fuse_start(&fuse->hung, false) < 0) {
		cr_skip_test("%s", fuse->hung.keeper.why);
		return false;
	}
	fuse->dir = fuse->hung.dir;
	fuse->file = fuse->hung.mute;
	fuse->hidden = fuse->hung.hidden;
	return true;
}

static inline void silent_fuse_end(struct silent_fuse *fuse)
{
	hung_fuse_end(&fuse->hung);
}

#endif
