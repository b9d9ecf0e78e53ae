/* SPDX-License-Identifier: MIT
 *
 * What an fd is, found out without waiting for what is behind it. Invariant: nothing here calls fstat, statfs, stat or close
 * on the target, or opens it: each of them hangs, beyond SIGKILL, when the file lies on a FUSE mount with a silent daemon.
 * What it does not do: keep an answer. The number may stand for something else by the time that it is returned.
 * Async-signal-safe.
 */
#ifndef UNSTICK_INSPECT_FD_H
#define UNSTICK_INSPECT_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum fd_kind {
	FD_UNKNOWN,
	FD_FILE,
	FD_DIRECTORY,
	FD_BLOCK,
	FD_CHAR,
	FD_PIPE, /* a FIFO too */
	FD_SOCKET,
	FD_OTHER, /* anonymous inode: eventfd, epoll, ... */
};

struct fd_info {
	enum fd_kind kind;
	bool may_hang;  /* FD_FILE, FD_DIRECTORY, FD_BLOCK: it lies on a mount that can hang */
	bool is_device; /* FD_CHAR: neither a terminal nor /dev/null and its like; its driver may be a user-space daemon (CUSE) */
	uint64_t mnt_id;
};

/* An fd of this process: one statx, and for files the table of mounts. 0; -EBADF; other -errno. */
int fd_look(int fd, struct fd_info *ret);

/* The same without the table of mounts: may_hang is false. */
int fd_kind(int fd, struct fd_info *ret);

/* An fd of any process; pid 0: this one. 0; -EBADF, also when the process has gone; -EACCES; ... */
int fd_look_of(pid_t pid, int fd, struct fd_info *ret);

/* "pipe:[123]", "socket tcp 127.0.0.1:5432 -> 127.0.0.1:51000", "eventfd", a path. As snprintf: the length that it has, 0 (and
 * an empty string) when it is not known. Reads the tables of sockets of the process: not for the way of a cancel. */
size_t fd_describe(pid_t pid, int fd, char *buf, size_t size);

#endif
