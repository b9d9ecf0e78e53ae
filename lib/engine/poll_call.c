/* SPDX-License-Identifier: MIT
 *
 * All sockets are served by recvmsg and sendmsg with MSG_DONTWAIT, so that read and write on one need no second way and raise no
 * SIGPIPE. All else is served by preadv2 and pwritev2 with RWF_NOWAIT, which refuse what they cannot do without waiting; on a pipe
 * without a reader they do raise SIGPIPE, which is blocked on a worker.
 */
#include "engine/poll_call.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/raw.h"
#include "engine/vector.h"

static bool is_read_or_write(const struct op *op)
{
	return op->opcode == UNSTICK_OP_READ || op->opcode == UNSTICK_OP_WRITE || op->opcode == UNSTICK_OP_READV ||
	       op->opcode == UNSTICK_OP_WRITEV;
}

static bool gives(const struct op *op)
{
	return op->opcode == UNSTICK_OP_WRITE || op->opcode == UNSTICK_OP_WRITEV || op->opcode == UNSTICK_OP_SEND ||
	       op->opcode == UNSTICK_OP_SENDMSG;
}

static bool has_message(const struct op *op)
{
	return op->opcode == UNSTICK_OP_RECVMSG || op->opcode == UNSTICK_OP_SENDMSG;
}

static bool has_iovecs(const struct op *op)
{
	return has_message(op) || op->opcode == UNSTICK_OP_READV || op->opcode == UNSTICK_OP_WRITEV;
}

static int flags_of(const struct op *op)
{
	return is_read_or_write(op) ? 0 : op->op_flags;
}

static size_t left(const struct op *op)
{
	return has_iovecs(op) ? vector_left(op) : op->len - op->moved;
}

/* Does it wait until all has come, if it is on a stream? */
static bool gathers(const struct op *op)
{
	bool receives = op->opcode == UNSTICK_OP_RECV || op->opcode == UNSTICK_OP_RECVMSG;
	return receives && (op->op_flags & (MSG_WAITALL | MSG_DONTWAIT | MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)) == MSG_WAITALL;
}

bool poll_call_can_pass(const struct op *op)
{
	return op->opcode != UNSTICK_OP_POLL && !op->moved;
}

bool poll_call_waits(const struct op *op)
{
	return !(flags_of(op) & MSG_DONTWAIT);
}

bool poll_call_needs_thread(const struct op *op)
{
	/* To a socket neither read() nor writev() of nothing is what recvmsg() and sendmsg() make of it. */
	return is_read_or_write(op) && !left(op);
}

unsigned poll_call_events(const struct op *op)
{
	if (gives(op))
		return POLLOUT;
	if (flags_of(op) & MSG_ERRQUEUE)
		return POLLERR; /* not POLLIN: data that nobody has read are no error to report */
	return flags_of(op) & MSG_OOB ? POLLIN | POLLPRI : POLLIN;
}

/* ---- tries */

/* The hint was wrong; RWF_NOWAIT would move what is in the cache and no more. Read of nothing, at a position: streams refuse that,
 * files take no lock for it and ask nobody. */
static bool is_file(const struct op *op, int fd)
{
	return RAW_5(gives(op) ? SYS_pwritev : SYS_preadv, fd, NULL, 0, 0, 0) != -ESPIPE;
}

static long try_stream(const struct op *op, int fd, const struct msghdr *message)
{
	if (!op->moved && !op->poll_fd && is_file(op, fd))
		return POLL_CALL_NEEDS_THREAD;
	long nr = gives(op) ? SYS_pwritev2 : SYS_preadv2;
	long result = RAW_6(nr, fd, message->msg_iov, message->msg_iovlen, -1, -1, RWF_NOWAIT);
	bool cannot = result == -EOPNOTSUPP || result == -EINVAL || result == -ENOSYS;
	return cannot && !op->moved ? POLL_CALL_NEEDS_THREAD : result;
}

static long try_message(const struct op *op, int fd, struct msghdr *message)
{
	if (gives(op))
		return RAW_3(SYS_sendmsg, fd, message, flags_of(op) | MSG_DONTWAIT | MSG_NOSIGNAL);
	return RAW_3(SYS_recvmsg, fd, message, flags_of(op) | MSG_DONTWAIT);
}

static long try_bytes(const struct op *op, int fd)
{
	struct iovec all = {0};
	struct msghdr message = {.msg_iov = &all, .msg_iovlen = 1};
	if (has_iovecs(op)) {
		unsigned count;
		message.msg_iov = (struct iovec *)(uintptr_t)vector_iov(op, &count);
		message.msg_iovlen = count;
	} else {
		all = (struct iovec){(char *)op->buf + op->moved, op->len - op->moved};
	}
	long result = try_message(op, fd, &message);
	return result == -ENOTSOCK && is_read_or_write(op) ? try_stream(op, fd, &message) : result;
}

/* A recvmsg that gathers works on a copy of the header from the beginning: the copy says what room for ancillary data is left, the
 * caller's header what has come. */
static bool begin_gathering(struct op *op)
{
	const struct msghdr *to = op->buf;
	if (!vector_advance(op, 0))
		return false;
	struct msghdr *from = vector_message(op);
	from->msg_control = to->msg_control;
	from->msg_controllen = to->msg_controllen;
	return true;
}

static void report_part(struct op *op, const struct msghdr *got)
{
	struct msghdr *to = op->buf, *rest = vector_message(op);
	bool first = !op->moved;
	to->msg_namelen = first ? got->msg_namelen : to->msg_namelen;
	to->msg_flags = first ? got->msg_flags : to->msg_flags | got->msg_flags;
	to->msg_controllen = first ? got->msg_controllen : to->msg_controllen + got->msg_controllen;
	rest->msg_name = NULL;
	rest->msg_namelen = 0;
	rest->msg_control = (char *)rest->msg_control + got->msg_controllen;
	rest->msg_controllen -= got->msg_controllen;
}

static long receive_part(struct op *op, int fd)
{
	if (!op->vector && !begin_gathering(op))
		return -ENOMEM;
	struct msghdr message = *vector_message(op);
	long result = try_message(op, fd, &message);
	if (result >= 0)
		report_part(op, &message);
	return result;
}

long poll_call_try(struct op *op, int fd)
{
	long result;
	do
		if (!has_message(op))
			result = try_bytes(op, fd);
		else if (gathers(op))
			result = receive_part(op, fd);
		else
			result = try_message(op, fd, vector_message(op));
	while (result == -EINTR); /* all signals are blocked: a tracer's or a freezer's doing */
	return result;
}

/* ---- going on */

static bool is_stream_socket(int fd)
{
	int type;
	socklen_t size = sizeof type;
	return RAW_5(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/* The kernel ends a recvmsg behind the bytes that fds came with, MSG_WAITALL or not. */
static bool has_fds(const struct op *op)
{
	struct msghdr *message = op->opcode == UNSTICK_OP_RECVMSG ? op->buf : NULL;
	if (!message)
		return false;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
		if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
			return true;
	return false;
}

bool poll_call_goes_on(struct op *op, int fd, long result)
{
	bool is_part = result > 0 && poll_call_waits(op) && (size_t)result < left(op);
	if (!is_part || !(gives(op) || (gathers(op) && is_stream_socket(fd) && !has_fds(op))))
		return false;
	if (has_iovecs(op))
		return vector_advance(op, (size_t)result); /* no memory: it ends with this part */
	op->moved += (size_t)result;
	return true;
}
