/* SPDX-License-Identifier: MIT
 *
 * See decode.h.
 */
#include "decode.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/calls.h"
#include "memory.h"

struct argument {
	pid_t pid;
	long nr;
	unsigned long value, next; /* next: a socket address's size follows it */
};

static void add_format(struct text *text, const char *format, unsigned long value)
{
	char buf[32];
	snprintf(buf, sizeof(buf), format, value);
	text_add(text, buf);
}

static void add_pointer(const struct argument *argument, struct text *text)
{
	if (argument->value)
		add_format(text, "0x%lx", argument->value);
	else
		text_add(text, "NULL");
}

static void add_string(const struct argument *argument, struct text *text)
{
	char string[128];

	if (!memory_read_string(argument->pid, argument->value, string, sizeof(string))) {
		add_pointer(argument, text);
		return;
	}
	text_add_char(text, '"');
	text_add(text, string);
	text_add(text, strlen(string) == sizeof(string) - 1 ? "\"..." : "\"");
}

void decode_time(const struct timespec *time, struct text *text)
{
	char buf[48];

	snprintf(buf, sizeof(buf), "%lld.%09ld", (long long)time->tv_sec, time->tv_nsec);
	for (size_t end = strlen(buf); buf[end - 1] == '0' || buf[end - 1] == '.'; end--) {
		bool dot = buf[end - 1] == '.';
		buf[end - 1] = '\0';
		if (dot)
			break;
	}
	text_add(text, buf);
	text_add_char(text, 's');
}

static void add_time(const struct argument *argument, struct text *text)
{
	struct timespec time;

	if (!memory_read(argument->pid, argument->value, &time, sizeof(time))) {
		add_pointer(argument, text);
		return;
	}
	if (argument->nr == SYS_select)
		time.tv_nsec *= 1000; /* a timeval */
	decode_time(&time, text);
}

static bool add_inet(int family, const void *bytes, in_port_t port, struct text *text)
{
	char buf[INET6_ADDRSTRLEN];

	if (!inet_ntop(family, bytes, buf, sizeof(buf)))
		return false;
	text_add(text, family == AF_INET6 ? "[" : "");
	text_add(text, buf);
	text_add(text, family == AF_INET6 ? "]:" : ":");
	text_add_unsigned(text, ntohs(port));
	return true;
}

static bool add_unix(const struct sockaddr_un *address, size_t size, struct text *text)
{
	size_t length = size - offsetof(struct sockaddr_un, sun_path);

	if (size <= offsetof(struct sockaddr_un, sun_path))
		return false;
	if (address->sun_path[0] == '\0') {
		text_add_char(text, '@');
		text_add_part(text, address->sun_path + 1, length - 1);
	} else {
		text_add_part(text, address->sun_path, strnlen(address->sun_path, length));
	}
	return true;
}

bool decode_address(pid_t pid, unsigned long address, unsigned long size, struct text *text)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} buf;

	if (size < sizeof(sa_family_t) || size > sizeof(buf))
		return false;
	memset(&buf, 0, sizeof(buf));
	if (!memory_read(pid, address, &buf, size))
		return false;
	switch (buf.any.sa_family) {
	case AF_INET:
		return add_inet(AF_INET, &buf.in.sin_addr, buf.in.sin_port, text);
	case AF_INET6:
		return add_inet(AF_INET6, &buf.in6.sin6_addr, buf.in6.sin6_port, text);
	case AF_UNIX:
		return add_unix(&buf.un, size, text);
	default:
		return false;
	}
}

static void add_signal(const struct argument *argument, struct text *text)
{
	const char *name = argument->value < 65 ? sigabbrev_np((int)argument->value) : NULL;

	if (name) {
		text_add(text, "SIG");
		text_add(text, name);
	} else {
		text_add_unsigned(text, argument->value);
	}
}

static void add_directory(const struct argument *argument, struct text *text)
{
	if ((int)argument->value == AT_FDCWD)
		text_add(text, "AT_FDCWD");
	else
		text_add_decimal(text, (int)argument->value);
}

static void add_argument(char letter, const struct argument *argument, struct text *text)
{
	switch (letter) {
	case 'F':
		add_directory(argument, text);
		break;
	case 'f':
	case 'd':
	case 'i':
		text_add_decimal(text, (int)argument->value);
		break;
	case 'o':
		text_add_decimal(text, (int64_t)argument->value);
		break;
	case 'u':
		text_add_unsigned(text, argument->value);
		break;
	case 'x':
		add_format(text, "0x%lx", argument->value);
		break;
	case 'm':
		add_format(text, "0%lo", argument->value);
		break;
	case 's':
		add_string(argument, text);
		break;
	case 't':
		add_time(argument, text);
		break;
	case 'g':
		add_signal(argument, text);
		break;
	case 'a':
		if (!decode_address(argument->pid, argument->value, argument->next, text))
			add_pointer(argument, text);
		break;
	default: /* p v */
		add_pointer(argument, text);
	}
}

void decode_arguments(pid_t pid, long nr, const unsigned long arguments[6], struct text *text)
{
	const struct call *call = call_find(nr);
	const char *letters = call ? call->args : "xxxxxx";

	for (size_t i = 0; letters[i] && i < 6; i++) {
		struct argument argument = {.pid = pid, .nr = nr, .value = arguments[i], .next = i < 5 ? arguments[i + 1] : 0};
		if (i)
			text_add(text, ", ");
		add_argument(letters[i], &argument, text);
	}
}
