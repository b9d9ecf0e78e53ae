/* SPDX-License-Identifier: MIT
 *
 * Which processes have a pipe or a socket open, from the links in /proc/PID/fd: read once, when first asked, until holders_forget().
 * What it does not see: processes that this one may not look into, fds on their way through a unix socket, mappings.
 */
#ifndef TOOLS_HOLDERS_H
#define TOOLS_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum holder_kind { HOLDS_PIPE, HOLDS_SOCKET };

/* A process that has it open, another one than `not_this` if there is one; 0: none. *more: how many beside it. `end`: S_IRUSR the end
 * of a pipe that is read, S_IWUSR that which is written; 0 for a socket. */
pid_t holders_find(enum holder_kind kind, uint64_t inode, mode_t end, pid_t not_this, unsigned *more);

void holders_forget(void);

#endif
