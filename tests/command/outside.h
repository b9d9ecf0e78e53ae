/* SPDX-License-Identifier: MIT
 *
 * For tests of the command from outside: TAP lines, running a program and keeping what it prints, processes with a stuck thread. Each
 * wait has an end: what has not ended in time is killed, and the test fails.
 */
#ifndef TESTS_COMMAND_OUTSIDE_H
#define TESTS_COMMAND_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* ---- TAP */

/* Prints "ok" or "not ok" with the name; `detail` as "# ..." lines below a failure. Returns `passed`. */
bool tap_case(bool passed, const char *detail, const char *format, ...) __attribute__((format(printf, 3, 4)));
void tap_skip(const char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints the plan; the exit status for main(). */
int tap_end(void);

/* ---- a program */

struct ran {
	int status; /* as of waitpid(); -1: it did not end in time and was killed */
	char out[1 << 18], err[1 << 16];
};

enum { RAN_AS_SELF = -1, RAN_AS_NOBODY = 65534 };

/* Runs it with stdin at /dev/null, for at most 30 s. argv[0] is a path, or looked for in PATH. */
void run(struct ran *ret, int uid, const char *const argv[]);
bool ran_exited_with(const struct ran *ran, int code);

/* The path of the command that is tested, and of the program `stuck`: from UNSTICK_COMMAND and UNSTICK_STUCK, else the test ends. */
const char *command_path(void);
const char *stuck_path(void);

/* ---- a process with a stuck thread */

struct victim {
	pid_t pid, tid; /* pid 0: there is none */
	int in, out;    /* its stdin and stdout, ours */
};

/* Starts `stuck NAME` and waits until it is blocked. False: it cannot be made here, `why` says why not. */
bool victim_start(struct victim *victim, const char *name, int uid, char *why, size_t size);
/* What it says next ("ended -125"), without the newline; false: nothing within the time. */
bool victim_says(struct victim *victim, int timeout_ms, char *line, size_t size);
void victim_end(struct victim *victim);

/* State letter; '?' if it is not there. */
char thread_state(pid_t pid, pid_t tid);
/* Voluntary context switches, -1 unknown. */
long thread_switches(pid_t pid, pid_t tid);

#endif
