/* SPDX-License-Identifier: MIT
 *
 * A helper that lies. How, the last part of the name says by which it was started: a link to this program. What is not about the lie
 * is answered as if it had been carried out.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper/protocol.h"

static const char *lie;
static unsigned char *windows;

static bool lies(const char *how)
{
	return !strcmp(lie, how);
}

static void take_what_is_given(void)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char greeting;
	struct iovec part = {&greeting, 1};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	if (recvmsg(HELPER_CONTROL, &head, 0) != 1)
		_exit(1);
	windows = mmap(NULL, HELPER_PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, HELPER_MEMORY, 0);
}

static void say_hello(void)
{
	struct helper_reply hello = {.version = HELPER_VERSION};
	hello.version += lies("hello-version");
	hello.id += lies("hello-id");
	hello.result = lies("hello-error") ? -ENOSYS : 0;
	if (lies("no-hello"))
		pause();
	if (lies("exits"))
		_exit(0);
	if (send(HELPER_CONTROL, &hello, sizeof hello - lies("hello-short"), 0) < 0 || lies("hello-and-exits"))
		_exit(1);
}

static void send_with_fd(int fd, const void *reply, size_t size)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec part = {(void *)(size_t)reply, size};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &(int){HELPER_MEMORY}, sizeof(int));
	if (sendmsg(fd, &head, 0) < 0)
		_exit(1);
}

static void answer(int fd, const struct helper_request *request)
{
	union {
		struct helper_reply reply;
		char room[4096];
	} out = {.reply = {.version = HELPER_VERSION, .id = request->id, .result = request->length}};
	size_t size = sizeof out.reply;
	bool opens = request->opcode == HELPER_OPEN;
	if (opens && !lies("at-once")) {
		out.reply.result = 0; /* the lie is about what comes after it */
	} else if (lies("short")) {
		size--;
	} else if (lies("empty")) {
		size = 1;
	} else if (lies("long")) {
		size = sizeof out;
	} else if (lies("id")) {
		out.reply.id++;
	} else if (lies("version")) {
		out.reply.version++;
	} else if (lies("flags")) {
		out.reply.flags = 6;
	} else if (lies("count")) {
		out.reply.result = (int64_t)request->length + 1;
	} else if (lies("huge")) {
		out.reply.result = INT64_MAX;
	} else if (lies("errno")) {
		out.reply.result = -4096;
	} else if (lies("at-once")) {
		out.reply.result = 7; /* an fd, it says */
	} else if (lies("fd")) {
		send_with_fd(fd, &out.reply, size);
		return;
	} else if (lies("hangs-up")) {
		shutdown(fd, SHUT_RDWR);
		return;
	} else if (lies("dies")) {
		_exit(1);
	} else if (lies("entries")) {
		memset(windows, 0xff, HELPER_PAGES_SIZE);
	} else if (lies("goes-on")) {
		out.reply.result = 1;
		out.reply.flags = HELPER_GOES_ON; /* for ever, if one let it */
	}
	if (send(fd, &out, size, 0) < 0 || (lies("twice") && !opens && send(fd, &out, size, 0) < 0))
		_exit(1);
}

int main(void)
{
	struct pollfd fds[HELPER_CHANNELS + 1] = {{.fd = HELPER_CONTROL, .events = POLLIN}};
	const char *dash = strrchr((const char *)getauxval(AT_EXECFN), '=');
	lie = dash ? dash + 1 : "";
	alarm(60);
	take_what_is_given();
	say_hello();
	for (int i = 1; i <= HELPER_CHANNELS; i++)
		fds[i] = (struct pollfd){.fd = HELPER_CHANNELS_FROM + i - 1, .events = POLLIN};
	for (;;) {
		poll(fds, HELPER_CHANNELS + 1, -1);
		if (fds[0].revents)
			_exit(0);
		for (int i = 1; i <= HELPER_CHANNELS; i++) {
			struct helper_message message;
			if (!fds[i].revents)
				continue;
			if (recv(fds[i].fd, &message, sizeof message, 0) <= 0)
				fds[i].fd = -1;
			else
				answer(fds[i].fd, &message.request);
		}
	}
}
