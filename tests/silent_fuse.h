/* SPDX-License-Identifier: MIT
 *
 * For tests: a FUSE mount without libfuse whose daemon answers just enough for "f" to be opened and closed, and then nothing: no
 * read, no attributes, no statfs, no lock, no poll; and never the look-up of "h". Needs root.
 * The mount is in a mount namespace of the test's own. The daemon ends by silent_fuse_end(), and by itself when the test's main thread has
 * died or 40 s have passed; with it everything that waits for it comes out (ENOTCONN).
 */
#ifndef TESTS_SILENT_FUSE_H
#define TESTS_SILENT_FUSE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "blocked.h"

struct silent_fuse {
	pid_t daemon;
	char dir[40];
	char file[48];   /* can be opened; a read of it never ends */
	char hidden[48]; /* its look-up never ends */
};

static inline void silent_fuse_answer(int fd, uint64_t unique, int error, void *data, size_t size)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof(head) + size), .error = error, .unique = unique};
	struct iovec parts[2] = {{&head, sizeof(head)}, {data, size}};
	ssize_t n = writev(fd, parts, size > 0 ? 2 : 1);
	(void)n; /* the asker may have gone */
}

static inline void silent_fuse_serve(int fd, const struct fuse_in_header *in)
{
	const void *body = in + 1;
	struct fuse_attr attr = {.ino = in->nodeid, .mode = S_IFREG | 0666, .nlink = 1, .size = 1 << 20, .blksize = 4096};

	switch (in->opcode) {
	case FUSE_INIT: {
		struct fuse_init_out out = {
		        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096, .flags = FUSE_POSIX_LOCKS};
		silent_fuse_answer(fd, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = {.nodeid = 2, .entry_valid = 1000, .attr = attr};
		out.attr.ino = 2;
		if (strcmp(body, "f") == 0)
			silent_fuse_answer(fd, in->unique, 0, &out, sizeof(out));
		else if (strcmp(body, "h") != 0)
			silent_fuse_answer(fd, in->unique, -ENOENT, NULL, 0);
		break;
	}
	case FUSE_GETATTR:
		if (in->nodeid == 1) {
			struct fuse_attr_out out = {.attr_valid = 1000, .attr = attr};
			out.attr.mode = S_IFDIR | 0755;
			silent_fuse_answer(fd, in->unique, 0, &out, sizeof(out));
		}
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR: {
		struct fuse_open_out out = {.fh = 1};
		silent_fuse_answer(fd, in->unique, 0, &out, sizeof(out));
		break;
	}
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		silent_fuse_answer(fd, in->unique, 0, NULL, 0);
		break;
	default:
		break;
	}
}

static inline void silent_fuse_daemon(pid_t test, const char *dir)
{
	static _Alignas(8) char request[65536 + 4096];
	char options[96];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	struct pollfd ready = {.fd = fd, .events = POLLIN};

	alarm(40);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (fd < 0 || mount("silent", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		_exit(1);
	while (getppid() == test && !shows(test, test, "stat", "Z")) {
		if (poll(&ready, 1, 200) > 0 && read(fd, request, sizeof(request)) > 0)
			silent_fuse_serve(fd, (const struct fuse_in_header *)request);
	}
	_exit(0);
}

/* False, after saying why, where there can be no FUSE mount. */
static inline bool silent_fuse_start(struct silent_fuse *fuse)
{
	pid_t test = getpid();
	struct stat here, above;
	int rounds = 0;

	if (geteuid() != 0) {
		cr_skip_test("a silent FUSE mount needs root");
		return false;
	}
	if (access("/dev/fuse", R_OK | W_OK) < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		cr_skip_test("no /dev/fuse, or no mount namespace: %s", strerror(errno));
		return false;
	}
	snprintf(fuse->dir, sizeof(fuse->dir), "/tmp/unstick-fuse-XXXXXX");
	cr_assert_not_null(mkdtemp(fuse->dir));
	snprintf(fuse->file, sizeof(fuse->file), "%s/f", fuse->dir);
	snprintf(fuse->hidden, sizeof(fuse->hidden), "%s/h", fuse->dir);
	fuse->daemon = fork_child();
	if (fuse->daemon == 0)
		silent_fuse_daemon(test, fuse->dir);
	do {
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		cr_assert(waitpid(fuse->daemon, NULL, WNOHANG) == 0 && rounds++ < 20000, "the FUSE daemon did not come up");
	} while (stat("/tmp", &above) < 0 || stat(fuse->dir, &here) < 0 || here.st_dev == above.st_dev);
	return true;
}

static inline void silent_fuse_end(struct silent_fuse *fuse)
{
	end_child(fuse->daemon);
	umount2(fuse->dir, MNT_DETACH);
	rmdir(fuse->dir);
}

#endif
