/* SPDX-License-Identifier: MIT
 *
 * Who holds the file lock that a process waits for, from /proc/locks. What it does not do: keep anything; each question reads anew.
 */
#ifndef TOOLS_LOCKS_H
#define TOOLS_LOCKS_H

#include <sys/types.h>

/* `kind` as there: "FLOCK", "POSIX", "OFDLCK"; `fd` is the waiter's. 0: not known. */
pid_t locks_holder(pid_t waiter, int fd, const char *kind);

#endif
