/* SPDX-License-Identifier: MIT
 *
 * Words of the command line: durations, error numbers, names of system calls. Each returns whether the whole word was understood, and
 * writes nothing otherwise. What they don't do: print.
 */
#ifndef TOOLS_PARSE_H
#define TOOLS_PARSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* "30", "30s", "1.5m", "250ms", "2h", "1d", as for sleep(1) and timeout(1), and "ms": in nanoseconds. Up to 100 years. */
bool parse_duration(const char *word, int64_t *ns);

/* "ECANCELED", in any case, or its number: the positive number. Only those that have a name: others mean something to the kernel. */
#define PARSE_ERRNO_WANTED "not an error: give its name, such as ECANCELED, or its number, 1 to 133"
bool parse_errno(const char *word, int *error);

/* "recvfrom", or a number. */
bool parse_call(const char *word, long *nr);

/* "TERM", "SIGTERM", "RTMIN+3", or a number. */
bool parse_signal(const char *word, int *signal);

/* A number from 0 to `limit`. */
bool parse_number(const char *word, long limit, long *number);

/* "1234", "1234/1240"; *tid is 0 without the second. */
bool parse_thread(const char *word, pid_t *pid, pid_t *tid);

/* "0.2s", "12.3s", "5m02s", "3h07m", "2d04h": at most 8 bytes with the end. */
void format_duration(int64_t ns, char *buf, int size);

#endif
