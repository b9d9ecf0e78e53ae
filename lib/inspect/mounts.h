/* SPDX-License-Identifier: MIT
 *
 * Whether a mount is of a kind that can hang: its data come from a daemon or over a network that may have died.
 * What it does not do: ask the file system anything (that is what hangs), or see through a union mount to its layers.
 * Async-signal-safe.
 */
#ifndef UNSTICK_INSPECT_MOUNTS_H
#define UNSTICK_INSPECT_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* `mnt_id` as statx() and /proc/PID/fdinfo have it. A mount that cannot be found counts as one that may hang: a dead one that was
 * unmounted lazily is not listed any more, and everything that has it open hangs all the same. */
bool mount_may_hang(uint64_t mnt_id);

/* The same in the mount namespace of `pid` (0: this process): 1, 0, or -ENOENT for a mount that is not listed, -EACCES, ... */
int mount_may_hang_of(pid_t pid, uint64_t mnt_id);

/* Whether a path lies on a mount that may hang: the one with the longest mount point above it. The path is absolute and without
 * "." and ".."; its file system is not asked, so symbolic links are not followed. False where the table cannot be read. */
bool mount_of_path_may_hang(const char *path);

/* "fuse", "nfs4", ... */
bool mount_type_may_hang(const char *type);

#endif
