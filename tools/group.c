/* SPDX-License-Identifier: MIT
 *
 * See group.h. Signals go by pidfd to each member, not to the group: KILL would end this process before it could reap, and the
 * neighbours in a pipeline would be hit.
 */
#include "group.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/stream.h"

enum { ROUNDS = 100 }; /* against a member that forks faster than it is hit */

void group_start(struct group *group, bool foreground)
{
	pid_t self = getpid();

	*group = (struct group){0};
	if (foreground)
		return;
	group->has_siblings = getpgrp() == self && getsid(0) != self;
	if (setpgid(0, 0) == 0 || getpgrp() == self) /* EPERM: it leads a session, and so a group */
		group->id = self;
}

struct kin {
	char state;
	pid_t parent;
};

static bool read_kin(pid_t pid, struct kin *kin)
{
	char path[64], text[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return false;
	const char *rest = strrchr(text, ')'); /* the name before it may hold anything */
	return rest && sscanf(rest + 1, " %c %d", &kin->state, &kin->parent) == 2;
}

static bool is_member(const struct group *group, pid_t pid)
{
	struct kin kin;
	bool in_group = group->id && getpgid(pid) == group->id; /* asked first: it costs a hundredth of a read from /proc */

	if (pid == getpid() || !(in_group || pid == group->command))
		return false;
	if (!read_kin(pid, &kin) || kin.state == 'Z' || kin.state == 'X')
		return false;
	return pid == group->command || !(group->has_siblings && kin.parent == getppid());
}

void group_list(const struct group *group, struct pid_list *list)
{
	struct pid_list all = {0};

	if (group->id)
		targets_all(&all, true);
	else if (group->command)
		pid_list_add(&all, group->command);
	for (size_t i = 0; i < all.count; i++)
		if (is_member(group, all.at[i]))
			pid_list_add(list, all.at[i]);
	pid_list_free(&all);
}

/* The pidfd is opened first: what is then a member is what it stands for. */
static void send_one(const struct group *group, pid_t pid, int signal)
{
	int fd = pidfd_open(pid, 0);

	if (fd < 0)
		return;
	if (is_member(group, pid)) {
		pidfd_send_signal(fd, signal, NULL, 0);
		if (signal != SIGKILL && signal != SIGCONT)
			pidfd_send_signal(fd, SIGCONT, NULL, 0);
	}
	close(fd);
}

static bool holds(const struct pid_list *list, pid_t pid)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->at[i] == pid)
			return true;
	return false;
}

/* How many had not been sent it before. */
static size_t send_round(const struct group *group, int signal, struct pid_list *sent)
{
	struct pid_list now = {0};
	size_t before = sent->count;

	group_list(group, &now);
	for (size_t i = 0; i < now.count; i++) {
		if (!holds(sent, now.at[i])) {
			send_one(group, now.at[i], signal);
			pid_list_add(sent, now.at[i]);
		}
	}
	pid_list_free(&now);
	return sent->count - before;
}

void group_signal(const struct group *group, int signal)
{
	struct pid_list sent = {0};

	for (int i = 0; i < ROUNDS && send_round(group, signal, &sent) > 0; i++)
		;
	pid_list_free(&sent);
}
