/* SPDX-License-Identifier: MIT
 *
 * What a call is as a request, and what its reply is to the caller: fds, handles, paths, the bytes in the window. Each is made by the
 * calling thread, on a channel that it has taken. What it does not do: send, wait, or decide which helper is asked.
 */
#include "helper/message.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A path that begins at the root does not begin at fd[which]. */
static bool uses_fd(const struct helper_call *call, unsigned which)
{
	bool has_file = which == 0 && !call->path[0];
	return has_file || (call->path[which] && call->path[which][0] != '/');
}

bool call_names_handle(const struct helper_call *call, unsigned which)
{
	return uses_fd(call, which) && helper_is_handle(call->fd[which]);
}

static bool begins_at_cwd(const struct helper_call *call, unsigned which)
{
	return call->path[which] && uses_fd(call, which) && call->fd[which] == AT_FDCWD;
}

bool call_uses_cwd(const struct helper_call *call)
{
	return begins_at_cwd(call, 0) || begins_at_cwd(call, 1);
}

int passing_collect(const struct helper_call *call, struct passing *passing)
{
	*passing = (struct passing){.count = 0};
	for (unsigned i = 0; i < 2; i++) {
		if (!uses_fd(call, i) || call_names_handle(call, i))
			continue;
		int fd = !begins_at_cwd(call, i) ? call->fd[i] : call->has_cwd ? call->cwd : -1;
		if (fd < 0)
			return -EBADF;
		passing->fds[passing->count++] = fd;
	}
	return 0;
}

static void name_fds(const struct helper_call *call, struct channel *channel)
{
	for (unsigned i = 0; i < 2; i++) {
		channel->used[i] = call_names_handle(call, i) ? handle_find(call->fd[i]) : NULL;
		if (channel->used[i])
			channel->used[i]->uses++;
		channel->asked.at[i] = channel->used[i]   ? (int32_t)handle_slot(channel->used[i])
		                       : uses_fd(call, i) ? HELPER_PASSED
		                                          : HELPER_NOWHERE;
	}
}

int message_fill(const struct helper_call *call, struct helper *helper, struct channel *channel, size_t moved, uint32_t length)
{
	struct helper_request *asked = &channel->asked;
	name_fds(call, channel);
	asked->opcode = call->opcode;
	asked->flags = call->flags;
	asked->mode = call->mode;
	asked->length = length;
	asked->offset = call->offset >= 0 ? (int64_t)((uint64_t)call->offset + moved) : -1; /* a liar may have moved too much */
	for (unsigned i = 0; i < 2; i++)
		asked->path_size[i] = call->path[i] ? (uint32_t)strlen(call->path[i]) + 1 : 0;
	if (call->opcode != HELPER_OPEN)
		return 0;
	channel->made = handle_new(helper);
	if (!channel->made)
		return -EMFILE;
	asked->slot = handle_slot(channel->made);
	return 0;
}

void message_copy_paths(const struct helper_call *call, const struct helper_request *asked, struct helper_message *message)
{
	for (unsigned i = 0; i < 2; i++)
		if (call->path[i])
			memcpy(message->paths + (i ? asked->path_size[0] : 0), call->path[i], asked->path_size[i]);
}

void message_copy_data(const struct helper_call *call, size_t from, unsigned char *window, size_t size, bool into_window)
{
	for (const struct iovec *iov = call->iov; size; iov++) {
		size_t skipped = from < iov->iov_len ? from : iov->iov_len, part = iov->iov_len - skipped;
		unsigned char *memory = (unsigned char *)iov->iov_base + skipped;
		from -= skipped;
		part = part < size ? part : size;
		if (part)
			memcpy(into_window ? window : memory, into_window ? memory : window, part);
		window += part;
		size -= part;
	}
}

long message_take_data(const struct helper_call *call, struct helper *helper, const struct channel *channel, size_t moved,
                       long result)
{
	size_t size = call->opcode == HELPER_STATX ? sizeof(struct statx) : call->opcode == HELPER_WRITE ? 0 : (size_t)result;
	if (call->iov)
		message_copy_data(call, moved, channel->window, size, false);
	if (call->opcode != HELPER_READDIR || helper_entries_are_valid(call->iov->iov_base, size))
		return result;
	helper_take_lock();
	helper_lose(helper, NEWS_MALFORMED);
	helper_drop_lock();
	return -EPROTO;
}
