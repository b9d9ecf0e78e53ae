/* SPDX-License-Identifier: MIT
 *
 * See object.h: calls that wait on several fds.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>

#include "base/stream.h"
#include "memory.h"
#include "question.h"

enum { SHOWN_FDS = 2 };

struct fd_list {
	int at[SHOWN_FDS];
	unsigned count;
};

static void list_fd(struct fd_list *list, int fd)
{
	if (list->count < SHOWN_FDS)
		list->at[list->count] = fd;
	list->count++;
}

/* "fd 3 pipe:[12], fd 4 socket unix +5" */
static void add_list(const struct question *question, const struct fd_list *list)
{
	unsigned shown = list->count < SHOWN_FDS ? list->count : SHOWN_FDS;

	for (unsigned i = 0; i < shown; i++) {
		text_add(question->text, i ? ", fd " : "fd ");
		text_add_decimal(question->text, list->at[i]);
		text_add_char(question->text, ' ');
		object_add_fd(question, list->at[i], list->count == 1 ? AND_ITS_PEER : NOT_ITS_PEER);
	}
	if (list->count > shown) {
		text_add(question->text, " +");
		text_add_unsigned(question->text, list->count - shown);
	}
}

void object_poll(const struct question *question)
{
	unsigned long at = question->arguments[0], count = question->arguments[1];
	struct fd_list list = {0};
	struct pollfd one;

	if (count == 0)
		text_add(question->text, "no fd: a sleep");
	for (unsigned long i = 0; i < count && i < 1024 && memory_read(question->pid, at, &one, sizeof(one)); i++) {
		if (one.fd >= 0)
			list_fd(&list, one.fd);
		at += sizeof(one);
	}
	add_list(question, &list);
}

void object_select(const struct question *question)
{
	size_t count = question->arguments[0] < FD_SETSIZE ? question->arguments[0] : FD_SETSIZE;
	size_t size = (count + 63) / 64 * 8; /* the kernel's sets are of longs */
	fd_set sets[3];
	struct fd_list list = {0};

	memset(sets, 0, sizeof(sets));
	for (size_t i = 0; i < 3; i++)
		memory_read(question->pid, question->arguments[1 + i], &sets[i], size);
	for (size_t fd = 0; fd < count; fd++) {
		if (FD_ISSET(fd, &sets[0]) || FD_ISSET(fd, &sets[1]) || FD_ISSET(fd, &sets[2]))
			list_fd(&list, (int)fd);
	}
	if (list.count == 0)
		text_add(question->text, "no fd: a sleep");
	add_list(question, &list);
}

void object_epoll(const struct question *question)
{
	char path[64], line[128];
	struct stream stream;
	struct fd_list list = {0};
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)question->pid, call_fd(question->call, question->arguments));
	if (stream_open(&stream, path) < 0)
		return;
	while (stream_line(&stream, line, sizeof(line))) {
		if (sscanf(line, "tfd: %d", &fd) == 1)
			list_fd(&list, fd);
	}
	stream_close(&stream);
	text_add(question->text, list.count ? "eventpoll: " : "eventpoll: nothing");
	add_list(question, &list);
}
