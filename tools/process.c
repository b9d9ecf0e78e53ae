/* SPDX-License-Identifier: MIT
 *
 * See process.h.
 */
#include "process.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/stream.h"
#include "inspect/task.h"
#include "memory.h"

enum { PATH_SIZE = 64 };

static void name_user(unsigned uid, char *buf, size_t size)
{
	FILE *users = fopen("/etc/passwd", "re");
	const struct passwd *user = NULL;

	while (users && (user = fgetpwent(users)) && user->pw_uid != uid)
		;
	if (user)
		snprintf(buf, size, "%s", user->pw_name);
	else
		snprintf(buf, size, "%u", uid);
	if (users)
		fclose(users);
}

void process_user(pid_t pid, char *buf, size_t size)
{
	char path[PATH_SIZE], text[1024];
	unsigned uid;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return;
	const char *line = strstr(text, "\nUid:");
	if (line && sscanf(line, "\nUid: %*u %u", &uid) == 1)
		name_user(uid, buf, size);
}

/* Where the arguments are: fields 48 and 49 of proc_pid_stat(5). */
static bool find_arguments(pid_t pid, unsigned long *begin, unsigned long *end)
{
	char path[PATH_SIZE], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return false;
	const char *at = strrchr(text, ')');
	for (int field = 2; at && field < 48; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, "%lu %lu", begin, end) == 2 && *end > *begin;
}

void process_command(pid_t pid, char *buf, size_t size)
{
	unsigned long begin, end;

	buf[0] = '\0';
	if (!find_arguments(pid, &begin, &end))
		return;
	size_t length = end - begin < size - 1 ? end - begin : size - 1;
	if (!memory_read(pid, begin, buf, length)) {
		buf[0] = '\0';
		return;
	}
	while (length && buf[length - 1] == '\0')
		length--;
	for (size_t i = 0; i < length; i++) {
		if (buf[i] == '\0')
			buf[i] = ' ';
		else if ((unsigned char)buf[i] < ' ' || buf[i] == 0x7f)
			buf[i] = '?';
	}
	buf[length] = '\0';
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Who runs what its first argument names. */
static bool is_interpreter(const char *name)
{
	static const char *const names[] = {"python", "pypy", "perl", "ruby", "node", "php",
	                                    "lua",    "bash", "dash", "zsh",  "ksh",  "sh"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t length = strlen(names[i]);
		if (strncmp(name, names[i], length) == 0 && name[length + strspn(name + length, "0123456789.-")] == '\0')
			return true;
	}
	return false;
}

bool process_is_called(pid_t pid, const char *name)
{
	char path[PATH_SIZE], text[4096];

	if (task_name(pid, pid, text) == 0 && strcmp(text, name) == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	int length = (int)file_read(path, text, sizeof(text));
	if (length <= 0)
		return false;
	const char *end = text + length, *word = text;
	if (strcmp(last_part(word), name) == 0)
		return true;
	if (!is_interpreter(last_part(word)))
		return false;
	do
		word += strlen(word) + 1;
	while (word < end && *word == '-');
	return word < end && strcmp(last_part(word), name) == 0;
}
