/* SPDX-License-Identifier: MIT */
#include "helper/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/raw.h"
#include "base/stream.h"
#include "base/text.h"

enum {
	SEEN_UID = 1u << 0,
	SEEN_GID = 1u << 1,
	SEEN_GROUPS = 1u << 2,
	SEEN_CAPABILITIES = 1u << 3,
	SEEN_UMASK = 1u << 4,
	SEEN_ALL = 31
};

/* "Uid: real effective saved filesystem" */
static bool read_ids(const char *at, uint64_t *effective, uint64_t *filesystem)
{
	uint64_t ids[4];
	for (unsigned i = 0; i < 4; i++) {
		at = text_skip_blanks(at);
		if (!text_read_unsigned(&at, &ids[i]))
			return false;
	}
	*effective = ids[1];
	*filesystem = ids[3];
	return true;
}

static uint64_t read_octal(const char *at)
{
	uint64_t value = 0;
	for (at = text_skip_blanks(at); *at >= '0' && *at <= '7'; at++)
		value = value << 3 | (uint64_t)(*at - '0');
	return value;
}

/* False: the line is another one. */
static bool read_number(const char *line, const char *prefix, uint64_t *ret)
{
	const char *at = text_after(line, prefix);
	at = at ? text_skip_blanks(at) : NULL;
	return at && text_read_unsigned(&at, ret);
}

/* One line of status: the bit of what it told, of what must be there. */
static unsigned read_line(const char *line, struct identity *ret)
{
	const char *at;
	if ((at = text_after(line, "Umask:"))) {
		ret->umask = read_octal(at);
		return SEEN_UMASK;
	}
	if ((at = text_after(line, "Uid:")))
		return read_ids(at, &ret->euid, &ret->fsuid) ? SEEN_UID : 0;
	if ((at = text_after(line, "Gid:")))
		return read_ids(at, &ret->egid, &ret->fsgid) ? SEEN_GID : 0;
	if ((at = text_after(line, "Groups:"))) {
		text_copy(ret->groups, sizeof ret->groups, text_skip_blanks(at));
		return SEEN_GROUPS;
	}
	if ((at = text_after(line, "CapEff:"))) {
		at = text_skip_blanks(at);
		return text_read_hex(&at, &ret->capabilities) ? SEEN_CAPABILITIES : 0;
	}
	if (!read_number(line, "NoNewPrivs:", &ret->no_new_privs) && !read_number(line, "Seccomp:", &ret->seccomp))
		(void)read_number(line, "Seccomp_filters:", &ret->filters);
	return 0;
}

static int read_status(const char *path, struct identity *ret)
{
	char line[IDENTITY_GROUPS];
	struct stream stream;
	unsigned seen = 0;
	bool too_long = false;
	int error = stream_open(&stream, path);
	if (error)
		return error;
	while (stream_line(&stream, line, sizeof line)) {
		seen |= read_line(line, ret);
		too_long |= strlen(line) == sizeof line - 1;
	}
	stream_close(&stream);
	if (stream.error)
		return stream.error;
	return too_long ? -EOVERFLOW : seen == SEEN_ALL ? 0 : -ENODATA;
}

/* Not there, or -EINVAL: there is no security module that has any. */
static int read_label(const char *path, struct identity *ret)
{
	ssize_t n = file_read(path, ret->label, sizeof ret->label);
	if (n < 0)
		ret->label[0] = '\0';
	if (n < 0 && n != -ENOENT && n != -EINVAL)
		return (int)n;
	return n == sizeof ret->label - 1 ? -EOVERFLOW : 0;
}

static int read_namespace(const char *path, char ret[IDENTITY_NAME])
{
	long n = RAW_4(SYS_readlinkat, AT_FDCWD, path, ret, IDENTITY_NAME - 1);
	ret[n > 0 ? n : 0] = '\0';
	return n > 0 ? 0 : n < 0 ? (int)n : -ENODATA;
}

/* Without asking its file system. */
static int read_root(struct identity *ret)
{
	struct statx root;
	long error = RAW_5(SYS_statx, AT_FDCWD, "/", AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO | STATX_MNT_ID, &root);
	if (error)
		return (int)error;
	ret->root_dev = (uint64_t)root.stx_dev_major << 32 | root.stx_dev_minor;
	ret->root_inode = root.stx_ino;
	ret->root_mount = root.stx_mnt_id;
	return 0;
}

int identity_of_thread(struct identity *ret)
{
	memset(ret, 0, sizeof *ret);
	int error = read_status("/proc/thread-self/status", ret);
	if (!error)
		error = read_label("/proc/thread-self/attr/current", ret);
	if (!error)
		error = read_root(ret);
	if (!error)
		error = read_namespace("/proc/thread-self/ns/mnt", ret->mounts);
	if (!error)
		error = read_namespace("/proc/thread-self/ns/user", ret->users);
	return error;
}

int identity_of_process(pid_t pid, struct identity *ret)
{
	char path[48];
	memset(ret, 0, sizeof *ret);
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	int error = read_status(path, ret);
	snprintf(path, sizeof path, "/proc/%d/attr/current", (int)pid);
	return error ? error : read_label(path, ret);
}

bool identity_may_be_read_later(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

bool identity_same_tree(const struct identity *a, const struct identity *b)
{
	return a->root_dev == b->root_dev && a->root_inode == b->root_inode && a->root_mount == b->root_mount &&
	       text_equal(a->mounts, b->mounts) && text_equal(a->users, b->users);
}

const char *identity_difference(const struct identity *thread, const struct identity *process)
{
	if (thread->fsuid != process->fsuid)
		return "the file system uid (setfsuid(2), or a set-user-ID helper)";
	if (thread->fsgid != process->fsgid)
		return "the file system gid";
	if (!text_equal(thread->groups, process->groups))
		return "the groups";
	if (thread->capabilities != process->capabilities)
		return "the effective capabilities, which a new program is given by other rules";
	if (!text_equal(thread->label, process->label))
		return "the security label";
	if (process->no_new_privs < thread->no_new_privs || process->seccomp < thread->seccomp ||
	    process->filters < thread->filters)
		return "the seccomp filters, or no_new_privs";
	return thread->umask != process->umask ? "the umask" : NULL;
}

static bool same_confinement(const struct identity *a, const struct identity *b)
{
	return a->no_new_privs == b->no_new_privs && a->seccomp == b->seccomp && a->filters == b->filters;
}

bool identity_equal(const struct identity *a, const struct identity *b, bool also_umask)
{
	return a->fsuid == b->fsuid && a->fsgid == b->fsgid && a->capabilities == b->capabilities &&
	       text_equal(a->groups, b->groups) && text_equal(a->label, b->label) && same_confinement(a, b) &&
	       identity_same_tree(a, b) && (!also_umask || a->umask == b->umask);
}
