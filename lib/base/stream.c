/* SPDX-License-Identifier: MIT
 *
 * See stream.h. One read is enough for the small files of /proc: seq_file hands out a record whole if it fits.
 */
#include <fcntl.h>
#include "base/raw.h"
#include "base/stream.h"

int stream_open(struct stream *stream, const char *path)
{
	long fd = RAW_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return (int)fd;
	stream->fd = (int)fd;
	stream->error = 0;
	stream->at = 0;
	stream->end = 0;
	return 0;
}

void stream_close(struct stream *stream)
{
	RAW_1(SYS_close, stream->fd);
	stream->fd = -1;
}

int stream_byte(struct stream *stream)
{
	if (stream->at == stream->end) {
		long n = RAW_3(SYS_read, stream->fd, stream->buf, sizeof(stream->buf));
		if (n <= 0) {
			stream->error = (int)n;
			return -1;
		}
		stream->at = 0;
		stream->end = (unsigned)n;
	}
	return (unsigned char)stream->buf[stream->at++];
}

bool stream_line(struct stream *stream, char *line, size_t size)
{
	int c = stream_byte(stream);
	size_t length = 0;

	if (c < 0)
		return false;
	for (; c >= 0 && c != '\n'; c = stream_byte(stream)) {
		if (length + 1 < size)
			line[length++] = (char)c;
	}
	line[length] = '\0';
	return true;
}

ssize_t file_read(const char *path, char *buf, size_t size)
{
	long fd = RAW_4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	long n;

	if (fd < 0)
		return fd;
	n = RAW_3(SYS_read, fd, buf, size - 1);
	RAW_1(SYS_close, fd);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}
