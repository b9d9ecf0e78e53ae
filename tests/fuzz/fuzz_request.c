/* SPDX-License-Identifier: MIT
 *
 * Fuzzes the helper's end of its protocol: what an application may send. The input is messages in a row: one byte with the number of fds
 * that come with it, two with its size, then as many bytes. What is found valid is served, on system calls that are not made but
 * checked: each must be one of the few that a helper makes, on files that it has been given or has opened, on paths that end inside
 * the message, on memory inside the window. So a valid request can do nothing else, whatever is in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/raw.h"
#include "fuzz.h"
#include "helper/serve.h"

enum { FIRST_PASSED = 1000, FIRST_OPENED = 2000, MOST_OPENED = 256 };

static struct files files;
static struct helper_message message;
static unsigned char window[HELPER_WINDOW];
static bool opened[MOST_OPENED];
static unsigned calls, passed_now;

#define MUST(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))

/* ---- the calls that are not made */

static bool is_own(int fd)
{
	return fd >= FIRST_OPENED && fd < FIRST_OPENED + MOST_OPENED && opened[fd - FIRST_OPENED];
}

/* -1 is an empty slot: the kernel says EBADF. */
static void check_fd(int fd)
{
	MUST(fd == -1 || is_own(fd) || (fd >= FIRST_PASSED && fd < FIRST_PASSED + (int)passed_now));
}

static void check_path(int dir, const char *path)
{
	const char *begin = message.paths, *end = begin + message.request.path_size[0] + message.request.path_size[1];
	MUST(path >= begin && path < end && memchr(path, '\0', (size_t)(end - path)));
	if (dir == AT_FDCWD)
		MUST(path[0] == '/');
	else
		check_fd(dir);
}

static void check_memory(const void *memory, long size)
{
	MUST(memory == window && size >= 0 && size <= HELPER_WINDOW);
}

static long open_one(long flags)
{
	MUST((flags & O_CLOEXEC) && (flags & O_NOCTTY));
	for (int i = 0; i < MOST_OPENED; i++)
		if (!opened[i] && i % 7 != 6) {
			opened[i] = true;
			return FIRST_OPENED + i;
		}
	return -EMFILE;
}

static long close_one(int fd)
{
	MUST(is_own(fd));
	opened[fd - FIRST_OPENED] = false;
	return 0;
}

static long stat_one(int fd, const char *path, long flags, struct statx *status)
{
	if ((void *)status == window) {
		check_path(fd, path);
		return 0;
	}
	MUST(path[0] == '\0' && flags == (AT_EMPTY_PATH | AT_STATX_DONT_SYNC)); /* what kind of file it is */
	check_fd(fd);
	status->stx_mode = fd % 2 ? S_IFREG : S_IFIFO;
	return 0;
}

long raw_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	int fd = (int)a;
	(void)f;
	calls++;
	switch (nr) {
	case SYS_openat:
		check_path(fd, (const char *)b);
		return open_one(c);
	case SYS_close:
		return close_one(fd);
	case SYS_read:
	case SYS_pread64:
	case SYS_write:
	case SYS_pwrite64:
	case SYS_getdents64:
		check_fd(fd);
		check_memory((const void *)b, c);
		MUST((nr != SYS_pread64 && nr != SYS_pwrite64) || d >= 0);
		return fd < 0 ? -EBADF : c;
	case SYS_fsync:
	case SYS_fdatasync:
		check_fd(fd);
		return fd < 0 ? -EBADF : 0;
	case SYS_statx:
		return stat_one(fd, (const char *)b, c, (struct statx *)e);
	case SYS_unlinkat:
		check_path(fd, (const char *)b);
		return 0;
	case SYS_renameat2:
		check_path(fd, (const char *)b);
		check_path((int)c, (const char *)d);
		return 0;
	default:
		fuzz_fail("a call that a helper does not make", __FILE__, __LINE__);
	}
}

/* ---- */

static void serve_one(const uint8_t *bytes, size_t size, unsigned fds)
{
	const int passed[2] = {FIRST_PASSED, FIRST_PASSED + 1};
	struct helper_reply reply;
	memset(&message, 0xA5, sizeof message);
	memcpy(&message, bytes, size);
	if (!helper_request_is_valid(&message, size, fds))
		return;
	passed_now = fds;
	calls = 0;
	serve(&files, &message, passed, window, &reply);
	MUST(calls <= 2);
	MUST(helper_reply_is_valid(&reply, sizeof reply, &message.request) || reply.result == -EBUSY);
}

/* What a slot has is open, what is open is in a slot. */
static void close_all(void)
{
	unsigned in_slots = 0, open_now = 0;
	for (unsigned i = 0; i < HELPER_SLOTS; i++) {
		int fd = atomic_exchange_explicit(&files.fd[i], -1, memory_order_relaxed);
		MUST(fd == -1 || is_own(fd));
		in_slots += fd != -1;
	}
	for (int i = 0; i < MOST_OPENED; i++) {
		open_now += opened[i];
		opened[i] = false;
	}
	MUST(in_slots == open_now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	if (!started)
		files_start(&files);
	started = true;
	while (size >= 3) {
		unsigned fds = data[0] % 4;
		size_t length = (size_t)data[1] | (size_t)data[2] << 8;
		data += 3;
		size -= 3;
		length = length < size ? length : size;
		serve_one(data, length < sizeof message ? length : sizeof message, fds);
		data += length;
		size -= length;
	}
	close_all();
	return 0;
}

/* ---- seeds: one message of each kind */

size_t fuzz_seed(unsigned which, uint8_t *to)
{
	static const char paths[] = "/a\0/b"; /* with the zero at the end: two of three bytes */
	unsigned opcode = which % HELPER_LAST + 1;
	bool moves = opcode == HELPER_READ || opcode == HELPER_WRITE || opcode == HELPER_READDIR;
	bool on_file = moves || opcode == HELPER_FSYNC, has_path = !on_file && opcode != HELPER_CLOSE;
	struct helper_request request = {.version = HELPER_VERSION,
	                                 .opcode = opcode,
	                                 .id = 1,
	                                 .length = moves ? 4096 : 0,
	                                 .at = {on_file ? HELPER_PASSED : HELPER_NOWHERE, HELPER_NOWHERE},
	                                 .path_size = {has_path ? 3 : 0, opcode == HELPER_RENAME ? 3 : 0}};
	size_t size = helper_message_size(&request);
	to[0] = (uint8_t)helper_request_fds(&request);
	to[1] = (uint8_t)size;
	to[2] = (uint8_t)(size >> 8);
	memcpy(to + 3, &request, sizeof request);
	memcpy(to + 3 + sizeof request, paths, size - sizeof request);
	return 3 + size;
}
