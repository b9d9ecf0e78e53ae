/* SPDX-License-Identifier: MIT
 *
 * What a helper makes is one more call of an offload thread: in a scope, so that it comes out at its cut, for it waits on a socket.
 * A transfer works on the caller's memory: it is touched only between the replies, by that thread, and the operation does not end
 * before the thread has come out. What has a path works on copies and can be left, because it may have to start another helper, and
 * nothing ends the wait for a program whose own file hangs.
 */
#include "engine/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/raw.h"
#include "engine/buffer.h"
#include "engine/offload.h"
#include "engine/vector.h"
#include "helper/client.h"
#include "inspect/mounts.h"

static const uint8_t opcodes[] = {
        [UNSTICK_OP_OPENAT] = HELPER_OPEN,     [UNSTICK_OP_CLOSE] = HELPER_CLOSE,     [UNSTICK_OP_READ] = HELPER_READ,
        [UNSTICK_OP_READV] = HELPER_READ,      [UNSTICK_OP_WRITE] = HELPER_WRITE,     [UNSTICK_OP_WRITEV] = HELPER_WRITE,
        [UNSTICK_OP_FSYNC] = HELPER_FSYNC,     [UNSTICK_OP_STATX] = HELPER_STATX,     [UNSTICK_OP_READDIR] = HELPER_READDIR,
        [UNSTICK_OP_UNLINKAT] = HELPER_UNLINK, [UNSTICK_OP_RENAMEAT] = HELPER_RENAME,
};

bool isolate_can(unsigned opcode)
{
	return opcode < sizeof opcodes && opcodes[opcode];
}

bool request_has_path(const struct unstick_request *request)
{
	return request->opcode == UNSTICK_OP_OPENAT || request->opcode == UNSTICK_OP_STATX ||
	       request->opcode == UNSTICK_OP_UNLINKAT || request->opcode == UNSTICK_OP_RENAMEAT;
}

bool isolate_has_handle(const struct unstick_request *request)
{
	bool has_fd = request->opcode != UNSTICK_OP_NOP && request->opcode != UNSTICK_OP_TIMEOUT;
	bool has_second = request->opcode == UNSTICK_OP_SPLICE || request->opcode == UNSTICK_OP_RENAMEAT;
	return (has_fd && helper_is_handle(request->fd)) || (has_second && helper_is_handle(request->fd2));
}

/* ---- by the mount that a path lies on */

enum { PATH_SIZE = 2 * HELPER_PATH };

/* Where the relative paths of an fd begin. False: nobody knows. */
static bool path_of_fd(int fd, char *buf, size_t size)
{
	char link[48] = "/proc/thread-self/cwd";
	if (fd != AT_FDCWD)
		snprintf(link, sizeof link, "/proc/thread-self/fd/%d", fd);
	long n = RAW_4(SYS_readlinkat, AT_FDCWD, link, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0 && buf[0] == '/';
}

/* Appends the parts of a path: "." and empty ones are nothing, ".." takes one off. */
static bool append_parts(char *buf, size_t size, const char *path)
{
	size_t length = strlen(buf);
	while (*(path += strspn(path, "/"))) {
		size_t part = strcspn(path, "/");
		bool up = part == 2 && path[0] == '.' && path[1] == '.', stay = part == 1 && path[0] == '.';
		if (up && strrchr(buf, '/'))
			length = (size_t)(strrchr(buf, '/') - buf);
		else if (!up && !stay && length + part + 2 > size)
			return false;
		else if (!up && !stay)
			length += (size_t)snprintf(buf + length, size - length, "/%.*s", (int)part, path);
		buf[length] = '\0';
		path += part;
	}
	return true;
}

static bool path_may_hang(int fd, const char *path)
{
	char base[HELPER_PATH], whole[PATH_SIZE] = "";
	bool relative = path[0] != '/';
	if (relative && (!path_of_fd(fd, base, sizeof base) || !append_parts(whole, sizeof whole, base)))
		return false;
	return append_parts(whole, sizeof whole, path) && mount_of_path_may_hang(whole[0] ? whole : "/");
}

bool isolate_wants(const struct unstick_request *request, bool by_path)
{
	if ((request->flags & UNSTICK_ISOLATE) || isolate_has_handle(request))
		return true;
	if (!by_path || !request_has_path(request))
		return false;
	return path_may_hang(request->fd, request->addr) ||
	       (request->opcode == UNSTICK_OP_RENAMEAT && path_may_hang(request->fd2, request->buf));
}

/* ---- the call */

static bool fill_paths(struct offload_call *call, const struct unstick_request *request)
{
	struct helper_call *isolated = call->isolated;
	call->may_be_left = true;
	call->path = strdup(request->addr);
	isolated->path[0] = call->path;
	isolated->fd[1] = request->fd2;
	if (request->opcode == UNSTICK_OP_RENAMEAT)
		isolated->path[1] = call->copy = strdup(request->buf);
	if (request->opcode == UNSTICK_OP_STATX) {
		call->copy = malloc(sizeof(struct statx));
		call->to = request->buf;
		call->to_size = sizeof(struct statx);
		isolated->one = (struct iovec){.iov_base = call->copy, .iov_len = sizeof(struct statx)};
		isolated->iov = &isolated->one;
	}
	bool has_copy = request->opcode == UNSTICK_OP_RENAMEAT || request->opcode == UNSTICK_OP_STATX;
	return call->path && (call->copy || !has_copy);
}

static void fill_memory(struct offload_call *call, const struct unstick_request *request)
{
	struct helper_call *isolated = call->isolated;
	bool is_vector = request->opcode == UNSTICK_OP_READV || request->opcode == UNSTICK_OP_WRITEV;
	size_t length = is_vector ? iov_total(request->buf, request->len) : request->len;
	isolated->length = length < MOST_BYTES ? length : MOST_BYTES;
	isolated->one = (struct iovec){.iov_base = call->buffer ? unstick_buffer_data(call->buffer) : request->buf,
	                               .iov_len = request->len};
	isolated->iov = is_vector ? request->buf : &isolated->one;
	isolated->offset = request->opcode == UNSTICK_OP_READDIR ? -1 : request->offset;
}

static bool fill(struct offload_call *call, const struct unstick_request *request)
{
	struct helper_call *isolated = call->isolated = calloc(1, sizeof *isolated);
	if (!isolated)
		return false;
	call->name = "isolated call";
	call->class_ = OFFLOAD_BLOCKING;
	call->ends_by_signal = true;
	call->makes_fd = request->opcode == UNSTICK_OP_OPENAT;
	isolated->opcode = opcodes[request->opcode];
	isolated->fd[0] = request->fd;
	isolated->fd[1] = -1;
	isolated->offset = -1;
	isolated->flags = (uint32_t)request->op_flags;
	if (request_has_path(request)) {
		isolated->mode = (uint32_t)request->len;
		return fill_paths(call, request);
	}
	if (request->opcode == UNSTICK_OP_CLOSE)
		call->may_be_left = call->is_due = true;
	else if (request->opcode != UNSTICK_OP_FSYNC)
		fill_memory(call, request);
	return true;
}

int isolate_call_new(struct op *op, const struct unstick_request *request, struct offload_call **ret)
{
	struct offload_call *call = offload_call_blank(op, request);
	int error = call && fill(call, request) && unstick_token_new(&call->token, NULL) == 0 ? 0 : -ENOMEM;
	if (!error)
		error = helper_call_begin(call->isolated);
	if (error) {
		offload_call_free(call);
		return error;
	}
	*ret = call;
	return 0;
}
