/* SPDX-License-Identifier: MIT
 *
 * See sockets.h. /proc/PID/net has the sockets of any namespace, but not which unix sockets are connected to each other: that is asked
 * of sock_diag(7), which answers for this process's own namespace only.
 */
#include "sockets.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"
#include "inspect/socket.h"

struct entry {
	uint64_t inode, peer;
	char *text;
};

struct space {
	struct space *next;
	char name[32]; /* "net:[4026531840]" */
	struct entry *at;
	size_t count, room;
	struct entry **by_text; /* TCP only: to find the other end */
	size_t tcp_count;
};

static struct space *spaces;

static void space_name(pid_t pid, char name[32])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	ssize_t length = readlink(path, name, 31);
	name[length > 0 ? length : 0] = '\0';
}

static void add(void *arg, uint64_t inode, const char *text)
{
	struct space *space = arg;

	if (inode == 0)
		return; /* nobody has it open */
	if (space->count == space->room) {
		space->room = space->room ? 2 * space->room : 256;
		space->at = reallocarray(space->at, space->room, sizeof(*space->at));
		if (!space->at)
			out_of_memory();
	}
	char *copy = strdup(text);
	if (!copy)
		out_of_memory();
	space->at[space->count++] = (struct entry){.inode = inode, .text = copy};
}

static int by_inode(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;
	return (one->inode > other->inode) - (one->inode < other->inode);
}

static struct entry *find(struct space *space, uint64_t inode)
{
	struct entry key = {.inode = inode};
	return space->count ? bsearch(&key, space->at, space->count, sizeof(key), by_inode) : NULL;
}

/* ---- the other ends: unix */

static void note_peer(struct space *space, const struct nlmsghdr *header)
{
	const struct unix_diag_msg *message = NLMSG_DATA(header);
	const struct rtattr *attribute = (const struct rtattr *)(message + 1);
	unsigned length = (unsigned)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));
	struct entry *entry = find(space, message->udiag_ino);

	for (; entry && RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
		if (attribute->rta_type == UNIX_DIAG_PEER)
			entry->peer = *(const uint32_t *)RTA_DATA(attribute);
	}
}

/* False at the end of the answer. */
static bool take_messages(struct space *space, const void *buf, size_t size)
{
	const struct nlmsghdr *header = buf;
	size_t left = size;

	while (left >= sizeof(*header) && header->nlmsg_len >= sizeof(*header) && header->nlmsg_len <= left) {
		if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
			return false; /* NLMSG_DONE or NLMSG_ERROR */
		note_peer(space, header);
		size_t step = NLMSG_ALIGN(header->nlmsg_len);
		if (step >= left)
			break;
		left -= step;
		header = (const struct nlmsghdr *)((const char *)header + step);
	}
	return true;
}

static void find_unix_peers(struct space *space)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req request;
	} ask = {.header = {.nlmsg_len = sizeof(ask), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	         .request = {.sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_show = UDIAG_SHOW_PEER}};
	_Alignas(struct nlmsghdr) char buf[16384];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	ssize_t size;

	if (fd < 0)
		return;
	if (send(fd, &ask, sizeof(ask), 0) == sizeof(ask)) {
		do
			size = recv(fd, buf, sizeof(buf), 0);
		while (size > 0 && take_messages(space, buf, (size_t)size));
	}
	close(fd);
}

/* ---- the other ends: TCP on this machine */

static int by_text(const void *a, const void *b)
{
	return strcmp((*(struct entry *const *)a)->text, (*(struct entry *const *)b)->text);
}

/* The text without its state, so that both ends read alike: "socket tcp A -> B". */
static bool is_connected_tcp(const char *text)
{
	return strncmp(text, "socket tcp ", 11) == 0 && strstr(text, " -> ") && strspn(text + 11, "0123456789[") > 0;
}

static void index_tcp(struct space *space)
{
	space->by_text = calloc(space->count + 1, sizeof(*space->by_text));
	if (!space->by_text)
		out_of_memory();
	for (size_t i = 0; i < space->count; i++) {
		if (is_connected_tcp(space->at[i].text))
			space->by_text[space->tcp_count++] = &space->at[i];
	}
	if (space->tcp_count)
		qsort(space->by_text, space->tcp_count, sizeof(*space->by_text), by_text);
}

static uint64_t find_tcp_peer(const struct space *space, const struct entry *entry)
{
	char reversed[160];
	const char *own = entry->text + 11, *arrow = strstr(own, " -> ");

	if (!is_connected_tcp(entry->text))
		return 0;
	snprintf(reversed, sizeof(reversed), "socket tcp %s -> %.*s", arrow + 4, (int)(arrow - own), own);
	struct entry key = {.text = reversed}, *key_at = &key;
	struct entry **other = bsearch(&key_at, space->by_text, space->tcp_count, sizeof(key_at), by_text);
	return other ? (*other)->inode : 0;
}

/* ---- */

static struct space *load(pid_t pid, const char *name)
{
	struct space *space = calloc(1, sizeof(*space));
	char own[32];

	if (!space)
		out_of_memory();
	memcpy(space->name, name, sizeof(space->name));
	socket_each(pid, add, space);
	if (space->count)
		qsort(space->at, space->count, sizeof(*space->at), by_inode);
	space_name(getpid(), own);
	if (strcmp(own, name) == 0)
		find_unix_peers(space);
	index_tcp(space);
	space->next = spaces;
	spaces = space;
	return space;
}

static struct space *space_of(pid_t pid)
{
	char name[32];

	space_name(pid, name);
	for (struct space *space = spaces; space; space = space->next) {
		if (strcmp(space->name, name) == 0)
			return space;
	}
	return load(pid, name);
}

const char *sockets_find(pid_t pid, uint64_t inode)
{
	const struct entry *entry = find(space_of(pid), inode);
	return entry ? entry->text : NULL;
}

uint64_t sockets_peer(pid_t pid, uint64_t inode)
{
	const struct space *space = space_of(pid);
	const struct entry *entry = find(space_of(pid), inode);

	if (!entry)
		return 0;
	return entry->peer ? entry->peer : find_tcp_peer(space, entry);
}

void sockets_forget(void)
{
	while (spaces) {
		struct space *space = spaces;
		spaces = space->next;
		for (size_t i = 0; i < space->count; i++)
			free(space->at[i].text);
		free(space->at);
		free(space->by_text);
		free(space);
	}
}
