/* SPDX-License-Identifier: MIT
 *
 * Reading files of /proc, whole into the caller's buffer or in pieces through a small one: the frame that reads a long file stays
 * under 1 KiB. Async-signal-safe.
 * What it does not do: map errors (that is for the caller, who knows what a missing file means), or retry a read that failed.
 */
#ifndef UNSTICK_BASE_STREAM_H
#define UNSTICK_BASE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stream {
	int fd;
	int error; /* of the read that ended it; 0: it was the end of the file, or has not come yet */
	unsigned at, end;
	char buf[512];
};

/* 0 or -errno. After 0 it must be closed. */
int stream_open(struct stream *stream, const char *path);
void stream_close(struct stream *stream);
/* The next byte, 0...255; -1 at the end and on an error. */
int stream_byte(struct stream *stream);
/* The next line without its newline; what is longer than size - 1 is read and dropped. False at the end. */
bool stream_line(struct stream *stream, char *line, size_t size);

/* One open, one read, one close: up to size - 1 bytes, terminated. The count or -errno. */
ssize_t file_read(const char *path, char *buf, size_t size);

#endif
