/* SPDX-License-Identifier: MIT */
#include "silent_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "fault.h"

static void answer(int fd, uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof(head) + size), .error = error, .unique = unique};
	const struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, size}};
	ssize_t n = writev(fd, parts, size > 0 ? 2 : 1);
	(void)n; /* who asked may have gone */
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){
	        .ino = node, .mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0666, .nlink = 1, .size = 1 << 20, .blksize = 4096};
}

static void look_up(int fd, uint64_t unique, const char *name)
{
	const struct fuse_entry_out entry = {.nodeid = 2, .entry_valid = 1000, .attr_valid = 1000, .attr = attributes(2)};
	if (name[0] == 'f')
		answer(fd, unique, 0, &entry, sizeof(entry));
	else if (name[0] != 'h')
		answer(fd, unique, -ENOENT, NULL, 0);
}

static void serve(int fd, const struct fuse_in_header *in)
{
	const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
	const struct fuse_attr_out attr = {.attr_valid = 1000, .attr = attributes(in->nodeid)};
	const struct fuse_open_out opened = {.fh = 1};
	switch (in->opcode) {
	case FUSE_INIT:
		answer(fd, in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		look_up(fd, in->unique, (const char *)(in + 1));
		break;
	case FUSE_GETATTR:
		answer(fd, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		answer(fd, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(fd, in->unique, 0, NULL, 0);
		break;
	default: /* silence */
		break;
	}
}

_Noreturn static void be_daemon(const char *dir)
{
	static _Alignas(8) char request[65536 + 4096];
	char options[96];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (fd < 0 || mount("silent", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		_exit(1);
	for (;;) {
		ssize_t n = read(fd, request, sizeof(request));
		if (n > 0)
			serve(fd, (const struct fuse_in_header *)request);
		else if (errno != EINTR && errno != ENOENT && errno != EAGAIN)
			_exit(0);
	}
}

static bool is_mounted(const struct silent_file *file)
{
	struct stat above, here;
	if (waitpid(file->daemon, NULL, WNOHANG) != 0)
		fault_skip("there can be no FUSE mount here");
	return stat("/tmp", &above) == 0 && stat(file->dir, &here) == 0 && here.st_dev != above.st_dev;
}

void silent_file_make(struct silent_file *file)
{
	if (geteuid() != 0)
		fault_skip("needs root, for a FUSE mount");
	if (access("/dev/fuse", R_OK | W_OK) != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fault_skip("no /dev/fuse, or no mount namespace: %s", strerror(errno));
	snprintf(file->dir, sizeof(file->dir), "/tmp/unstick-silent-XXXXXX");
	CHECK(mkdtemp(file->dir) != NULL, "mkdtemp: %s", strerror(errno));
	fault_remove_later(file->dir);
	snprintf(file->path, sizeof(file->path), "%s/f", file->dir);
	snprintf(file->hidden, sizeof(file->hidden), "%s/h", file->dir);
	file->daemon = fork();
	if (file->daemon == 0)
		be_daemon(file->dir);
	WAIT_UNTIL(is_mounted(file));
}

void silent_file_end(struct silent_file *file)
{
	kill(file->daemon, SIGKILL);
	waitpid(file->daemon, NULL, 0);
}
