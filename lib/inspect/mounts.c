/* SPDX-License-Identifier: MIT
 *
 * See mounts.h. A line of mountinfo can be longer than any buffer here (two paths with four bytes for an odd one), so it is
 * read by the byte: "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS".
 */
#include <errno.h>
#include <stddef.h>
#include "base/stream.h"
#include "base/text.h"
#include "inspect/mounts.h"

enum { FIELD_SIZE = 32 };

bool mount_type_may_hang(const char *type)
{
	static const char *const types[] = {
	        "9p",    "afs",       "autofs", "beegfs", "ceph",  "cifs",   "coda",     "fuse",   "fuseblk",
	        "gfs2",  "glusterfs", "gpfs",   "lustre", "ncpfs", "nfs",    "nfs4",     "ocfs2",  "orangefs",
	        "panfs", "prl_fs",    "pvfs2",  "smb3",   "smbfs", "vboxsf", "virtiofs", "vmhgfs",
	};

	if (text_after(type, "fuse.") != NULL || text_after(type, "fuseblk.") != NULL)
		return true;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (text_equal(type, types[i]))
			return true;
	}
	return false;
}

/* The next field of the line, cut to size; the byte that ended it: ' ', '\n', or -1 at the end of the file. */
static int next_field(struct stream *stream, char field[FIELD_SIZE])
{
	size_t length = 0;
	int c;

	while ((c = stream_byte(stream)) >= 0 && c != ' ' && c != '\n') {
		if (length + 1 < FIELD_SIZE)
			field[length++] = (char)c;
	}
	field[length] = '\0';
	return c;
}

/* 1 or 0 if the line is that of the mount, -ENOENT if not; *end as of next_field(). */
static int read_line(struct stream *stream, uint64_t mnt_id, int *end)
{
	char field[FIELD_SIZE];
	const char *at = field;
	uint64_t id;
	bool found, dash = false;
	int result = -ENOENT;

	*end = next_field(stream, field);
	found = text_read_unsigned(&at, &id) && *at == '\0' && id == mnt_id;
	while (*end == ' ') {
		*end = next_field(stream, field);
		if (found && dash)
			result = mount_type_may_hang(field);
		if (dash)
			found = dash = false;
		else
			dash = text_equal(field, "-");
	}
	return result;
}

int mount_may_hang_of(pid_t pid, uint64_t mnt_id)
{
	char path_buf[40];
	struct stream stream;
	struct text path;
	int end = ' ', result;

	text_start(&path, path_buf, sizeof(path_buf));
	text_add(&path, "/proc/");
	if (pid == 0)
		text_add(&path, "thread-self");
	else
		text_add_decimal(&path, pid);
	text_add(&path, "/mountinfo");
	result = stream_open(&stream, path_buf);
	if (result < 0)
		return result == -EPERM ? -EACCES : result;
	do
		result = read_line(&stream, mnt_id, &end);
	while (result < 0 && end >= 0);
	stream_close(&stream);
	return result;
}

bool mount_may_hang(uint64_t mnt_id)
{
	return mount_may_hang_of(0, mnt_id) != 0;
}

/* ---- by path */

/* Of one line: how much of the path its mount point covers, 0 if it does not lie above it; *end as of next_field(). Mount points are written
 * with \ooo for blanks, tabs, newlines and backslashes. */
static size_t match_point(struct stream *stream, const char *path, int *end)
{
	size_t length = 0;
	bool above = true;
	int c;

	while ((c = stream_byte(stream)) >= 0 && c != ' ' && c != '\n') {
		if (c == '\\')
			for (int i = c = 0; i < 3; i++)
				c = c << 3 | (stream_byte(stream) - '0');
		above = above && path[length] == (char)c;
		length += above;
	}
	*end = c;
	if (!above)
		return 0;
	bool whole = path[length] == '\0' || path[length] == '/' || (length == 1 && path[0] == '/');
	return whole ? length : 0;
}

/* How much of the path the line's mount covers; *hangs as its type says. */
static size_t read_path_line(struct stream *stream, const char *path, bool *hangs, int *end)
{
	char field[FIELD_SIZE];
	size_t covered = 0;
	bool dash = false;

	for (unsigned number = 0; number < 4; number++) {
		*end = next_field(stream, field);
		if (*end != ' ')
			return 0;
	}
	covered = match_point(stream, path, end);
	while (*end == ' ') {
		*end = next_field(stream, field);
		if (dash && covered) {
			*hangs = mount_type_may_hang(field);
			dash = false;
		} else {
			dash = text_equal(field, "-");
		}
	}
	return covered;
}

bool mount_of_path_may_hang(const char *path)
{
	struct stream stream;
	size_t longest = 0;
	bool may_hang = false, hangs = false;
	int end = ' ';

	if (stream_open(&stream, "/proc/thread-self/mountinfo") < 0)
		return false;
	while (end >= 0) {
		size_t covered = read_path_line(&stream, path, &hangs, &end);
		if (covered > 0 && covered >= longest) { /* of several on one point, the last one is on top */
			longest = covered;
			may_hang = hangs;
		}
	}
	stream_close(&stream);
	return may_hang;
}
