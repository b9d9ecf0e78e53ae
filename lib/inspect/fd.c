/* SPDX-License-Identifier: MIT
 *
 * See fd.h. statx() with AT_STATX_DONT_SYNC is answered from what the kernel has; measured to return on a FUSE mount whose
 * daemon is silent, where fstat() of the same fd does not. For fds of other processes the way leads through a link of /proc,
 * and following that may ask the file system to confirm the file: so first the link's text, then the mount, and only on a
 * harmless one statx().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include "base/raw.h"
#include "base/stream.h"
#include "base/text.h"
#include "inspect/fd.h"
#include "inspect/mounts.h"
#include "inspect/socket.h"

enum {
	PATH_SIZE = 64,
	LINK_SIZE = 256,
	LOOK_FLAGS = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
};

static enum fd_kind kind_of(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return FD_FILE;
	case S_IFDIR:
		return FD_DIRECTORY;
	case S_IFBLK:
		return FD_BLOCK;
	case S_IFCHR:
		return FD_CHAR;
	case S_IFIFO:
		return FD_PIPE;
	case S_IFSOCK:
		return FD_SOCKET;
	case 0:
		return FD_OTHER;
	default:
		return FD_UNKNOWN;
	}
}

/* /dev/null and its like, terminals, consoles, both kinds of pseudo-terminals. */
static bool is_plain_char(unsigned major)
{
	return major == 1 || (major >= 2 && major <= 5) || (major >= 136 && major <= 143);
}

static void fd_path(char buf[PATH_SIZE], const char *directory, pid_t pid, int fd)
{
	struct text path;

	text_start(&path, buf, PATH_SIZE);
	text_add(&path, "/proc/");
	if (pid == 0)
		text_add(&path, "thread-self");
	else
		text_add_decimal(&path, pid);
	text_add(&path, directory);
	text_add_decimal(&path, fd);
}

/* A missing link is a closed fd; a missing /proc, or one of another pid namespace, is not. */
static int link_error(long error)
{
	if (error == -ENOENT)
		return RAW_3(SYS_faccessat, AT_FDCWD, "/proc/self", 0) == 0 ? -EBADF : -ENOENT;
	return error == -EPERM ? -EACCES : (int)error;
}

static int read_link(pid_t pid, int fd, char buf[LINK_SIZE])
{
	char path[PATH_SIZE];
	long n;

	fd_path(path, "/fd/", pid, fd);
	n = RAW_4(SYS_readlinkat, AT_FDCWD, path, buf, LINK_SIZE - 1);
	if (n < 0)
		return link_error(n);
	buf[n] = '\0';
	return (int)n;
}

/* The mount and the open flags, as fdinfo has them. */
static int read_fdinfo(pid_t pid, int fd, uint64_t *mnt_id, uint64_t *open_flags)
{
	char path[PATH_SIZE], line[64];
	struct stream stream;
	bool have_mount = false;
	int r;

	fd_path(path, "/fdinfo/", pid, fd);
	r = stream_open(&stream, path);
	if (r < 0)
		return link_error(r);
	*open_flags = 0;
	while (!have_mount && stream_line(&stream, line, sizeof(line))) {
		const char *at = text_after(line, "flags:");
		if (at != NULL) {
			for (at = text_skip_blanks(at); *at >= '0' && *at <= '7'; at++)
				*open_flags = *open_flags << 3 | (unsigned)(*at - '0');
		}
		at = text_after(line, "mnt_id:");
		if (at != NULL) {
			at = text_skip_blanks(at);
			have_mount = text_read_unsigned(&at, mnt_id);
		}
	}
	stream_close(&stream);
	return have_mount ? 0 : -ENODATA;
}

static bool has_mount(enum fd_kind kind)
{
	return kind == FD_FILE || kind == FD_DIRECTORY || kind == FD_BLOCK;
}

/* A mount that is in no table is either one that was unmounted lazily, or the kernel's own: of memory files, namespaces and
 * the like, whose links are not paths. */
static bool may_hang(pid_t pid, int fd, uint64_t mnt_id)
{
	char link[LINK_SIZE];
	int known = mount_may_hang_of(pid, mnt_id);

	if (known != -ENOENT)
		return known != 0;
	return read_link(pid, fd, link) < 0 || (link[0] == '/' && text_after(link, "/memfd:") == NULL);
}

static void fill_from(const struct statx *statx, struct fd_info *info)
{
	info->kind = kind_of(statx->stx_mode);
	info->is_device = info->kind == FD_CHAR && !is_plain_char(statx->stx_rdev_major);
	info->mnt_id = statx->stx_mnt_id;
}

static int ask_fd(int fd, struct statx *statx, struct fd_info *info)
{
	long r;

	*info = (struct fd_info){.kind = FD_UNKNOWN};
	if (fd < 0)
		return -EBADF; /* AT_FDCWD would be taken for the working directory */
	r = RAW_5(SYS_statx, fd, "", AT_EMPTY_PATH | LOOK_FLAGS, STATX_TYPE | STATX_MODE | STATX_MNT_ID, statx);
	if (r < 0)
		return (int)r;
	fill_from(statx, info);
	return 0;
}

int fd_kind(int fd, struct fd_info *ret)
{
	struct statx statx;

	return ask_fd(fd, &statx, ret);
}

int fd_look(int fd, struct fd_info *ret)
{
	struct fd_info info;
	struct statx statx;
	uint64_t open_flags;
	int error = ask_fd(fd, &statx, &info);

	if (error)
		return error;
	if (has_mount(info.kind)) {
		if ((statx.stx_mask & STATX_MNT_ID) == 0 && read_fdinfo(0, fd, &info.mnt_id, &open_flags) < 0)
			info.may_hang = true;
		else
			info.may_hang = may_hang(0, fd, info.mnt_id);
	}
	*ret = info;
	return 0;
}

/* By the text of its link alone; FD_UNKNOWN for a path. */
static enum fd_kind kind_of_link(const char *link)
{
	if (text_after(link, "pipe:[") != NULL)
		return FD_PIPE;
	if (text_after(link, "socket:[") != NULL)
		return FD_SOCKET;
	if (text_after(link, "anon_inode:") != NULL)
		return FD_OTHER;
	return FD_UNKNOWN;
}

static int look_at_path(pid_t pid, int fd, struct fd_info *info)
{
	char path[PATH_SIZE];
	struct statx statx;
	uint64_t open_flags;
	long r = read_fdinfo(pid, fd, &info->mnt_id, &open_flags);

	if (r < 0)
		return (int)r;
	info->may_hang = may_hang(pid, fd, info->mnt_id);
	if (info->may_hang) {
		info->kind = (open_flags & O_DIRECTORY) != 0 ? FD_DIRECTORY : FD_FILE;
		return 0;
	}
	fd_path(path, "/fd/", pid, fd);
	r = RAW_5(SYS_statx, AT_FDCWD, path, LOOK_FLAGS, STATX_TYPE | STATX_MODE, &statx);
	if (r < 0)
		return link_error(r);
	statx.stx_mnt_id = info->mnt_id;
	fill_from(&statx, info);
	return 0;
}

int fd_look_of(pid_t pid, int fd, struct fd_info *ret)
{
	struct fd_info info = {.kind = FD_UNKNOWN};
	char link[LINK_SIZE];
	int r;

	if (pid == 0 || pid == (pid_t)RAW_0(SYS_getpid))
		return fd_look(fd, ret);
	if (fd < 0)
		return -EBADF;
	r = read_link(pid, fd, link);
	if (r < 0)
		return r;
	info.kind = kind_of_link(link);
	if (info.kind == FD_UNKNOWN) {
		r = look_at_path(pid, fd, &info);
		if (r < 0)
			return r;
	}
	*ret = info;
	return 0;
}

/* "anon_inode:[eventfd]" and "anon_inode:inotify" are both in use: the name without the ornaments. */
static void add_anonymous(struct text *text, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name != '[' && *name != ']')
			text_add_char(text, *name);
	}
}

size_t fd_describe(pid_t pid, int fd, char *buf, size_t size)
{
	char link[LINK_SIZE];
	const char *rest;
	struct text text;
	uint64_t inode;

	text_start(&text, buf, size);
	if (fd < 0 || read_link(pid, fd, link) < 0)
		return 0;
	rest = text_after(link, "socket:[");
	if (rest != NULL && text_read_unsigned(&rest, &inode))
		socket_describe(&text, pid, inode);
	else if ((rest = text_after(link, "anon_inode:")) != NULL)
		add_anonymous(&text, rest);
	else
		text_add(&text, link);
	return text.length;
}
