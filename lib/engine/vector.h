/* SPDX-License-Identifier: MIT
 *
 * What is left of a write, send, writev or sendmsg that moved only a part. The caller's iovecs are never changed: what is left
 * is a copy, with a message header for it in front.
 */
#ifndef UNSTICK_ENGINE_VECTOR_H
#define UNSTICK_ENGINE_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/op.h"

/* The kernel takes at most this many bytes at once: MAX_RW_COUNT, include/linux/fs.h. */
enum { MOST_BYTES = 0x7ffff000 };

/* Bytes that are to be moved still, of iovecs; of any. */
size_t vector_left_of_iovecs(const struct op *op);

static inline bool vector_is_plain(const struct op *op)
{
	return op->opcode == UNSTICK_OP_WRITE || op->opcode == UNSTICK_OP_SEND;
}

static inline size_t vector_left(const struct op *op)
{
	return vector_is_plain(op) ? op->len - op_moved(op) : vector_left_of_iovecs(op);
}

/* `moved` bytes more have gone. False: no memory to go on. */
bool vector_advance(struct op *op, size_t moved);
/* The message to send; the iovecs to write, with their number. */
struct msghdr *vector_message(const struct op *op);
const struct iovec *vector_iov(const struct op *op, unsigned *count);
void vector_free(struct op *op);

/* Takes `moved` bytes off the front; returns how many iovecs are left. */
unsigned iov_skip(struct iovec *iov, unsigned count, size_t moved);
size_t iov_total(const struct iovec *iov, size_t count);

#endif
