/* SPDX-License-Identifier: MIT
 *
 * See locks.h. A lock that waits stands behind the one that it waits for, with an arrow:
 *     7: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF
 *     7: -> FLOCK  ADVISORY  WRITE 4712 08:01:1234 0 EOF
 * An open file description's lock belongs to no process (-1), and a flock may have outlived the process that took it (a child has the
 * description too): then those that have the description open are looked for, by the "lock:" line of their fdinfo.
 */
#include "locks.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/stream.h"
#include "targets.h"

enum { LINE_SIZE = 160 };

struct lock {
	long id;
	bool waits;
	char kind[12];
	int pid;
	unsigned major, minor;
	unsigned long long inode;
};

static bool parse(const char *line, struct lock *ret)
{
	int length;

	*ret = (struct lock){0};
	if (sscanf(line, "%ld: %n", &ret->id, &length) != 1)
		return false;
	line += length;
	if (strncmp(line, "->", 2) == 0) {
		ret->waits = true;
		line += 2;
	}
	return sscanf(line, " %11s %*s %*s %d %x:%x:%llu", ret->kind, &ret->pid, &ret->major, &ret->minor, &ret->inode) == 5;
}

/* The inode number alone; its device is not in there. 0: unknown (before Linux 5.14). */
static uint64_t inode_of(pid_t pid, int fd)
{
	char path[64], text[512];
	unsigned long long inode;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
	if (file_read(path, text, sizeof(text)) <= 0)
		return 0;
	const char *at = strstr(text, "\nino:");
	return at && sscanf(at, "\nino: %llu", &inode) == 1 ? inode : 0;
}

static bool find_held(pid_t waiter, uint64_t inode, const char *kind, struct lock *held)
{
	char line[LINE_SIZE];
	struct stream stream;
	struct lock lock, last = {.id = -1};
	bool found = false;

	if (stream_open(&stream, "/proc/locks") < 0)
		return false;
	while (!found && stream_line(&stream, line, sizeof(line))) {
		if (!parse(line, &lock))
			continue;
		if (!lock.waits)
			last = lock;
		else if (lock.id == last.id && strcmp(lock.kind, kind) == 0)
			found = (lock.pid == waiter || lock.pid == -1) && (!inode || inode == lock.inode);
	}
	stream_close(&stream);
	*held = last;
	return found;
}

/* ---- who has the description open */

static bool is_lock_of(const char *directory, const char *name, const struct lock *held)
{
	char path[300], line[LINE_SIZE];
	struct stream stream;
	struct lock lock;
	bool found = false;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (stream_open(&stream, path) < 0)
		return false;
	while (!found && stream_line(&stream, line, sizeof(line)))
		found = strncmp(line, "lock:", 5) == 0 && parse(line + 5 + strspn(line + 5, " \t"), &lock) && !lock.waits &&
		        strcmp(lock.kind, held->kind) == 0 && lock.inode == held->inode && lock.major == held->major &&
		        lock.minor == held->minor;
	stream_close(&stream);
	return found;
}

static bool has_description(pid_t pid, const struct lock *held)
{
	char directory[32];
	struct dirent *entry;
	bool found = false;

	snprintf(directory, sizeof(directory), "/proc/%d/fdinfo", (int)pid);
	DIR *dir = opendir(directory);
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.' && is_lock_of(directory, entry->d_name, held);
	closedir(dir);
	return found;
}

static pid_t find_description(const struct lock *held)
{
	struct pid_list processes = {0};
	pid_t found = 0;

	targets_all(&processes, false);
	for (size_t i = 0; !found && i < processes.count; i++) {
		if (has_description(processes.at[i], held))
			found = processes.at[i];
	}
	pid_list_free(&processes);
	return found;
}

pid_t locks_holder(pid_t waiter, int fd, const char *kind)
{
	struct lock held;

	if (!find_held(waiter, inode_of(waiter, fd), kind, &held))
		return 0;
	if (held.pid > 0 && kill(held.pid, 0) == 0)
		return held.pid;
	return find_description(&held);
}
