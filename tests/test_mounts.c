/* SPDX-License-Identifier: MIT
 *
 * inspect/mounts.h: types, mounts that exist, mounts that are not listed, lines longer than any buffer.
 */
#include <errno.h>
#include "silent_fuse.h"
#include <linux/stat.h>
#include "inspect/mounts.h"

static uint64_t mount_of(const char *path)
{
	struct statx statx_buf;

	cr_assert_eq(statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &statx_buf), 0);
	cr_assert(statx_buf.stx_mask & STATX_MNT_ID);
	return statx_buf.stx_mnt_id;
}

Test(mounts, types_that_have_a_daemon_or_a_server_may_hang)
{
	static const char *const hang[] = {"fuse", "fuseblk", "fuse.sshfs", "virtiofs", "nfs", "nfs4",  "cifs",
	                                   "smb3", "9p",      "autofs",     "ceph",     "afs", "lustre"};
	static const char *const safe[] = {"ext4", "xfs",     "tmpfs",    "proc", "sysfs", "fusectl",
	                                   "nfsd", "overlay", "devtmpfs", "",     "fus"};

	for (size_t i = 0; i < sizeof(hang) / sizeof(hang[0]); i++)
		cr_assert(mount_type_may_hang(hang[i]), "%s", hang[i]);
	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		cr_assert_not(mount_type_may_hang(safe[i]), "%s", safe[i]);
}

Test(mounts, proc_does_not_hang)
{
	cr_assert_not(mount_may_hang(mount_of("/proc")));
	cr_assert_eq(mount_may_hang_of(getpid(), mount_of("/proc")), 0);
}

Test(mounts, what_is_not_listed_may_hang)
{
	cr_assert_eq(mount_may_hang_of(0, UINT32_MAX), -ENOENT);
	cr_assert(mount_may_hang(UINT32_MAX));
}

Test(mounts, a_fuse_mount_may_hang, .timeout = 60)
{
	struct silent_fuse fuse;
	uint64_t id;

	if (!silent_fuse_start(&fuse))
		return;
	id = mount_of(fuse.dir);
	cr_expect_eq(mount_may_hang_of(0, id), 1);
	cr_expect_eq(mount_may_hang_of(getpid(), id), 1);
	umount2(fuse.dir, MNT_DETACH);
	cr_expect(mount_may_hang(id), "unmounted lazily, it hangs all the same");
	silent_fuse_end(&fuse);
}

static void mount_deep(char *path, size_t size)
{
	size_t length = strlen(path);

	for (int depth = 0; depth < 6; depth++) {
		length += (size_t)snprintf(path + length, size - length, "/%0200d", depth);
		cr_assert_eq(mkdir(path, 0700), 0);
	}
	cr_assert_eq(mount("none", path, "tmpfs", 0, NULL), 0);
}

Test(mounts, a_line_longer_than_the_buffer_is_read_through, .timeout = 60)
{
	struct silent_fuse fuse;
	char path[2000] = "/tmp/unstick-mounts-XXXXXX";

	if (!silent_fuse_start(&fuse))
		return;
	cr_assert_not_null(mkdtemp(path));
	cr_assert_eq(mount("none", path, "tmpfs", 0, NULL), 0);
	size_t top = strlen(path);
	mount_deep(path, sizeof(path));
	cr_expect_eq(mount_may_hang_of(0, mount_of(path)), 0);
	umount2(path, MNT_DETACH);
	path[top] = '\0';
	umount2(path, MNT_DETACH);
	rmdir(path);
	silent_fuse_end(&fuse);
}

/* ---- by path */

Test(mounts, a_path_is_on_the_mount_above_it, .timeout = 60)
{
	struct silent_fuse fuse;
	char path[200];

	cr_expect_not(mount_of_path_may_hang("/"));
	cr_expect_not(mount_of_path_may_hang("/proc/1/status"));
	if (!silent_fuse_start(&fuse))
		return;
	cr_expect(mount_of_path_may_hang(fuse.dir));
	snprintf(path, sizeof(path), "%s/below/it", fuse.dir);
	cr_expect(mount_of_path_may_hang(path));
	snprintf(path, sizeof(path), "%sbeside", fuse.dir);
	cr_expect_not(mount_of_path_may_hang(path));
	snprintf(path, sizeof(path), "%.*s", (int)strlen(fuse.dir) - 1, fuse.dir);
	cr_expect_not(mount_of_path_may_hang(path), "a beginning of its name");
	cr_expect_not(mount_of_path_may_hang("/tmp"), "the directory above");
	silent_fuse_end(&fuse);
}

Test(mounts, of_several_on_one_point_the_last_one_counts, .timeout = 60)
{
	struct silent_fuse fuse;

	if (!silent_fuse_start(&fuse))
		return;
	cr_assert_eq(mount("none", fuse.dir, "tmpfs", 0, NULL), 0);
	cr_expect_not(mount_of_path_may_hang(fuse.dir));
	cr_assert_eq(umount2(fuse.dir, MNT_DETACH), 0);
	cr_expect(mount_of_path_may_hang(fuse.dir));
	silent_fuse_end(&fuse);
}

/* Blanks and backslashes are written as numbers in the table. */
Test(mounts, a_point_with_odd_characters_is_found, .timeout = 60)
{
	struct silent_fuse fuse;
	char dir[] = "/tmp/unstick a\\b\tc\nd#XXXXXX", path[100];

	if (!silent_fuse_start(&fuse))
		return;
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(mount(fuse.dir, dir, NULL, MS_BIND, NULL), 0);
	snprintf(path, sizeof(path), "%s/file", dir);
	cr_expect(mount_of_path_may_hang(path));
	path[strlen("/tmp/unstick")] = 'x';
	cr_expect_not(mount_of_path_may_hang(path));
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	silent_fuse_end(&fuse);
}
