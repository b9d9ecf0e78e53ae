/* SPDX-License-Identifier: MIT
 *
 * The calls that threads make: which system call an operation is, which memory it works on, and making it. Memory: what may
 * hang works on the call's own copies (data, path, result buffers), so that it can be left behind with them. What a signal
 * certainly ends works on the caller's memory; it cannot be left, and need not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/raw.h"
#include "engine/buffer.h"
#include "engine/offload.h"
#include "engine/op.h"
#include "engine/vector.h"
#include "helper/client.h"
#include "inspect/fd.h"

/* ---- making it */

/* -EAGAIN of connect() is no "not yet": a unix socket's full backlog announces nothing that could be waited for. */
static bool would_wait(const struct offload_call *call, long result)
{
	return call->wait_events && result == (call->nr == SYS_connect ? -EINPROGRESS : -EAGAIN);
}

static long result_of_connect(int fd)
{
	int error = 0;
	socklen_t size = sizeof error;
	long result = RAW_5(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return result < 0 ? result : -error;
}

static long make_once(const struct offload_call *call)
{
	return unstick_syscall(call->nr, call->args[0], call->args[1], call->args[2], call->args[3], call->args[4], call->args[5]);
}

/* An fd with O_NONBLOCK: the operation waits all the same. */
static long wait_and_make(const struct offload_call *call, long result)
{
	struct pollfd fd = {.fd = call->fd, .events = call->wait_events}, second = {.fd = (int)call->args[2], .events = POLLOUT};
	while (would_wait(call, result)) {
		int ready = unstick_poll(&fd, 1, -1);
		if (ready > 0 && call->also_waits_to_write)
			ready = unstick_poll(&second, 1, -1);
		if (ready < 0)
			return ready;
		result = call->nr == SYS_connect ? result_of_connect(call->fd) : make_once(call);
	}
	return result;
}

/* The bytes that are left of a write or writev after `moved` more; it is made ready to go on with them. */
static size_t advance(struct offload_call *call, size_t moved)
{
	if (call->nr == SYS_writev) {
		call->args[2] = iov_skip(call->copy, (unsigned)call->args[2], moved);
		return iov_total(call->copy, (size_t)call->args[2]);
	}
	call->args[1] += (long)moved;
	call->args[2] -= (long)moved;
	return (size_t)call->args[2];
}

/* An fd with O_NONBLOCK takes what fits; the operation goes on, as a write to a blocking one does. */
static long go_on(struct offload_call *call, long result)
{
	long moved = 0;
	bool gives = (call->nr == SYS_write || call->nr == SYS_writev) && call->wait_events;
	while (gives && result > 0 && advance(call, (size_t)result) > 0) {
		moved += result;
		result = wait_and_make(call, -EAGAIN);
	}
	return result >= 0 ? moved + result : moved ? moved : result;
}

/* Without a scope, for which there may be no memory, the call could not be ended: then it is not made. */
long offload_call_make(struct offload_call *call)
{
	struct unstick_scope scope;
	if (!call->ends_by_signal)
		return make_once(call);
	long result = unstick_scope_begin(&scope, call->token, UNSTICK_NEVER);
	if (!result && call->isolated)
		result = helper_call_make(call->isolated);
	else if (!result)
		result = go_on(call, wait_and_make(call, make_once(call)));
	else if (call->isolated && call->is_due)
		result = offload_call_close_here(call);
	int told = unstick_scope_end(&scope);
	(void)told;
	return result;
}

long offload_call_close_here(struct offload_call *call)
{
	if (!call->isolated)
		return offload_call_make(call);
	helper_close_soon(call->fd);
	return 0;
}

void offload_call_copy_back(struct offload_call *call)
{
	if (call->result < 0)
		return;
	if (call->to)
		memcpy(call->to, call->copy, call->to_size ? call->to_size : (size_t)call->result);
	size_t left = (size_t)call->result;
	const char *from = call->copy;
	for (int i = 0; call->to_iov && i < call->to_count && left; i++) {
		size_t part = left < call->to_iov[i].iov_len ? left : call->to_iov[i].iov_len;
		memcpy(call->to_iov[i].iov_base, from, part);
		from += part;
		left -= part;
	}
}

void offload_call_free(struct offload_call *call)
{
	if (!call)
		return;
	unstick_token_unref(call->token);
	unstick_buffer_unref(call->buffer);
	if (call->isolated)
		helper_call_end(call->isolated);
	free(call->isolated);
	free(call->copy);
	free(call->path);
	free(call);
}

void offload_call_discard(struct offload_call *call)
{
	if (call->makes_fd && call->isolated && call->result >= 0)
		helper_close_soon((int)call->result);
	else if (call->makes_fd && call->result >= 0)
		close((int)call->result);
	offload_call_free(call);
}

/* ---- building it */

static void set_call(struct offload_call *call, const char *name, long nr, long a, long b, long c, long d, long e, long f)
{
	const long args[] = {a, b, c, d, e, f};
	call->name = name;
	call->nr = nr;
	memcpy(call->args, args, sizeof args);
}

static bool is_write(const struct op *op)
{
	return op->opcode == UNSTICK_OP_WRITE || op->opcode == UNSTICK_OP_WRITEV || op->opcode == UNSTICK_OP_SEND;
}

static bool is_vector(const struct op *op)
{
	return op->opcode == UNSTICK_OP_READV || op->opcode == UNSTICK_OP_WRITEV;
}

static void gather(char *to, const struct iovec *iov, size_t size)
{
	for (size_t i = 0; size > 0; i++) {
		size_t part = iov[i].iov_len < size ? iov[i].iov_len : size;
		if (part)
			memcpy(to, iov[i].iov_base, part);
		to += part;
		size -= part;
	}
}

/* The memory that the kernel will work on; NULL: none could be had. */
static void *own_memory(struct offload_call *call, const struct op *op, size_t size)
{
	call->copy = malloc(size ? size : 1);
	if (!call->copy)
		return NULL;
	if (is_write(op) && is_vector(op))
		gather(call->copy, op->buf, size);
	else if (is_write(op) && size)
		memcpy(call->copy, op->buf, size);
	else if (is_vector(op))
		call->to_iov = op->buf, call->to_count = (int)op->len;
	else
		call->to = op->buf;
	return call->copy;
}

/* To or from a file that may hang: one call on one piece of memory, with or without iovecs. */
static bool build_file_transfer(struct offload_call *call, const struct op *op, bool is_device)
{
	size_t asked = is_vector(op) ? iov_total(op->buf, op->len) : op->len, size = asked < MOST_BYTES ? asked : MOST_BYTES;
	void *memory = call->buffer ? unstick_buffer_data(call->buffer) : own_memory(call, op, size);
	bool at_offset = op->offset >= 0;
	call->may_be_left = true;
	call->ends_by_signal = is_device; /* perhaps: else it is left, too */
	if (is_write(op))
		set_call(call, "write", at_offset ? SYS_pwrite64 : SYS_write, op->fd, (long)memory, (long)size, op->offset, 0, 0);
	else
		set_call(call, "read", at_offset ? SYS_pread64 : SYS_read, op->fd, (long)memory, (long)size, op->offset, 0, 0);
	return memory;
}

/* To or from what a signal ends the wait for: on the caller's memory. What has no positions says so if it is given one. */
static bool build_transfer(struct offload_call *call, const struct op *op)
{
	bool writes = is_write(op), at_offset = op->way == WAY_THREAD && op->offset >= 0; /* a back end's has none */
	long memory = (long)(call->buffer ? unstick_buffer_data(call->buffer) : op->buf);
	call->wait_events = writes ? POLLOUT : POLLIN;
	call->ends_by_signal = true;
	call->class_ = OFFLOAD_BLOCKING;
	if (is_vector(op)) { /* a copy: it may have to go on in the midst of one */
		call->copy = malloc(op->len * sizeof(struct iovec) + 1);
		if (!call->copy)
			return false;
		memcpy(call->copy, op->buf, op->len * sizeof(struct iovec));
		long nr = at_offset ? (writes ? SYS_pwritev : SYS_preadv) : writes ? SYS_writev : SYS_readv;
		set_call(call, writes ? "writev" : "readv", nr, op->fd, (long)call->copy, (long)op->len, op->offset, 0, 0);
	} else {
		long nr = at_offset ? (writes ? SYS_pwrite64 : SYS_pread64) : writes ? SYS_write : SYS_read;
		set_call(call, writes ? "write" : "read", nr, op->fd, memory, (long)op->len, op->offset, 0, 0);
	}
	return true;
}

static bool may_hang(int fd)
{
	struct fd_info info;
	return fd_look(fd, &info) == 0 && (info.may_hang || info.kind == FD_FILE || info.kind == FD_BLOCK || info.is_device);
}

static bool build_any_transfer(struct offload_call *call, const struct op *op)
{
	struct fd_info info = {.kind = FD_FILE};
	int error = fd_kind(op->fd, &info);
	bool signal_ends_it =
	        !error && info.kind != FD_FILE && info.kind != FD_DIRECTORY && info.kind != FD_BLOCK && !info.is_device;
	return signal_ends_it ? build_transfer(call, op) : build_file_transfer(call, op, info.is_device);
}

static const char *copy_path(struct offload_call *call, const struct op *op)
{
	call->path = strdup(op->addr ? op->addr : "");
	return call->path;
}

static bool build_openat(struct offload_call *call, const struct op *op)
{
	const char *path = copy_path(call, op);
	call->ends_by_signal = true;
	call->class_ = OFFLOAD_BLOCKING; /* a FIFO's may wait for long */
	call->may_be_left = call->makes_fd = true;
	set_call(call, "openat", SYS_openat, op->fd, (long)path, op->op_flags, (long)op->len, 0, 0);
	return path;
}

static bool build_statx(struct offload_call *call, const struct op *op)
{
	const char *path = copy_path(call, op);
	call->copy = malloc(sizeof(struct statx));
	call->to = op->buf;
	call->to_size = sizeof(struct statx);
	call->may_be_left = true;
	set_call(call, "statx", SYS_statx, op->fd, (long)path, op->op_flags, (long)op->len, (long)call->copy, 0);
	return path && call->copy;
}

static bool build_readdir(struct offload_call *call, const struct op *op)
{
	size_t size = op->len < MOST_BYTES ? op->len : MOST_BYTES;
	call->copy = malloc(size + 1);
	call->to = op->buf;
	call->may_be_left = true;
	set_call(call, "readdir", SYS_getdents64, op->fd, (long)call->copy, (long)size, 0, 0, 0);
	return call->copy;
}

static bool build_unlinkat(struct offload_call *call, const struct op *op)
{
	const char *path = copy_path(call, op);
	call->may_be_left = true;
	set_call(call, "unlinkat", SYS_unlinkat, op->fd, (long)path, op->op_flags, 0, 0, 0);
	return path;
}

static bool build_renameat(struct offload_call *call, const struct op *op, const struct unstick_request *request)
{
	const char *path = copy_path(call, op);
	call->copy = strdup(op->buf);
	call->may_be_left = true;
	set_call(call, "renameat2", SYS_renameat2, op->fd, (long)path, request->fd2, (long)call->copy, op->op_flags, 0);
	return path && call->copy;
}

static bool build_splice(struct offload_call *call, const struct op *op, const struct unstick_request *request)
{
	int64_t *offsets = call->copy = malloc(2 * sizeof *offsets);
	if (!offsets)
		return false;
	offsets[0] = op->offset;
	offsets[1] = request->offset2;
	call->ends_by_signal = true;
	call->class_ = OFFLOAD_BLOCKING;
	call->may_be_left = may_hang(op->fd) || may_hang(request->fd2);
	call->wait_events = op->op_flags & SPLICE_F_NONBLOCK ? 0 : POLLIN;
	call->also_waits_to_write = true;
	set_call(call, "splice", SYS_splice, op->fd, op->offset < 0 ? 0 : (long)&offsets[0], request->fd2,
	         request->offset2 < 0 ? 0 : (long)&offsets[1], (long)op->len, op->op_flags);
	return true;
}

static bool build_socket_call(struct offload_call *call, const struct op *op)
{
	bool accepts = op->opcode == UNSTICK_OP_ACCEPT;
	call->ends_by_signal = true;
	call->class_ = OFFLOAD_BLOCKING;
	call->makes_fd = accepts;
	call->wait_events = accepts ? POLLIN : POLLOUT;
	if (accepts)
		set_call(call, "accept4", SYS_accept4, op->fd, 0, 0, op->op_flags, 0, 0);
	else
		set_call(call, "connect", SYS_connect, op->fd, (long)op->addr, op->addr_len, 0, 0, 0);
	return true;
}

/* A message that no readiness announces: a datagram to a receiver whose queue is full. */
static bool build_message(struct offload_call *call, const struct op *op)
{
	bool sends = op->opcode == UNSTICK_OP_SEND || op->opcode == UNSTICK_OP_SENDMSG;
	bool waits = !(op->op_flags & MSG_DONTWAIT);
	long flags = op->op_flags | (sends ? MSG_NOSIGNAL : 0);
	call->ends_by_signal = true;
	call->class_ = OFFLOAD_BLOCKING;
	call->wait_events = !waits ? 0 : sends ? POLLOUT : POLLIN;
	switch (op->opcode) {
	case UNSTICK_OP_RECV:
		set_call(call, "recv", SYS_recvfrom, op->fd, (long)op->buf, (long)op->len, flags, 0, 0);
		break;
	case UNSTICK_OP_SEND:
		set_call(call, "send", SYS_sendto, op->fd, (long)op->buf, (long)op->len, flags, 0, 0);
		break;
	case UNSTICK_OP_RECVMSG:
		set_call(call, "recvmsg", SYS_recvmsg, op->fd, (long)op->buf, flags, 0, 0, 0);
		break;
	default:
		set_call(call, "sendmsg", SYS_sendmsg, op->fd, (long)op->buf, flags, 0, 0, 0);
		break;
	}
	return true;
}

static bool build(struct offload_call *call, const struct op *op, const struct unstick_request *request)
{
	switch (op->opcode) {
	case UNSTICK_OP_OPENAT:
		return build_openat(call, op);
	case UNSTICK_OP_STATX:
		return build_statx(call, op);
	case UNSTICK_OP_READDIR:
		return build_readdir(call, op);
	case UNSTICK_OP_UNLINKAT:
		return build_unlinkat(call, op);
	case UNSTICK_OP_RENAMEAT:
		return build_renameat(call, op, request);
	case UNSTICK_OP_SPLICE:
		return build_splice(call, op, request);
	case UNSTICK_OP_ACCEPT:
	case UNSTICK_OP_CONNECT:
		return build_socket_call(call, op);
	case UNSTICK_OP_RECV:
	case UNSTICK_OP_SEND:
	case UNSTICK_OP_RECVMSG:
	case UNSTICK_OP_SENDMSG:
		return build_message(call, op);
	case UNSTICK_OP_CLOSE:
		call->may_be_left = call->is_due = true;
		set_call(call, "close", SYS_close, op->fd, 0, 0, 0, 0, 0);
		return true;
	case UNSTICK_OP_FSYNC:
		call->may_be_left = true;
		set_call(call, "fsync", op->op_flags ? SYS_fdatasync : SYS_fsync, op->fd, 0, 0, 0, 0, 0);
		return true;
	default:
		return request ? build_any_transfer(call, op) : build_transfer(call, op);
	}
}

struct offload_call *offload_call_blank(struct op *op, const struct unstick_request *request)
{
	struct offload_call *call = calloc(1, sizeof *call);
	if (!call)
		return NULL;
	call->op = op;
	call->fd = op->fd;
	if (request && (request->flags & UNSTICK_BUFFER))
		call->buffer = buffer_ref(op->buf);
	return call;
}

struct offload_call *offload_call_new(struct op *op, const struct unstick_request *request)
{
	struct offload_call *call = offload_call_blank(op, request);
	if (!call)
		return NULL;
	if (build(call, op, request) && (!call->ends_by_signal || unstick_token_new(&call->token, NULL) == 0))
		return call;
	offload_call_free(call);
	return NULL;
}
