/* SPDX-License-Identifier: MIT
 *
 * See holders.h. The mode of a link in /proc/PID/fd tells how the fd is open (proc_pid_fd(5)), and costs no look behind it. A FIFO's links are paths; its two ends are not found.
 */
#include "holders.h"

#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "targets.h"

struct entry {
	uint64_t inode;
	enum holder_kind kind;
	pid_t pid;
	mode_t mode; /* of the link itself: S_IRUSR it is open for reading, S_IWUSR for writing */
};

static struct {
	struct entry *at;
	size_t count, room;
	bool loaded;
} all;

static void add(struct entry entry)
{
	if (all.count == all.room) {
		all.room = all.room ? 2 * all.room : 1024;
		all.at = reallocarray(all.at, all.room, sizeof(*all.at));
		if (!all.at)
			out_of_memory();
	}
	all.at[all.count++] = entry;
}

static void add_link(pid_t pid, int directory, const char *name, const char *link)
{
	unsigned long long inode;
	struct stat stat;

	if (sscanf(link, "socket:[%llu]", &inode) == 1)
		add((struct entry){inode, HOLDS_SOCKET, pid, 0});
	else if (sscanf(link, "pipe:[%llu]", &inode) == 1 && fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) == 0)
		add((struct entry){inode, HOLDS_PIPE, pid, stat.st_mode});
}

static void add_process(pid_t pid)
{
	char path[64], link[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		if (length <= 0)
			continue;
		link[length] = '\0';
		add_link(pid, dirfd(dir), entry->d_name, link);
	}
	closedir(dir);
}

static int compare(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;

	if (one->inode != other->inode)
		return one->inode < other->inode ? -1 : 1;
	if (one->kind != other->kind)
		return one->kind < other->kind ? -1 : 1;
	return (one->pid > other->pid) - (one->pid < other->pid);
}

static void load(void)
{
	struct pid_list processes = {0};

	targets_all(&processes, false);
	for (size_t i = 0; i < processes.count; i++)
		add_process(processes.at[i]);
	pid_list_free(&processes);
	if (all.count)
		qsort(all.at, all.count, sizeof(*all.at), compare);
	all.loaded = true;
}

static size_t first_of(enum holder_kind kind, uint64_t inode)
{
	struct entry key = {.inode = inode, .kind = kind};
	size_t low = 0, high = all.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(&all.at[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

pid_t holders_find(enum holder_kind kind, uint64_t inode, mode_t end, pid_t not_this, unsigned *more)
{
	pid_t found = 0, last = 0;

	*more = 0;
	if (!all.loaded)
		load();
	for (size_t i = first_of(kind, inode); i < all.count && all.at[i].inode == inode && all.at[i].kind == kind; i++) {
		const struct entry *entry = &all.at[i];
		if (entry->pid == last || (entry->mode & end) != end)
			continue;
		last = entry->pid;
		*more += found != 0;
		if (found == 0 || found == not_this)
			found = entry->pid;
	}
	return found;
}

void holders_forget(void)
{
	free(all.at);
	memset(&all, 0, sizeof(all));
}
