/* SPDX-License-Identifier: MIT */
#include "helper/protocol.h"

#include <dirent.h>
#include <string.h>

enum { MOST_ERRNO = 4095 };

/* What a request of each kind has. */
static const struct shape {
	bool has_file, has_data, has_slot;
	unsigned char paths;
} shapes[HELPER_LAST + 1] = {
        [HELPER_OPEN] = {.paths = 1, .has_slot = true},
        [HELPER_CLOSE] = {.has_slot = true},
        [HELPER_READ] = {.has_file = true, .has_data = true},
        [HELPER_WRITE] = {.has_file = true, .has_data = true},
        [HELPER_FSYNC] = {.has_file = true},
        [HELPER_STATX] = {.paths = 1},
        [HELPER_READDIR] = {.has_file = true, .has_data = true},
        [HELPER_UNLINK] = {.paths = 1},
        [HELPER_RENAME] = {.paths = 2},
};

static bool is_place(int32_t at)
{
	return at == HELPER_NOWHERE || at == HELPER_PASSED || (at >= 0 && at < HELPER_SLOTS);
}

/* ---- requests */

static bool path_is_valid(const char *path, size_t size, int32_t at)
{
	bool is_string = size >= 1 && size <= HELPER_PATH && memchr(path, '\0', size) == path + size - 1;
	return is_string && (at != HELPER_NOWHERE || path[0] == '/');
}

static bool paths_are_valid(const struct helper_message *message, unsigned count)
{
	const struct helper_request *request = &message->request;
	size_t from = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!path_is_valid(message->paths + from, request->path_size[i], request->at[i]))
			return false;
		from += request->path_size[i];
	}
	return true;
}

static bool fields_are_valid(const struct helper_request *request, const struct shape *shape)
{
	for (unsigned i = 0; i < 2; i++) {
		bool has_path = i < shape->paths, has_place = has_path || (i == 0 && shape->has_file);
		if (has_place ? !is_place(request->at[i]) : request->at[i] != HELPER_NOWHERE)
			return false;
		if (has_path ? request->path_size[i] > HELPER_PATH : request->path_size[i] != 0)
			return false;
	}
	if (shape->has_file && request->at[0] == HELPER_NOWHERE)
		return false;
	return (shape->has_slot ? request->slot < HELPER_SLOTS : request->slot == 0) &&
	       (shape->has_data ? request->length <= HELPER_WINDOW : request->length == 0) && request->offset >= -1;
}

bool helper_request_is_valid(const struct helper_message *message, size_t size, unsigned fds)
{
	const struct helper_request *request = &message->request;
	if (size < sizeof *request || request->version != HELPER_VERSION || request->opcode < HELPER_OPEN ||
	    request->opcode > HELPER_LAST)
		return false;
	const struct shape *shape = &shapes[request->opcode];
	return fields_are_valid(request, shape) && size == helper_message_size(request) && fds == helper_request_fds(request) &&
	       paths_are_valid(message, shape->paths);
}

size_t helper_message_size(const struct helper_request *request)
{
	return sizeof *request + (size_t)request->path_size[0] + request->path_size[1];
}

const char *helper_request_path(const struct helper_message *message, unsigned which)
{
	return message->paths + (which ? message->request.path_size[0] : 0);
}

unsigned helper_request_fds(const struct helper_request *request)
{
	unsigned first = request->at[0] == HELPER_PASSED, second = request->at[1] == HELPER_PASSED;
	return first + second;
}

/* ---- replies */

bool helper_reply_is_valid(const struct helper_reply *reply, size_t size, const struct helper_request *request)
{
	if (size != sizeof *reply || reply->version != HELPER_VERSION || reply->id != request->id ||
	    (reply->flags & ~(uint32_t)HELPER_GOES_ON))
		return false;
	return reply->result >= -MOST_ERRNO && reply->result <= (int64_t)request->length; /* 0 for what has no data */
}

bool helper_entries_are_valid(const void *entries, size_t size)
{
	const size_t head = offsetof(struct dirent64, d_name);
	for (size_t at = 0; at < size;) {
		const char *entry = (const char *)entries + at;
		uint16_t length;
		if (size - at < head)
			return false;
		memcpy(&length, entry + offsetof(struct dirent64, d_reclen), sizeof length);
		if (length <= head || length > size - at || length % 8 != 0 || !memchr(entry + head, '\0', length - head))
			return false;
		at += length;
	}
	return true;
}
