/* SPDX-License-Identifier: MIT */
#include "engine/vector.h"

#include <stdlib.h>
#include <string.h>

static bool is_message(const struct op *op)
{
	return op->opcode == UNSTICK_OP_SENDMSG || op->opcode == UNSTICK_OP_RECVMSG;
}

size_t iov_total(const struct iovec *iov, size_t count)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		total += iov[i].iov_len;
	return total;
}

const struct iovec *vector_iov(const struct op *op, unsigned *count)
{
	const struct msghdr *message = is_message(op) ? op->buf : NULL;
	*count = op->vector ? op->addr_len : (unsigned)(message ? message->msg_iovlen : op->len);
	return op->vector ? op->vector : message ? message->msg_iov : op->buf;
}

struct msghdr *vector_message(const struct op *op)
{
	return op->vector ? (struct msghdr *)(void *)op->vector - 1 : op->buf;
}

size_t vector_left_of_iovecs(const struct op *op)
{
	unsigned count;
	const struct iovec *iov = vector_iov(op, &count);
	return iov_total(iov, count);
}

/* Ancillary data have gone with the first part. */
static bool copy(struct op *op)
{
	unsigned count;
	const struct iovec *iov = vector_iov(op, &count);
	struct msghdr *message = malloc(sizeof *message + count * sizeof *iov);
	if (!message)
		return false;
	*message = is_message(op) ? *(struct msghdr *)op->buf : (struct msghdr){0};
	message->msg_control = NULL;
	message->msg_controllen = 0;
	op->vector = (struct iovec *)(void *)(message + 1);
	message->msg_iov = op->vector;
	memcpy(op->vector, iov, count * sizeof *iov);
	op->addr_len = count;
	return true;
}

unsigned iov_skip(struct iovec *iov, unsigned count, size_t moved)
{
	unsigned gone = 0;
	while (gone < count && iov[gone].iov_len <= moved)
		moved -= iov[gone++].iov_len;
	memmove(iov, iov + gone, (count - gone) * sizeof *iov);
	if (count > gone) {
		iov[0].iov_base = (char *)iov[0].iov_base + moved;
		iov[0].iov_len -= moved;
	}
	return count - gone;
}

bool vector_advance(struct op *op, size_t moved)
{
	if (!vector_is_plain(op) && !op->vector && !copy(op))
		return false;
	op->has_more = true;
	op->moved += moved;
	if (vector_is_plain(op))
		return true;
	op->addr_len = iov_skip(op->vector, op->addr_len, moved);
	vector_message(op)->msg_iovlen = op->addr_len;
	return true;
}

void vector_free(struct op *op)
{
	if (op->vector)
		free(vector_message(op));
	op->vector = NULL;
}
