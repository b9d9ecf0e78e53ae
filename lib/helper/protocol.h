/* SPDX-License-Identifier: MIT
 *
 * What a process and its helper say to each other. One message is one request or one reply, on a channel that carries one at a
 * time. Paths lie behind the request in the same message; data lie in the channel's window, memory that both have mapped.
 * Neither side believes the other: what comes in is checked here, by functions that look at nothing but their arguments, before
 * any field of it is used. Both ends come from one build; the version is there to find out when they do not.
 * The helper's end knows no more of this library than this file.
 */
#ifndef UNSTICK_HELPER_PROTOCOL_H
#define UNSTICK_HELPER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HELPER_VERSION = 1,
	HELPER_CHANNELS = 16,
	HELPER_WINDOW = 1 << 20,  /* bytes; a channel has one */
	HELPER_SLOTS = 1 << 14,   /* files that a helper can have open for the application */
	HELPER_PATH = 4096,       /* with its zero byte, as PATH_MAX */
	HELPER_CONTROL = 3,       /* the fd that the helper is started with */
	HELPER_CHANNELS_FROM = 4, /* its channels: this fd and those after it */
	HELPER_MEMORY = HELPER_CHANNELS_FROM + HELPER_CHANNELS,
	HELPER_PAGES_SIZE = HELPER_CHANNELS * HELPER_WINDOW,
};

enum helper_opcode {
	HELPER_OPEN = 1,
	HELPER_CLOSE,
	HELPER_READ,
	HELPER_WRITE,
	HELPER_FSYNC,
	HELPER_STATX,
	HELPER_READDIR,
	HELPER_UNLINK,
	HELPER_RENAME,
	HELPER_LAST = HELPER_RENAME,
};

/* request.at: a slot, or */
enum {
	HELPER_NOWHERE = -1, /* none; for a path: it is absolute */
	HELPER_PASSED = -2,  /* the next fd that came with the message */
};

struct helper_request {
	uint32_t version, opcode;
	uint64_t id;
	int64_t offset;        /* read, write: -1: the file's own position */
	uint32_t length;       /* read, write, readdir: bytes in the window */
	int32_t at[2];         /* the file; or the directories of the paths */
	uint32_t slot;         /* open: what it opens goes there; close: what is there */
	uint32_t flags;        /* O_*, AT_*, RENAME_*; fsync: 1 = data only */
	uint32_t mode;         /* open; statx: the mask */
	uint32_t path_size[2]; /* with the zero byte; 0: there is none */
};

struct helper_message {
	struct helper_request request;
	char paths[2 * HELPER_PATH];
};

enum { HELPER_GOES_ON = 1u << 0 }; /* reply.flags, of a read that filled the window: there is no wait for more of it */

/* Also the first message of the helper, on its control socket: id 0, result 0: it is ready; or the -errno that it ends with. */
struct helper_reply {
	uint32_t version, flags;
	uint64_t id;
	int64_t result;
};

/* A message of `size` bytes that came with `fds` fds. */
bool helper_request_is_valid(const struct helper_message *message, size_t size, unsigned fds);
size_t helper_message_size(const struct helper_request *request);
/* Of a valid one. */
const char *helper_request_path(const struct helper_message *message, unsigned which);
/* How many fds are to come with it. */
unsigned helper_request_fds(const struct helper_request *request);

/* `size` bytes that are to answer this request. */
bool helper_reply_is_valid(const struct helper_reply *reply, size_t size, const struct helper_request *request);
/* Entries of a directory as getdents64(2) gives them, of which the kernel's can be walked without looking where one treads. */
bool helper_entries_are_valid(const void *entries, size_t size);

#endif
