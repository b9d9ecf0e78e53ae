/* SPDX-License-Identifier: MIT
 *
 * See calls.h. The table is an array by number, so that a look-up in a signal handler is one bounds check and one load.
 */
#include <stddef.h>
#include "base/calls.h"

static const struct call calls[] = {
#define CALL(nr, format, fd, decision, marks, why) \
	[SYS_##nr] = {.name = #nr, .args = (format), .fd_arg = (fd), .verdict = (decision), .flags = (marks), .reason = (why)},
#include "base/syscalls.def"
#undef CALL
};

long call_limit(void)
{
	return (long)(sizeof(calls) / sizeof(calls[0]));
}

const struct call *call_find(long nr)
{
	return nr >= 0 && nr < call_limit() && calls[nr].name != NULL ? &calls[nr] : NULL;
}

/* The kernel takes the low 32 bits of an fd argument, whatever stands above them. */
static int fd_at(const unsigned long args[6], int index)
{
	int fd = (int)(unsigned)args[index];
	return fd < 0 ? -1 : fd;
}

int call_fd(const struct call *call, const unsigned long args[6])
{
	return call == NULL || call->fd_arg < 0 ? -1 : fd_at(args, call->fd_arg);
}

int call_second_fd(const struct call *call, const unsigned long args[6])
{
	int seen = 0;

	for (int i = 0; call != NULL && call->args[i] != '\0'; i++) {
		if (call->args[i] == 'f' && seen++ == 1)
			return fd_at(args, i);
	}
	return -1;
}
