/* SPDX-License-Identifier: MIT
 *
 * Checks a request, and decides how its operation is carried out. Sockets' operations are the back end's by their opcode. A read or write needs to
 * know what its fd is: the caller's hint, or one statx(), which does not wait for a file system (facts: fstat does). Nothing is kept by fd
 * number: it may be another file the next time.
 */
#include "engine/request.h"

#include <errno.h>

#include "engine/buffer.h"
#include "engine/offload.h"
#include "engine/vector.h"
#include "inspect/fd.h"

enum { ALL_FLAGS = UNSTICK_NETWORK | UNSTICK_FILE | UNSTICK_ISOLATE | UNSTICK_BUFFER, MOST_IOVECS = 1024 };

static bool is_vector(const struct unstick_request *request)
{
	return request->opcode == UNSTICK_OP_READV || request->opcode == UNSTICK_OP_WRITEV;
}

static bool is_transfer(const struct unstick_request *request)
{
	return is_vector(request) || request->opcode == UNSTICK_OP_READ || request->opcode == UNSTICK_OP_WRITE;
}

static bool fits_buffer(const struct unstick_request *request)
{
	return is_transfer(request) && !is_vector(request) && request->buf && request->len <= buffer_size(request->buf);
}

int request_check(const struct unstick_request *request, bool has_handle)
{
	const unsigned hints = UNSTICK_NETWORK | UNSTICK_FILE;
	if (request->size != sizeof *request || request->opcode < UNSTICK_OP_NOP || request->opcode > UNSTICK_OP_TIMEOUT)
		return -EINVAL;
	if ((request->flags & ~(unsigned)ALL_FLAGS) || (request->flags & hints) == hints || (!has_handle && !request->done))
		return -EINVAL;
	if (is_vector(request) && request->len > MOST_IOVECS)
		return -EINVAL;
	if ((request->flags & UNSTICK_BUFFER) && !fits_buffer(request))
		return -EINVAL;
	return request->flags & UNSTICK_ISOLATE ? -EOPNOTSUPP : 0;
}

/* An error or a result that needs no call. */
static int answer(struct op *op, long result)
{
	op->way = WAY_NONE;
	op->result = result;
	return 0;
}

static void fill_cold(struct op *op, const struct unstick_request *request)
{
	op->offset = request->offset;
	op->addr = request->addr;
	op->addr_len = request->addr_len;
}

static int give_to_thread(struct op *op, const struct unstick_request *request, struct offload *offload)
{
	if (request->opcode != UNSTICK_OP_CLOSE && !offload_accepts(offload))
		return -EAGAIN;
	op->way = WAY_THREAD;
	fill_cold(op, request);
	op->call = offload_call_new(op, request);
	return op->call ? 0 : -ENOMEM;
}

static int route_transfer(struct op *op, const struct unstick_request *request, struct offload *offload)
{
	struct fd_info info = {.kind = request->flags & UNSTICK_FILE ? FD_FILE : FD_SOCKET};
	int error = request->flags & (UNSTICK_FILE | UNSTICK_NETWORK) ? 0 : fd_kind(request->fd, &info);
	if (error)
		return answer(op, error);
	bool waits_in_ring = info.kind == FD_SOCKET || info.kind == FD_PIPE || info.kind == FD_OTHER;
	if (!waits_in_ring || (request->flags & UNSTICK_BUFFER))
		return give_to_thread(op, request, offload);
	return request->offset >= 0 ? answer(op, -ESPIPE) : 0; /* as pread(2) and pwrite(2); a ring would ignore it */
}

static int route(struct op *op, const struct unstick_request *request, struct offload *offload)
{
	op->way = WAY_NETWORK;
	switch (request->opcode) {
	case UNSTICK_OP_READ:
	case UNSTICK_OP_WRITE:
	case UNSTICK_OP_READV:
	case UNSTICK_OP_WRITEV:
		return route_transfer(op, request, offload);
	case UNSTICK_OP_OPENAT:
	case UNSTICK_OP_CLOSE:
	case UNSTICK_OP_FSYNC:
	case UNSTICK_OP_STATX:
	case UNSTICK_OP_SPLICE:
		return give_to_thread(op, request, offload);
	case UNSTICK_OP_TIMEOUT:
		op->way = WAY_WHEEL;
		fill_cold(op, request);
		return 0;
	case UNSTICK_OP_CONNECT:
		fill_cold(op, request);
		return 0;
	default:
		return 0;
	}
}

int request_fill(struct op *op, const struct unstick_request *request, struct offload *offload)
{
	op->opcode = (uint8_t)request->opcode;
	op->fd = request->fd;
	op->op_flags = request->op_flags;
	op->buf = request->buf;
	op->len = request->len;
	op->done = request->done;
	op->arg = request->arg;
	op->deadline = request->deadline ? request->deadline : UNSTICK_NEVER;
	return route(op, request, offload);
}
