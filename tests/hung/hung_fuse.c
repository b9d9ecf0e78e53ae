/* SPDX-License-Identifier: MIT */
#include "hung_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NODE_DIR = 1, NODE_DIRECT, NODE_CACHED, NODE_MUTE, NODE_DEAD, HELD = 1024, LARGEST = 1 << 17 };

/* Of the daemon: */
static int device = -1;
static bool async_reads, answers;
static bool checked, told;
static struct held {
	uint64_t unique;
	uint32_t opcode, size;
} held[HELD];
static unsigned held_count;

static void reply(uint64_t unique, int error, const void *data, size_t size)
{
	struct fuse_out_header head = {.len = (uint32_t)(sizeof(head) + size), .error = error, .unique = unique};
	const struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)data, size}};
	ssize_t n = writev(device, parts, size > 0 ? 2 : 1);
	(void)n; /* who asked may have gone */
}

static struct fuse_attr attributes(uint64_t node)
{
	return (struct fuse_attr){.ino = node,
	                          .mode = node == NODE_DIR ? S_IFDIR | 0755 : S_IFREG | 0666,
	                          .nlink = 1,
	                          .size = HUNG_FUSE_SIZE,
	                          .blksize = 4096};
}

static void reply_entry(uint64_t unique, uint64_t node)
{
	const struct fuse_entry_out entry = {
	        .nodeid = node, .entry_valid = 1000, .attr_valid = node == NODE_MUTE ? 0 : 1000, .attr = attributes(node)};
	reply(unique, 0, &entry, sizeof(entry));
}

static void answer_held(const struct held *one)
{
	static unsigned char data[LARGEST];
	const struct fuse_write_out written = {.size = one->size};
	memset(data, HUNG_FUSE_BYTE, sizeof(data));
	if (one->opcode == FUSE_READ)
		reply(one->unique, 0, data, one->size < LARGEST ? one->size : LARGEST);
	else if (one->opcode == FUSE_WRITE)
		reply(one->unique, 0, &written, sizeof(written));
	else
		reply_entry(one->unique, NODE_DIRECT);
}

static void hold(const struct fuse_in_header *in, uint32_t size)
{
	const struct held one = {.unique = in->unique, .opcode = in->opcode, .size = size};
	if (answers)
		answer_held(&one);
	else if (held_count < HELD)
		held[held_count++] = one;
}

static void look_up(const struct fuse_in_header *in)
{
	static const char *const names[] = {
	        [NODE_DIRECT] = "direct", [NODE_CACHED] = "cached", [NODE_MUTE] = "mute", [NODE_DEAD] = "dead"};
	const char *name = (const char *)(in + 1);
	uint64_t node = NODE_DEAD;
	if (name[0] == 'h') {
		hold(in, 0);
		return;
	}
	while (node > NODE_DIR && strcmp(name, names[node]) != 0)
		node--;
	if (node > NODE_DIR)
		reply_entry(in->unique, node);
	else
		reply(in->unique, -ENOENT, NULL, 0);
}

static void tell_attributes(uint64_t unique, uint64_t node)
{
	const struct fuse_attr_out attr = {.attr_valid = checked ? 0 : 1000, .attr = attributes(node)};
	if (!told)
		reply(unique, 0, &attr, sizeof(attr));
	told = checked && node == NODE_DIR;
}

static void serve_others(const struct fuse_in_header *in)
{
	if (in->nodeid == NODE_MUTE || in->nodeid == NODE_DEAD || in->opcode == FUSE_INTERRUPT || in->opcode == FUSE_FORGET ||
	    in->opcode == FUSE_BATCH_FORGET)
		return; /* an interrupt without an answer, of all that there are: the call stays where it is */
	if (in->opcode == FUSE_GETATTR)
		tell_attributes(in->unique, in->nodeid);
	else if (in->opcode == FUSE_READ)
		hold(in, ((const struct fuse_read_in *)(in + 1))->size);
	else if (in->opcode == FUSE_WRITE)
		hold(in, ((const struct fuse_write_in *)(in + 1))->size);
	else
		reply(in->unique, -ENOSYS, NULL, 0);
}

static void serve_request(const struct fuse_in_header *in)
{
	const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
	                                   .minor = 31,
	                                   .max_write = LARGEST,
	                                   .max_background = 256,
	                                   .flags = FUSE_POSIX_LOCKS | (async_reads ? FUSE_ASYNC_READ : 0u)};
	const struct fuse_open_out opened = {
	        .fh = 1, .open_flags = in->nodeid == NODE_CACHED || in->nodeid == NODE_DEAD ? 0 : FOPEN_DIRECT_IO};
	switch (in->opcode) {
	case FUSE_INIT:
		reply(in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_LOOKUP:
		look_up(in);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		reply(in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		if (in->nodeid != NODE_DEAD)
			reply(in->unique, 0, NULL, 0);
		break;
	default:
		serve_others(in);
		break;
	}
}

/* ---- the keeper's work */

static int make(void *arg, char *why, size_t size)
{
	struct hung_fuse *fuse = arg;
	char options[128];
	async_reads = fuse->async_reads;
	checked = fuse->checked;
	device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other%s", device,
	         checked ? ",default_permissions" : "");
	if (device >= 0 && mount("silent", fuse->dir, "fuse", MS_NOSUID | MS_NODEV, options) == 0)
		return 0;
	int error = -errno;
	snprintf(why, size, "no FUSE mount (%s): %s", device < 0 ? "/dev/fuse" : "mount", strerror(-error));
	return error;
}

static int device_fd(void *unused)
{
	(void)unused;
	return device;
}

static void serve(void *unused)
{
	static _Alignas(8) char request[LARGEST + 8192];
	(void)unused;
	ssize_t n = read(device, request, sizeof(request));
	if (n > 0)
		serve_request((const struct fuse_in_header *)request);
}

static void begin_to_answer(void *unused, char order)
{
	(void)unused;
	(void)order;
	answers = true;
	for (unsigned i = 0; i < held_count; i++)
		answer_held(&held[i]);
	held_count = 0;
}

static void undo(void *arg)
{
	struct hung_fuse *fuse = arg;
	close(device);
	umount2(fuse->dir, MNT_DETACH);
	rmdir(fuse->dir);
}

/* ---- in the test */

static int start(struct hung_fuse *fuse, bool async, bool check)
{
	static const struct keeper_work work = {
	        .make = make, .fd = device_fd, .serve = serve, .obey = begin_to_answer, .undo = undo};
	*fuse = (struct hung_fuse){.async_reads = async, .checked = check, .dir = "/tmp/unstick-fuse-XXXXXX"};
	int error = keeper_enter_namespace(fuse->keeper.why, sizeof(fuse->keeper.why));
	if (error < 0)
		return error;
	if (mkdtemp(fuse->dir) == NULL) {
		snprintf(fuse->keeper.why, sizeof(fuse->keeper.why), "mkdtemp: %s", strerror(errno));
		return -errno;
	}
	snprintf(fuse->direct, sizeof(fuse->direct), "%s/direct", fuse->dir);
	snprintf(fuse->cached, sizeof(fuse->cached), "%s/cached", fuse->dir);
	snprintf(fuse->mute, sizeof(fuse->mute), "%s/mute", fuse->dir);
	snprintf(fuse->dead, sizeof(fuse->dead), "%s/dead", fuse->dir);
	snprintf(fuse->hidden, sizeof(fuse->hidden), "%s/hidden", fuse->dir);
	return keeper_start(&fuse->keeper, &work, fuse);
}

int hung_fuse_start(struct hung_fuse *fuse, bool async)
{
	return start(fuse, async, false);
}

int hung_fuse_start_checked(struct hung_fuse *fuse)
{
	return start(fuse, false, true);
}

void hung_fuse_answer(struct hung_fuse *fuse)
{
	keeper_order(&fuse->keeper, 'a');
}

void hung_fuse_end(struct hung_fuse *fuse)
{
	keeper_end(&fuse->keeper);
}
