/* SPDX-License-Identifier: MIT
 *
 * Reading what the arguments of another process's system call point to. Invariant: only pages that are in memory are read, as its
 * pagemap has them: a page that is not could make the reader wait for a FUSE daemon or for the reader of a userfaultfd, as it made
 * the thread that is looked at. What it does not do: stop the process; the bytes may change while they are read.
 */
#ifndef TOOLS_MEMORY_H
#define TOOLS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* All of it or nothing. */
bool memory_read(pid_t pid, unsigned long address, void *buf, size_t size);

/* A string, cut to what fits, terminated; control characters come as '?'. */
bool memory_read_string(pid_t pid, unsigned long address, char *buf, size_t size);

#endif
