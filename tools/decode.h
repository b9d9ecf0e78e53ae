/* SPDX-License-Identifier: MIT
 *
 * The arguments of a system call as text, by the letters that lib/base/syscalls.def gives for each. What it does not do: say what an
 * fd is (object.h).
 */
#ifndef TOOLS_DECODE_H
#define TOOLS_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "base/text.h"

/* "7, 0x7ffd0c, 8192": what fits. Pointers to strings, times and addresses are followed where the memory is resident. */
void decode_arguments(pid_t pid, long nr, const unsigned long arguments[6], struct text *text);

/* "127.0.0.1:5432", "[::1]:80", "/run/x.sock", "@abstract". Whether it could be read and told. */
bool decode_address(pid_t pid, unsigned long address, unsigned long size, struct text *text);

/* "1.5s" */
void decode_time(const struct timespec *time, struct text *text);

#endif
