/* SPDX-License-Identifier: MIT
 *
 * Calls on an ext4 file system that is frozen (FIFREEZE): they wait in state D, beyond SIGKILL, until it is thawed, and then do what
 * they were to do. The file system is on a loop device on memory. Its keeper thaws it before all else: a frozen file system that
 * nobody has mounted any more could not be thawed by anybody.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "situations.h"

enum { IMAGE = 8 << 20 };

/* Of the keeper: */
static int loop = -1, root = -1;

static bool make_file_system(const char *device)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		execlp("mke2fs", "mke2fs", "-q", "-F", "-t", "ext4", device, (char *)NULL);
		execl("/usr/sbin/mke2fs", "mke2fs", "-q", "-F", "-t", "ext4", device, (char *)NULL);
		execl("/sbin/mke2fs", "mke2fs", "-q", "-F", "-t", "ext4", device, (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int refuse(char *why, size_t size, const char *what)
{
	int error = -errno;
	snprintf(why, size, "%s: %s", what, strerror(errno));
	return error;
}

static int make(void *arg, char *why, size_t size)
{
	struct hung *hung = arg;
	char device[32];
	int image = memfd_create("unstick-ext4", MFD_CLOEXEC);
	if (image < 0 || ftruncate(image, IMAGE) < 0)
		return refuse(why, size, "no memory for an image");
	loop = hung_loop_attach(image, device, sizeof(device), why, size);
	if (loop < 0)
		return loop;
	if (!make_file_system(device)) {
		snprintf(why, size, "mke2fs -t ext4 is not here, or failed (package e2fsprogs)");
		return -ENOTSUP;
	}
	if (mount(device, hung->dir, "ext4", MS_NOSUID | MS_NODEV, NULL) < 0)
		return refuse(why, size, "no mount of ext4");
	root = open(hung->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int file = open(hung->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (root < 0 || file < 0 || close(file) < 0 || ioctl(root, FIFREEZE, 0) < 0)
		return refuse(why, size, "FIFREEZE");
	return 0;
}

static void undo(void *arg)
{
	struct hung *hung = arg;
	if (root >= 0) {
		ioctl(root, FITHAW, 0);
		close(root);
	}
	umount2(hung->dir, MNT_DETACH);
	rmdir(hung->dir);
	close(loop);
}

static int make_frozen(struct hung *hung)
{
	static const struct keeper_work work = {.make = make, .undo = undo};
	int error = keeper_enter_namespace(hung->why, sizeof(hung->why));
	if (error < 0)
		return error;
	snprintf(hung->dir, sizeof(hung->dir), "/tmp/unstick-ext4-XXXXXX");
	if (mkdtemp(hung->dir) == NULL)
		return hung_refuse(hung, "mkdtemp", -errno);
	snprintf(hung->path, sizeof(hung->path), "%s/file", hung->dir);
	return hung_keep(hung, &work);
}

static int open_for_writing(struct hung *hung)
{
	return hung_open_for(hung, O_WRONLY);
}

static long block_in_write(struct hung *hung)
{
	return hung_or_errno(write(hung->fd, "x", 1));
}

static long block_in_creation(struct hung *hung)
{
	char path[80];
	snprintf(path, sizeof(path), "%s/new", hung->dir);
	return hung_or_errno(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

/* clang-format off */
const struct hung_situation hung_on_ext4[] = {
	{.name = "frozen-write", .summary = "a write to a frozen ext4", .nr = SYS_write, .state = 'D', .has_fd = true,
	 .holds_exit = true, .make = make_frozen, .open = open_for_writing, .block = block_in_write, .end = hung_end_keeper},
	{.name = "frozen-creat", .summary = "an open with O_CREAT on a frozen ext4", .nr = SYS_openat, .state = 'D',
	 .holds_exit = true, .make = make_frozen, .block = block_in_creation, .end = hung_end_keeper},
	{0},
};
/* clang-format on */
