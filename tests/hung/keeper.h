/* SPDX-License-Identifier: MIT
 *
 * A process beside a test that makes what hangs, and ends it again whatever becomes of the test: asked to, or by itself as soon as
 * the test's main thread has ended or SIGKILL is on its way to it, or after a minute. Nothing that hangs may outlive it: an exit, or
 * SIGKILL, of a process with a thread in it waits for what only the keeper can give.
 * The keeper has a session of its own and blocks all signals: who ends the test's process group or terminal leaves it to its work.
 * What it does not do: survive a SIGKILL of its own.
 */
#ifndef TESTS_HUNG_KEEPER_H
#define TESTS_HUNG_KEEPER_H

#include <stddef.h>
#include <sys/types.h>

struct keeper {
	pid_t pid;     /* 0: none */
	int line;      /* socket: its answer once, then orders of one byte */
	char why[160]; /* keeper_start() failed: for people */
};

/* What it does; all of it in the keeper. All but `make` may be NULL. */
struct keeper_work {
	int (*make)(void *arg, char *why, size_t size); /* -errno, with the reason, if it cannot be made here */
	int (*fd)(void *arg);                           /* once it is made: to be served whenever it is readable */
	void (*serve)(void *arg);
	void (*obey)(void *arg, char order);
	void (*undo)(void *arg);
};

/* Returns once `make` has. 0, or what it failed with. `arg` is the keeper's own copy, except for memory that is shared. */
int keeper_start(struct keeper *keeper, const struct keeper_work *work, void *arg);
void keeper_order(struct keeper *keeper, char order);
/* Undoes it; returns once the keeper has ended. Does nothing if there is none. */
void keeper_end(struct keeper *keeper);

/* A mount namespace of the caller's own, for what keepers mount. One a process; before there are other threads.
 * 0, or -errno and the reason. */
int keeper_enter_namespace(char *why, size_t size);

#endif
