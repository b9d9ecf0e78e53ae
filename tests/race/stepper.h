/* SPDX-License-Identifier: MIT
 *
 * The calls that the stepper steps through: each own call, in the situations in which it can be cut short.
 */
#ifndef TESTS_RACE_STEPPER_H
#define TESTS_RACE_STEPPER_H

#include <stdbool.h>
#include <stddef.h>

enum situation {
	EMPTY,   /* it would block for ever */
	READY,   /* it can complete at once, moving or making something */
	PARTIAL, /* it moves a part and then blocks */
	SITUATIONS,
};

/* The state of one run, in the child. */
struct run {
	int fd, other; /* the call's fd, and its other end */
	int made;      /* an fd that the call made, to be closed; -1 */
	char *big;     /* a megabyte */
};

struct own_call {
	const char *name;
	bool situations[SITUATIONS];
	void (*prepare)(struct run *run, enum situation situation);
	long (*call)(struct run *run);
	/* What the call has done to the world, to be compared with its result: bytes that have left (or entered) the kernel, connections
	 * taken; -1 when there is nothing to count. */
	long (*done)(const struct run *run, enum situation situation);
	long ready_result; /* of READY */
};

extern const struct own_call stepper_calls[];
extern const size_t stepper_call_count;

#endif
