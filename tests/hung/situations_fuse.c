/* SPDX-License-Identifier: MIT
 *
 * Calls on a FUSE mount whose daemon keeps silent. They come out with an error when the daemon has ended.
 * All but the read by way of the page cache wait in state S; the first signal, harmless or not, turns that into a D that not even
 * SIGKILL ends. An fd that is open there holds the process's exit by itself, if the daemon does not answer its close either.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "situations.h"

static int mount_it(struct hung *hung, bool async, const char *name)
{
	int error = hung_fuse_start(&hung->fuse, async);
	if (error < 0)
		snprintf(hung->why, sizeof(hung->why), "%s", hung->fuse.keeper.why);
	else
		snprintf(hung->path, sizeof(hung->path), "%s/%s", hung->fuse.dir, name);
	return error;
}

static int make_direct(struct hung *hung)
{
	return mount_it(hung, false, "direct");
}

static int make_dead(struct hung *hung)
{
	return mount_it(hung, true, "dead");
}

static int make_mute(struct hung *hung)
{
	return mount_it(hung, false, "mute");
}

static int make_hidden(struct hung *hung)
{
	return mount_it(hung, false, "hidden");
}

static int open_both_ways(struct hung *hung)
{
	return hung_open_for(hung, O_RDWR);
}

static long block_in_read(struct hung *hung)
{
	char byte;
	return hung_or_errno(read(hung->fd, &byte, 1));
}

static long block_in_write(struct hung *hung)
{
	return hung_or_errno(write(hung->fd, "x", 1));
}

static long block_in_statx(struct hung *hung)
{
	struct statx status;
	return hung_or_errno(statx(AT_FDCWD, hung->path, 0, STATX_BASIC_STATS, &status));
}

static long block_in_lstat(struct hung *hung)
{
	struct stat status;
	return hung_or_errno(lstat(hung->path, &status));
}

/* fstat(3) as glibc 2.36 makes it. Not by its name: other versions, and ThreadSanitizer's run-time, make fstat(2) of it. */
static long block_in_fstat(struct hung *hung)
{
	struct stat status;
	return hung_or_errno(syscall(SYS_newfstatat, hung->fd, "", &status, AT_EMPTY_PATH));
}

static long block_in_open(struct hung *hung)
{
	return hung_or_errno(open(hung->path, O_RDONLY | O_CLOEXEC));
}

static void end(struct hung *hung)
{
	hung_fuse_end(&hung->fuse);
}

/* clang-format off */
const struct hung_situation hung_on_fuse[] = {
	{.name = "fuse-read", .summary = "a read that the daemon does not answer", .nr = SYS_read, .state = 'S', .has_fd = true,
	 .holds_exit = true, .fails = true,
	 .make = make_direct, .open = open_both_ways, .block = block_in_read, .end = end},
	/* SIGKILL ends the wait for the page, but not the close of its fd that follows. */
	{.name = "fuse-page-read", .summary = "a read that waits for a page of the daemon's", .nr = SYS_read, .state = 'D', .has_fd = true,
	 .holds_exit = true, .fails = true,
	 .make = make_dead, .open = open_both_ways, .block = block_in_read, .end = end},
	{.name = "fuse-write", .summary = "a write that the daemon does not answer", .nr = SYS_write, .state = 'S', .has_fd = true,
	 .holds_exit = true, .fails = true,
	 .make = make_direct, .open = open_both_ways, .block = block_in_write, .end = end},
	{.name = "fuse-statx", .summary = "a statx that the daemon does not answer", .nr = SYS_statx, .state = 'S',
	 .holds_exit = true, .fails = true, .make = make_mute, .block = block_in_statx, .end = end},
	{.name = "fuse-lstat", .summary = "an lstat that the daemon does not answer", .nr = SYS_newfstatat, .state = 'S',
	 .holds_exit = true, .fails = true, .make = make_mute, .block = block_in_lstat, .end = end},
	/* newfstatat(fd, "", AT_EMPTY_PATH): an fd in the place of a directory's, which the library does not tell. */
	{.name = "fuse-fstat", .summary = "an fstat that the daemon does not answer", .nr = SYS_newfstatat, .state = 'S',
	 .holds_exit = true, .fails = true,
	 .make = make_mute, .open = open_both_ways, .block = block_in_fstat, .end = end},
	{.name = "fuse-open", .summary = "an open whose look-up the daemon does not answer", .nr = SYS_openat, .state = 'S',
	 .holds_exit = true, .fails = true, .make = make_hidden, .block = block_in_open, .end = end},
	{0},
};
/* clang-format on */
