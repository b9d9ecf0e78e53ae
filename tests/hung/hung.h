/* SPDX-License-Identifier: MIT
 *
 * Threads in waits that no signal ends: every one that this machine can make, each with the system call and the state that /proc must
 * then show, and with a way to end it.
 *
 *     struct hung hung;
 *     if (hung_make(&hung, hung_find("fuse-read")) < 0)  ... hung.why: cannot be made here ...
 *     hung_open(&hung);                    in the process whose thread is to hang
 *     long result = hung_block(&hung);     does not return before hung_end() in another thread
 *
 * Invariants: what it mounts is in a mount namespace of the process's own; no file, loop device or process is left after
 * hung_end(), nor a second after the process that made it was killed: keepers (keeper.h) undo it. Results are those of the calls,
 * errors as -errno. What it does not do: use the library.
 */
#ifndef TESTS_HUNG_HUNG_H
#define TESTS_HUNG_HUNG_H

#include <stdbool.h>
#include <stddef.h>

#include "hung_fuse.h"

struct hung;

struct hung_situation {
	const char *name;    /* "fuse-read" */
	const char *summary; /* one line */
	long nr;             /* the system call */
	char state;          /* the state letter, as long as it gets no signal: 'S' or 'D' */
	bool has_fd;         /* the call's fd is hung.fd */
	bool holds_exit;     /* SIGKILL does not end it either */
	bool fails;          /* ended, it gives an error */
	int (*make)(struct hung *hung);
	int (*open)(struct hung *hung); /* NULL: nothing is to be opened */
	long (*block)(struct hung *hung);
	void (*end)(struct hung *hung);
};

struct hung {
	const struct hung_situation *situation;
	struct hung_fuse fuse;
	struct keeper keeper; /* of the loop device, the file system or the child */
	char dir[40];
	char path[64]; /* what is opened */
	int fd;        /* -1: none */
	struct hung_shared {
		char device[32];
		_Atomic pid_t child;
	} * shared;    /* among the processes of the situation */
	char why[200]; /* why it cannot be made here */
};

/* hung_at(0), ... until NULL. */
const struct hung_situation *hung_at(size_t index);
const struct hung_situation *hung_find(const char *name);

/* Makes everything but the blocking call. Before there are other threads. 0; -errno: it cannot be made here, and hung->why. */
int hung_make(struct hung *hung, const struct hung_situation *situation);
/* 0; -errno. */
int hung_open(struct hung *hung);
long hung_block(struct hung *hung);
/* Once the thread is seen in its call: has the FUSE daemon taken the request? Until then a signal still ends the wait. True where there
 * is no daemon. */
bool hung_is_asked(const struct hung *hung);
/* Ends what the blocking call waits for. Its fd stays open. */
void hung_end(struct hung *hung);

#endif
