/* SPDX-License-Identifier: MIT */
#include "late_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"

enum { NODE_DIR = 1, NODE_DIRECT, NODE_CACHED, HELD = 1024, LARGEST = 1 << 17 };

/* Of the daemon: */
static int device;
static bool answers;
static struct held {
	uint64_t unique, node;
	uint32_t opcode, size;
} held[HELD];
static unsigned held_count;

static void reply(uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof head + size), .error = error, .unique = unique};
	const struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)data, size}};
	ssize_t n = writev(device, parts, size > 0 ? 2 : 1);
	(void)n; /* who asked may have gone */
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){.ino = node,
	                          .mode = node == NODE_DIR ? S_IFDIR | 0755 : S_IFREG | 0666,
	                          .nlink = 1,
	                          .size = 1 << 20,
	                          .blksize = 4096};
}

static void reply_entry(uint64_t unique, uint64_t node)
{
	const struct fuse_entry_out entry = {.nodeid = node, .entry_valid = 1000, .attr_valid = 1000, .attr = attributes(node)};
	reply(unique, 0, &entry, sizeof entry);
}

static void answer_held(const struct held *one)
{
	static unsigned char data[LARGEST];
	const struct fuse_write_out written = {.size = one->size};
	memset(data, LATE_BYTE, sizeof data);
	if (one->opcode == FUSE_READ)
		reply(one->unique, 0, data, one->size < LARGEST ? one->size : LARGEST);
	else if (one->opcode == FUSE_WRITE)
		reply(one->unique, 0, &written, sizeof written);
	else
		reply_entry(one->unique, NODE_DIRECT);
}

static void hold(const struct fuse_in_header *in, uint32_t size)
{
	const struct held one = {.unique = in->unique, .node = in->nodeid, .opcode = in->opcode, .size = size};
	if (answers)
		answer_held(&one);
	else if (held_count < HELD)
		held[held_count++] = one;
}

static void look_up(const struct fuse_in_header *in)
{
	const char *name = (const char *)(in + 1);
	if (name[0] == 'h')
		hold(in, 0);
	else if (!strcmp(name, "direct") || !strcmp(name, "cached"))
		reply_entry(in->unique, name[0] == 'd' ? NODE_DIRECT : NODE_CACHED);
	else
		reply(in->unique, -ENOENT, NULL, 0);
}

static void serve(const struct fuse_in_header *in)
{
	const struct fuse_init_out init = {
	        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = LARGEST, .max_background = 256, .flags = FUSE_ASYNC_READ};
	const struct fuse_attr_out attr = {.attr_valid = 1000, .attr = attributes(in->nodeid)};
	const struct fuse_open_out opened = {.fh = 1, .open_flags = in->nodeid == NODE_DIRECT ? FOPEN_DIRECT_IO : 0};
	switch (in->opcode) {
	case FUSE_INIT:
		reply(in->unique, 0, &init, sizeof init);
		break;
	case FUSE_LOOKUP:
		look_up(in);
		break;
	case FUSE_GETATTR:
		reply(in->unique, 0, &attr, sizeof attr);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		reply(in->unique, 0, &opened, sizeof opened);
		break;
	case FUSE_READ:
		hold(in, ((const struct fuse_read_in *)(in + 1))->size);
		break;
	case FUSE_WRITE:
		hold(in, ((const struct fuse_write_in *)(in + 1))->size);
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		reply(in->unique, 0, NULL, 0);
		break;
	case FUSE_INTERRUPT: /* no answer, of all that there are: the call stays where it is */
	case FUSE_FORGET:
		break;
	default:
		reply(in->unique, -ENOSYS, NULL, 0);
		break;
	}
}

static void take_request(void)
{
	static _Alignas(8) char request[LARGEST + 8192];
	ssize_t n = read(device, request, sizeof request);
	if (n > 0)
		serve((const struct fuse_in_header *)request);
	else if (errno != EINTR && errno != ENOENT && errno != EAGAIN)
		_exit(0);
}

_Noreturn static void be_daemon(const char *dir, int told)
{
	char options[96], command;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
	if (device < 0 || mount("late", dir, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		_exit(1);
	for (;;) {
		struct pollfd ready[] = {{.fd = device, .events = POLLIN}, {.fd = told, .events = POLLIN}};
		if (poll(ready, 2, -1) < 0)
			continue;
		if (ready[0].revents)
			take_request();
		if (ready[1].revents && read(told, &command, 1) == 1) {
			answers = true;
			for (unsigned i = 0; i < held_count; i++)
				answer_held(&held[i]);
		}
	}
}

static bool is_mounted(const struct late_file *file)
{
	struct stat above, here;
	if (waitpid(file->daemon, NULL, WNOHANG) != 0)
		fault_skip("there can be no FUSE mount here");
	return stat("/tmp", &above) == 0 && stat(file->dir, &here) == 0 && here.st_dev != above.st_dev;
}

void late_file_make(struct late_file *file)
{
	int told[2];
	if (geteuid() != 0)
		fault_skip("needs root, for a FUSE mount");
	if (access("/dev/fuse", R_OK | W_OK) != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fault_skip("no /dev/fuse, or no mount namespace: %s", strerror(errno));
	snprintf(file->dir, sizeof file->dir, "/tmp/unstick-late-XXXXXX");
	CHECK(mkdtemp(file->dir) != NULL && pipe2(told, O_CLOEXEC) == 0, "set-up: %s", strerror(errno));
	fault_remove_later(file->dir);
	snprintf(file->direct, sizeof file->direct, "%s/direct", file->dir);
	snprintf(file->cached, sizeof file->cached, "%s/cached", file->dir);
	snprintf(file->hidden, sizeof file->hidden, "%s/hidden", file->dir);
	file->tell = told[1];
	file->daemon = fork();
	if (file->daemon == 0)
		be_daemon(file->dir, told[0]);
	close(told[0]);
	WAIT_UNTIL(is_mounted(file));
}

void late_file_answer(struct late_file *file)
{
	CHECK(write(file->tell, "a", 1) == 1, "tell: %s", strerror(errno));
}

void late_file_end(struct late_file *file)
{
	kill(file->daemon, SIGKILL);
	waitpid(file->daemon, NULL, 0);
}
