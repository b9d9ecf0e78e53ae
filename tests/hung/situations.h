/* SPDX-License-Identifier: MIT
 *
 * What the files of situations share among themselves; tests include hung.h.
 */
#ifndef TESTS_HUNG_SITUATIONS_H
#define TESTS_HUNG_SITUATIONS_H

#include <errno.h>

#include "hung.h"

/* The groups; each ends with a nameless one. */
extern const struct hung_situation hung_on_fuse[], hung_on_ext4[], hung_on_loop[], hung_on_child[];

static inline long hung_or_errno(long result)
{
	return result < 0 ? -(long)errno : result;
}

int hung_open_for(struct hung *hung, int flags);
/* error, negative, and "WHAT: strerror" as the reason. */
int hung_refuse(struct hung *hung, const char *what, int error);
/* Starts hung->keeper; if that fails, its reason is hung's. */
int hung_keep(struct hung *hung, const struct keeper_work *work);
/* For a situation that only a keeper keeps. */
void hung_end_keeper(struct hung *hung);

/* A loop device on the file, opened; it goes with its last user. `path` gets its name. An fd, or -errno and the reason. */
int hung_loop_attach(int file, char *path, size_t size, char *why, size_t why_size);

#endif
