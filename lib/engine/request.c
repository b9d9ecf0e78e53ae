/* SPDX-License-Identifier: MIT
 *
 * Checks a request, says in the log why it is refused, and decides how its operation is carried out. Sockets' operations are
 * the back end's by their opcode. A read or write needs to know what its fd is: the caller's hint, or one statx(), which does
 * not wait for a file system (facts: fstat does). Nothing is kept by fd number: it may be another file the next time. What
 * goes to a helper process is isolate.c's to say.
 */
#include "engine/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "engine/buffer.h"
#include "engine/isolate.h"
#include "engine/offload.h"
#include "engine/vector.h"
#include "inspect/fd.h"

enum { ALL_FLAGS = UNSTICK_NETWORK | UNSTICK_FILE | UNSTICK_ISOLATE | UNSTICK_BUFFER, MOST_IOVECS = 1024 };

/* ---- refusing */

static const char *const names[] = {
        [UNSTICK_OP_NOP] = "nop",         [UNSTICK_OP_READ] = "read",         [UNSTICK_OP_WRITE] = "write",
        [UNSTICK_OP_READV] = "readv",     [UNSTICK_OP_WRITEV] = "writev",     [UNSTICK_OP_RECV] = "recv",
        [UNSTICK_OP_SEND] = "send",       [UNSTICK_OP_RECVMSG] = "recvmsg",   [UNSTICK_OP_SENDMSG] = "sendmsg",
        [UNSTICK_OP_ACCEPT] = "accept",   [UNSTICK_OP_CONNECT] = "connect",   [UNSTICK_OP_POLL] = "poll",
        [UNSTICK_OP_OPENAT] = "openat",   [UNSTICK_OP_CLOSE] = "close",       [UNSTICK_OP_FSYNC] = "fsync",
        [UNSTICK_OP_STATX] = "statx",     [UNSTICK_OP_SPLICE] = "splice",     [UNSTICK_OP_TIMEOUT] = "timeout",
        [UNSTICK_OP_READDIR] = "readdir", [UNSTICK_OP_UNLINKAT] = "unlinkat", [UNSTICK_OP_RENAMEAT] = "renameat",
};

/* "recv on fd 5"; its opcode is known. */
static void describe(const struct unstick_request *request, char *ret, size_t size)
{
	bool has_fd = request->opcode != UNSTICK_OP_NOP && request->opcode != UNSTICK_OP_TIMEOUT && request->fd != AT_FDCWD;
	if (has_fd)
		snprintf(ret, size, "%s on fd %d", names[request->opcode], request->fd);
	else
		snprintf(ret, size, "%s", names[request->opcode]);
}

/* Tells the application's log why, and what to do. Returns `error`. */
__attribute__((format(printf, 3, 4))) static int refuse(const struct unstick_request *request, int error, const char *why, ...)
{
	char what[40], text[200];
	va_list list;
	describe(request, what, sizeof what);
	va_start(list, why);
	vsnprintf(text, sizeof text, why, list);
	va_end(list);
	log_line("unstick: submit: %s: %s", what, text);
	return error;
}

/* ---- checking */

static bool is_vector(const struct unstick_request *request)
{
	return request->opcode == UNSTICK_OP_READV || request->opcode == UNSTICK_OP_WRITEV;
}

static bool is_transfer(const struct unstick_request *request)
{
	return is_vector(request) || request->opcode == UNSTICK_OP_READ || request->opcode == UNSTICK_OP_WRITE;
}

static int check_kind(const struct unstick_request *request)
{
	bool has_size = request->size == sizeof *request; /* if not, nothing else of it can be trusted */
	if (has_size && request->opcode >= UNSTICK_OP_NOP && request->opcode <= UNSTICK_OP_RENAMEAT)
		return 0;
	if (has_size)
		log_line("unstick: submit: opcode %u is not known to this version of the library: take one of enum unstick_opcode",
		         request->opcode);
	else
		log_line("unstick: submit: size %zu is not that of struct unstick_request: make it with UNSTICK_READ() or its like",
		         request->size);
	return -EINVAL;
}

static int check_flags(const struct unstick_request *request)
{
	const unsigned hints = UNSTICK_NETWORK | UNSTICK_FILE, unknown = request->flags & ~(unsigned)ALL_FLAGS;
	if (unknown)
		return refuse(request, -EINVAL, "flag 0x%x is not known to this version of the library: leave it out", unknown);
	if ((request->flags & hints) == hints)
		return refuse(request, -EINVAL, "UNSTICK_NETWORK and UNSTICK_FILE: an fd is one of them: give one, or neither");
	return 0;
}

static int check_buffer(const struct unstick_request *request)
{
	if (!is_transfer(request) || is_vector(request))
		return refuse(request, -EINVAL, "UNSTICK_BUFFER: only read and write take a buffer: leave the flag out");
	if (!request->buf)
		return refuse(request, -EINVAL, "UNSTICK_BUFFER: buf is NULL: give what unstick_buffer_new() made");
	if (!buffer_is_one(request->buf))
		return refuse(request, -EINVAL,
		              "UNSTICK_BUFFER: buf is no buffer: give what unstick_buffer_new() made, not its data");
	if (request->len <= buffer_size(request->buf))
		return 0;
	return refuse(request, -EINVAL, "UNSTICK_BUFFER: %zu bytes, and the buffer has %zu: make a larger one, or ask for less",
	              request->len, buffer_size(request->buf));
}

static bool needs_memory(const struct unstick_request *request)
{
	bool moves = request->opcode >= UNSTICK_OP_READ && request->opcode <= UNSTICK_OP_SENDMSG;
	return request->opcode == UNSTICK_OP_STATX || ((moves || request->opcode == UNSTICK_OP_READDIR) && request->len > 0);
}

static bool needs_address(const struct unstick_request *request)
{
	return request->opcode == UNSTICK_OP_CONNECT || request_has_path(request);
}

static bool is_too_long(const struct iovec *iov, size_t count)
{
	size_t total = 0;
	for (size_t i = 0; i < count; i++)
		if (__builtin_add_overflow(total, iov[i].iov_len, &total) || total > SSIZE_MAX)
			return true;
	return false;
}

/* A ring takes any negative one for the file's own position. */
static int check_offset(const struct unstick_request *request)
{
	bool has_offset = is_transfer(request) || request->opcode == UNSTICK_OP_SPLICE;
	if (has_offset && request->offset < -1)
		return refuse(request, -EINVAL, "offset %lld is negative: give one from 0, or -1 for the file's own position",
		              (long long)request->offset);
	if (request->opcode == UNSTICK_OP_SPLICE && request->offset2 < -1)
		return refuse(request, -EINVAL, "offset2 %lld is negative: give one from 0, or -1 for the file's own position",
		              (long long)request->offset2);
	return 0;
}

static int check_memory(const struct unstick_request *request)
{
	if (is_vector(request) && request->len > MOST_IOVECS)
		return refuse(request, -EINVAL, "%zu iovecs: %d is the most: make several requests of it", request->len,
		              MOST_IOVECS);
	if (request->len > SSIZE_MAX)
		return refuse(request, -EINVAL,
		              "length %zu is more than a result can tell: is it a negative number, from a call that failed?",
		              request->len);
	if (request->opcode == UNSTICK_OP_RENAMEAT && !request->buf)
		return refuse(request, -EINVAL, "buf is NULL: give the new path");
	if (needs_memory(request) && !request->buf)
		return refuse(request, -EINVAL, "buf is NULL: give the memory that it is to work on");
	if (needs_address(request) && !request->addr)
		return refuse(request, -EINVAL, "addr is NULL: give the path, or the address");
	if (is_vector(request) && is_too_long(request->buf, request->len))
		return refuse(request, -EINVAL,
		              "its iovecs come to more bytes than a result can tell: make several requests of it");
	return 0;
}

static int check_isolation(const struct unstick_request *request)
{
	bool named = isolate_has_handle(request);
	if (!named && !(request->flags & UNSTICK_ISOLATE))
		return 0;
	if (!isolate_can(request->opcode))
		return refuse(request, -EOPNOTSUPP,
		              named ? "the handle is a helper's, which does file operations only: open an fd for this"
		                    : "UNSTICK_ISOLATE: a helper does file operations only: leave the flag out");
	if (request->opcode == UNSTICK_OP_CLOSE && !named)
		return refuse(request, -EINVAL, "UNSTICK_ISOLATE: the fd is this process's, and closed here: leave the flag out");
	return 0;
}

int request_check_all(const struct unstick_request *request)
{
	int error = check_kind(request);
	if (!error)
		error = check_flags(request);
	if (!error && (request->flags & UNSTICK_BUFFER))
		error = check_buffer(request);
	if (!error)
		error = check_isolation(request);
	if (!error)
		error = check_offset(request);
	return error ? error : check_memory(request);
}

int request_refuse_unheard(const struct unstick_request *request)
{
	return refuse(request, -EINVAL, "neither handle nor callback: nobody would learn its result: give ret, or set done");
}

/* ---- choosing */

/* An error or a result that needs no call. */
static int answer(struct op *op, long result)
{
	op->way = WAY_NONE;
	op->result = result;
	return 0;
}

static void fill_cold(struct op *op, const struct unstick_request *request)
{
	op->has_more = true;
	op->offset = request->offset;
	op->addr = request->addr;
	op->addr_len = request->addr_len;
}

static int give_to_thread(struct op *op, const struct unstick_request *request, struct offload *offload)
{
	if (request->opcode != UNSTICK_OP_CLOSE && !offload_accepts(offload))
		return -EBUSY;
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
	case UNSTICK_OP_READDIR:
	case UNSTICK_OP_UNLINKAT:
	case UNSTICK_OP_RENAMEAT:
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

static int give_to_helper(struct op *op, const struct unstick_request *request)
{
	op->way = WAY_THREAD;
	fill_cold(op, request);
	return isolate_call_new(op, request, &op->call);
}

int request_fill(struct op *op, const struct unstick_request *request, struct unstick_engine *engine)
{
	op->opcode = (uint8_t)request->opcode;
	op->fd = request->fd;
	op->op_flags = request->op_flags;
	op->buf = request->buf;
	op->len = request->len;
	op->done = request->done;
	op->arg = request->arg;
	op->deadline = request->deadline ? request->deadline : UNSTICK_NEVER;
	if (!request_is_simple(request) && isolate_wants(request, engine->isolates))
		return give_to_helper(op, request);
	return route(op, request, engine->offload);
}
