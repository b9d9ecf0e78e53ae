/* SPDX-License-Identifier: MIT
 *
 * File operations made by a helper process. What hangs, hangs there: the calling thread waits for a reply on a socket, which a
 * scope cuts short, and this process has no fd on the mount, so that it can exit. lib/helper is below the engine, above wake.
 *
 * A call is begun in the thread whose rights and directory it is to have, and made in any that may wait. Results are those of the own calls of the
 * same names, and:
 *   -EBADF       a handle that was closed, or never was one
 *   -ESTALE      its helper has ended
 *   -ECONNRESET  the helper ended while it had the request, which may or may not have been carried out
 *   -EPROTO      the helper has sent rubbish, and was killed; the same
 */
#ifndef UNSTICK_HELPER_CLIENT_H
#define UNSTICK_HELPER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "helper/protocol.h"

struct helper_set;

/* May the thread that makes a call start a helper for it, having the rights of its set? Read from /proc only if there is none. */
enum start_right { RIGHT_UNKNOWN, RIGHT_TO_START, NO_RIGHT_TO_START };

/* The caller's, with all that it points to, until the call has been made. */
struct helper_call {
	uint32_t opcode;     /* enum helper_opcode */
	int fd[2];           /* the file; or the directories: an fd, AT_FDCWD, a handle */
	const char *path[2]; /* NULL: none */
	uint32_t flags, mode;
	struct iovec one;        /* room for an iov of one part */
	const struct iovec *iov; /* what is read into, or written */
	size_t length;           /* of all of it */
	int64_t offset;          /* -1: the file's own position */
	/* Private: */
	struct helper_set *set; /* without a handle: whose helper is to make it */
	long known;             /* its result, if that needs no helper */
	enum start_right right;
	bool has_cwd;
	int cwd; /* where relative paths begin, opened in the thread that has begun it */
};

bool helper_is_handle(int fd);
/* 0, also if the call will come to an error. -EPERM: no helper can have the calling thread's rights; -ENOENT and the like: none
 * could be started; -EMFILE, -ENFILE: fds are short, for that or to read the rights; -EAGAIN: too many are stuck; -ENOMEM; -ECANCELED,
 * -ETIMEDOUT: a scope cut the start short. All but the last three with a line to the log. Starting one takes a few milliseconds. */
int helper_call_begin(struct helper_call *call);
/* An open's: a handle. */
long helper_call_make(struct helper_call *call);
void helper_call_end(struct helper_call *call);

/* Closes a handle, and waits for nothing. */
void helper_close_soon(int number);

/* How many there are now; how many have been abandoned, or have ended, ever. */
void helper_stats(unsigned *now, uint64_t *abandoned);

void helper_before_fork(void);
void helper_after_fork_parent(void);
void helper_after_fork_child(void);

#endif
