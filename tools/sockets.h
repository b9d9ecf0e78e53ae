/* SPDX-License-Identifier: MIT
 *
 * What the sockets of the network namespaces that were asked for are, each table read once: ten thousand threads wait on ten thousand
 * sockets. Answers are as old as the first question for the namespace; sockets_forget() begins anew.
 */
#ifndef TOOLS_SOCKETS_H
#define TOOLS_SOCKETS_H

#include <stdint.h>
#include <sys/types.h>

/* "socket tcp 127.0.0.1:5 -> 127.0.0.1:6", by its inode in the namespace of `pid`; NULL: in no table. */
const char *sockets_find(pid_t pid, uint64_t inode);

/* The inode of the socket at the other end: of a connected unix or local TCP socket; 0: none, or unknown. */
uint64_t sockets_peer(pid_t pid, uint64_t inode);

void sockets_forget(void);

#endif
