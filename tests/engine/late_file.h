/* SPDX-License-Identifier: MIT
 *
 * Files on a FUSE mount whose daemon keeps silent until it is told to answer; then it answers all that was asked, with bytes that nobody else
 * writes. Without libfuse, in a mount namespace of the case's own. (tests/faults/silent_file.h never answers.)
 * Held back are reads, writes, and look-ups of names that begin with 'h'.
 */
#ifndef TESTS_ENGINE_LATE_FILE_H
#define TESTS_ENGINE_LATE_FILE_H

#include <sys/types.h>

enum { LATE_BYTE = 0xA5 }; /* all that can be read */

struct late_file {
	pid_t daemon;
	int tell;
	char dir[40];
	char direct[48]; /* the kernel reads into the memory that it is given */
	char cached[48]; /* by way of the page cache */
	char hidden[48]; /* its look-up is held back */
};

void late_file_make(struct late_file *file);   /* before there are other threads; skips the case where there can be no such mount */
void late_file_answer(struct late_file *file); /* from now on it answers at once */
void late_file_end(struct late_file *file);    /* the daemon dies */

#endif
