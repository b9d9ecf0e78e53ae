/* SPDX-License-Identifier: MIT
 *
 * Bytes for a program's standard input, which then ends. A pipe, not a socketpair, though send() has MSG_NOSIGNAL and write() has
 * not: a program cannot open /dev/stdin if it is a socket, and some behave differently then (bash takes itself for started by a
 * remote shell). So SIGPIPE is kept away here. Invariant: never waits. One thread at a time.
 */
#ifndef UNSTICK_POOL_FEED_H
#define UNSTICK_POOL_FEED_H

#include <stddef.h>

struct feed {
	int fd; /* our end; -1: closed, or never opened */
	const char *at;
	size_t left;
};

/* 0 or -errno; *end is the program's, close-on-exec and the caller's. The bytes must stay. */
int feed_open(struct feed *feed, const void *bytes, size_t size, int *end);
/* Gives what can be given now; closes it when all is given, or nobody takes it. */
void feed_write(struct feed *feed);
void feed_close(struct feed *feed);

#endif
