/* SPDX-License-Identifier: MIT
 *
 * The text for a socket, from /proc/PID/net by its inode number: works on any process, without a right to its fds.
 * What it does not do: know more than these tables; a socket that is in none of them is just "socket:[INODE]". Async-signal-safe.
 */
#ifndef UNSTICK_INSPECT_SOCKET_H
#define UNSTICK_INSPECT_SOCKET_H

#include <stdint.h>
#include <sys/types.h>
#include "base/text.h"

/* Appends to `text`. pid 0: this process. */
void socket_describe(struct text *text, pid_t pid, uint64_t inode);

typedef void socket_fn(void *arg, uint64_t inode, const char *text);

/* The same for all sockets of the process's network namespace. The text is gone when `fn` returns. */
void socket_each(pid_t pid, socket_fn *fn, void *arg);

#endif
