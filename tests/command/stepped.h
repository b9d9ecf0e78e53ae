/* SPDX-License-Identifier: MIT
 *
 * `unstick wake` run with a stop before and after each of its system calls, in all its threads, so that a test can have anything happen
 * there.
 */
#ifndef TESTS_COMMAND_STEPPED_H
#define TESTS_COMMAND_STEPPED_H

#include <stdbool.h>
#include <sys/types.h>

/* At a stop of thread `tid`, which is before (`entry`) or after the system call `nr` with its first argument. */
struct step {
	pid_t command, tid;
	unsigned number; /* from 1 */
	bool entry;
	unsigned long nr, first; /* of an entry */
};

/* To the end of the command: its exit status, or 128 + the signal that ended it. Its output is dropped. */
int command_stepped(const char *word, void (*at)(void *arg, const struct step *step), void *arg);

#endif
