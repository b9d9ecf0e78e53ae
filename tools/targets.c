/* SPDX-License-Identifier: MIT
 *
 * See targets.h.
 */
#include "targets.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/stream.h"
#include "command.h"
#include "parse.h"
#include "process.h"

enum { PATH_SIZE = 64 };

void pid_list_add(struct pid_list *list, pid_t pid)
{
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 64;
		list->at = reallocarray(list->at, list->room, sizeof(*list->at));
		if (!list->at)
			out_of_memory();
	}
	list->at[list->count++] = pid;
}

void pid_list_free(struct pid_list *list)
{
	free(list->at);
	*list = (struct pid_list){0};
}

static int by_number(const void *a, const void *b)
{
	pid_t one = *(const pid_t *)a, other = *(const pid_t *)b;
	return (one > other) - (one < other);
}

/* The names in `directory` that are numbers. 0 or -errno. */
static int add_numbers(struct pid_list *list, const char *directory)
{
	size_t first = list->count;
	struct dirent *entry;
	DIR *dir = opendir(directory);
	long number;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		if (parse_number(entry->d_name, INT32_MAX, &number))
			pid_list_add(list, (pid_t)number);
	}
	closedir(dir);
	if (list->count > first)
		qsort(list->at + first, list->count - first, sizeof(*list->at), by_number);
	return 0;
}

/* The kernel's own threads have no arguments; a process may have none either, but it has an executable or is a zombie. */
static bool is_kernel_thread(pid_t pid)
{
	char path[PATH_SIZE], text[512];
	unsigned flags;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return false;
	const char *rest = strrchr(text, ')');
	enum { PF_KTHREAD = 0x00200000 }; /* include/linux/sched.h; field 9 of proc_pid_stat(5) */
	return rest && sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && (flags & PF_KTHREAD);
}

void targets_all(struct pid_list *list, bool kernel)
{
	struct pid_list all = {0};

	if (add_numbers(&all, "/proc") < 0)
		complain("/proc cannot be read: nothing can be seen of other processes: mount it with mount -t proc proc /proc");
	for (size_t i = 0; i < all.count; i++) {
		if (all.at[i] != getpid() && (kernel || !is_kernel_thread(all.at[i])))
			pid_list_add(list, all.at[i]);
	}
	pid_list_free(&all);
}

pid_t targets_process_of(pid_t tid)
{
	char path[PATH_SIZE], text[1024];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return 0;
	line = strstr(text, "\nTgid:");
	return line ? (pid_t)strtol(line + strlen("\nTgid:"), NULL, 10) : 0;
}

static void add_once(struct pid_list *list, pid_t pid)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->at[i] == pid)
			return;
	}
	pid_list_add(list, pid);
}

size_t targets_find(struct pid_list *list, const char *word)
{
	struct pid_list all = {0};
	size_t found = 0;
	long pid;

	if (parse_number(word, INT32_MAX, &pid)) {
		if (pid == 0 || targets_process_of((pid_t)pid) != pid)
			return 0;
		add_once(list, (pid_t)pid);
		return 1;
	}
	targets_all(&all, true);
	for (size_t i = 0; i < all.count; i++) {
		if (!process_is_called(all.at[i], word))
			continue;
		add_once(list, all.at[i]);
		found++;
	}
	pid_list_free(&all);
	return found;
}

int targets_threads(struct pid_list *list, pid_t pid)
{
	char path[PATH_SIZE];
	int error;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	error = add_numbers(list, path);
	return error == -ENOENT ? -ESRCH : error;
}
