/* SPDX-License-Identifier: MIT
 *
 * Handles: numbers that stand for files open in a helper, as fds stand for files open here. Above all fds (the kernel's limit of
 * fs.nr_open is 2^30 at most), so that one can be taken for the other nowhere. A handle is an index and a generation: after its
 * close the number is found to be stale, until 65,536 others have had its place. The index is the helper's slot, too.
 * All under helper_lock.
 */
#ifndef UNSTICK_HELPER_HANDLES_H
#define UNSTICK_HELPER_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "helper/protocol.h"

struct helper;

enum handle_state {
	HANDLE_FREE,
	HANDLE_OPENING, /* a request is to fill it */
	HANDLE_OPEN,
	HANDLE_CLOSING, /* the application knows it no more; requests may still be using it */
};

struct handle {
	struct helper *helper;
	struct handle *next; /* free; or in its helper's list of those due */
	unsigned uses;       /* requests in the helper that name it */
	uint16_t generation;
	uint8_t state;
	bool asked; /* CLOSING: the helper has been told */
};

/* NULL: all are taken. */
struct handle *handle_new(struct helper *helper);
void handle_free(struct handle *handle);
uint32_t handle_slot(const struct handle *handle);
int handle_number(const struct handle *handle);
/* NULL: it is not open. */
struct handle *handle_find(int number);

#endif
