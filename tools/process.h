/* SPDX-License-Identifier: MIT
 *
 * Whose process it is, and how it was started. What it does not do: ask a name service, or read memory that is not there; both could
 * wait for ever on a machine that is in trouble.
 */
#ifndef TOOLS_PROCESS_H
#define TOOLS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The name of the effective user by /etc/passwd, or the number; "" unknown. */
void process_user(pid_t pid, char *buf, size_t size);

/* Its arguments with blanks between them, cut to what fits; control characters come as '?'. "": unknown, or a thread of the kernel. */
void process_command(pid_t pid, char *buf, size_t size);

/* Whether it was started by a name of which this is the last part; that of a script counts, and of what an interpreter was given to run. */
bool process_is_called(pid_t pid, const char *name);

#endif
