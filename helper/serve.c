/* SPDX-License-Identifier: MIT
 *
 * A valid request is one system call (a read that fills the window: one more, which does not wait). No memory is allocated, and
 * no file of the helper's own can be named: files are named by slots, and by fds that came with the message.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>

#include "base/raw.h"

void files_start(struct files *files)
{
	for (unsigned i = 0; i < HELPER_SLOTS; i++)
		atomic_store_explicit(&files->fd[i], -1, memory_order_relaxed);
}

/* The fd that at[which] names: -1, an fd that no call takes, for an empty slot. */
static int find_fd(struct files *files, const struct helper_request *request, unsigned which, const int passed[2])
{
	int32_t at = request->at[which];
	if (at >= 0)
		return atomic_load(&files->fd[at]);
	if (at == HELPER_PASSED)
		return passed[which == 1 && request->at[0] == HELPER_PASSED];
	return which == 0 && request->path_size[0] == 0 ? -1 : AT_FDCWD; /* the path is absolute */
}

/* O_NOCTTY: a terminal would become the helper's. */
static long serve_open(struct files *files, const struct helper_request *request, int dir, const char *path)
{
	int none = -1;
	long fd = RAW_4(SYS_openat, dir, path, request->flags | O_CLOEXEC | O_NOCTTY, request->mode);
	if (fd < 0)
		return fd;
	if (atomic_compare_exchange_strong(&files->fd[request->slot], &none, (int)fd))
		return 0;
	RAW_1(SYS_close, fd);
	return -EBUSY;
}

static long serve_close(struct files *files, const struct helper_request *request)
{
	int fd = atomic_exchange(&files->fd[request->slot], -1);
	return fd < 0 ? -EBADF : RAW_1(SYS_close, fd);
}

static bool is_plain_file(int fd)
{
	struct statx status;
	long error = RAW_5(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &status);
	return !error && (S_ISREG(status.stx_mode) || S_ISBLK(status.stx_mode));
}

static long serve_read(const struct helper_request *request, int fd, void *window, struct helper_reply *reply)
{
	long n = request->offset >= 0 ? RAW_4(SYS_pread64, fd, window, request->length, request->offset)
	                              : RAW_3(SYS_read, fd, window, request->length);
	if (n == HELPER_WINDOW && is_plain_file(fd))
		reply->flags = HELPER_GOES_ON;
	return n;
}

static long serve_write(const struct helper_request *request, int fd, const void *window)
{
	return request->offset >= 0 ? RAW_4(SYS_pwrite64, fd, window, request->length, request->offset)
	                            : RAW_3(SYS_write, fd, window, request->length);
}

void serve(struct files *files, const struct helper_message *message, const int passed[2], void *window, struct helper_reply *reply)
{
	const struct helper_request *request = &message->request;
	const char *path = helper_request_path(message, 0);
	int fd = find_fd(files, request, 0, passed);
	*reply = (struct helper_reply){.version = HELPER_VERSION, .id = request->id, .result = -ENOSYS};
	switch (request->opcode) {
	case HELPER_OPEN:
		reply->result = serve_open(files, request, fd, path);
		break;
	case HELPER_CLOSE:
		reply->result = serve_close(files, request);
		break;
	case HELPER_READ:
		reply->result = serve_read(request, fd, window, reply);
		break;
	case HELPER_WRITE:
		reply->result = serve_write(request, fd, window);
		break;
	case HELPER_FSYNC:
		reply->result = RAW_1(request->flags ? SYS_fdatasync : SYS_fsync, fd);
		break;
	case HELPER_STATX:
		reply->result = RAW_5(SYS_statx, fd, path, request->flags, request->mode, window);
		break;
	case HELPER_READDIR:
		reply->result = RAW_3(SYS_getdents64, fd, window, request->length);
		break;
	case HELPER_UNLINK:
		reply->result = RAW_3(SYS_unlinkat, fd, path, request->flags);
		break;
	case HELPER_RENAME:
		reply->result = RAW_5(SYS_renameat2, fd, path, find_fd(files, request, 1, passed), helper_request_path(message, 1),
		                      request->flags);
		break;
	default:
		break;
	}
}
