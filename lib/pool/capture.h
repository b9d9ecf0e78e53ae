/* SPDX-License-Identifier: MIT
 *
 * What a program writes to a pipe, in memory, up to a limit; the rest is read and dropped, so that the program is not held up, and
 * so is what there is no memory for. Invariant: never waits. One thread at a time.
 */
#ifndef UNSTICK_POOL_CAPTURE_H
#define UNSTICK_POOL_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

struct capture {
	int fd; /* our end; -1: closed, or never opened */
	char *buf;
	size_t size, room; /* bytes in it; bytes allocated, one of them for the zero at the end */
	size_t most;
	bool cut; /* something was dropped */
};

/* 0 or -errno; *end is the program's, close-on-exec and the caller's. */
int capture_open(struct capture *capture, int *end);
/* Takes what can be read now; closes it at the end of the file. */
void capture_read(struct capture *capture);
/* Takes what is in the pipe now, and closes it. */
void capture_finish(struct capture *capture);
/* Ended by a zero byte; never NULL. */
const char *capture_text(const struct capture *capture);
/* Closes it if that was not done, and frees the bytes. */
void capture_free(struct capture *capture);

#endif
