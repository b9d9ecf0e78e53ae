/* SPDX-License-Identifier: MIT
 *
 * An O_DIRECT read on a loop device whose file lies on a FUSE mount with a silent daemon: in state D, beyond SIGKILL. When the daemon
 * has ended it fails with EIO.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "situations.h"

enum { BLOCK = 4096 };

/* Of the keeper. Not the FUSE daemon's process: to attach the file is to ask the daemon. */
static int loop = -1;

static int make(void *arg, char *why, size_t size)
{
	struct hung *hung = arg;
	int file = open(hung->fuse.cached, O_RDWR | O_CLOEXEC);
	if (file < 0) {
		snprintf(why, size, "%s: %s", hung->fuse.cached, strerror(errno));
		return -errno;
	}
	loop = hung_loop_attach(file, hung->shared->device, sizeof(hung->shared->device), why, size);
	close(file);
	return loop < 0 ? loop : 0;
}

static void undo(void *unused)
{
	(void)unused;
	close(loop);
}

static void end(struct hung *hung)
{
	hung_fuse_end(&hung->fuse);
	keeper_end(&hung->keeper);
}

static int make_loop(struct hung *hung)
{
	static const struct keeper_work work = {.make = make, .undo = undo};
	int error = hung_fuse_start(&hung->fuse, true);
	if (error < 0) {
		snprintf(hung->why, sizeof(hung->why), "%s", hung->fuse.keeper.why);
		return error;
	}
	error = hung_keep(hung, &work);
	if (error < 0)
		hung_fuse_end(&hung->fuse);
	snprintf(hung->path, sizeof(hung->path), "%s", hung->shared->device);
	return error;
}

static int open_direct(struct hung *hung)
{
	return hung_open_for(hung, O_RDONLY | O_DIRECT);
}

static long block_in_read(struct hung *hung)
{
	static _Alignas(BLOCK) char block[BLOCK];
	return hung_or_errno(read(hung->fd, block, BLOCK));
}

/* clang-format off */
const struct hung_situation hung_on_loop[] = {
	{.name = "loop-read", .summary = "an O_DIRECT read on a loop device over a hung FUSE file", .nr = SYS_read, .state = 'D', .has_fd = true,
	 .holds_exit = true, .fails = true, .make = make_loop, .open = open_direct, .block = block_in_read, .end = end},
	{0},
};
/* clang-format on */
