/* SPDX-License-Identifier: MIT */
#include "pool/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/raw.h"

enum { PIECE = 4096 }; /* the least to read at once */

int capture_open(struct capture *capture, int *end)
{
	int fds[2];
	long error = RAW_2(SYS_pipe2, fds, O_CLOEXEC);
	if (error)
		return (int)error;
	RAW_3(SYS_fcntl, fds[0], F_SETFL, O_NONBLOCK); /* ours only: the ends of a pipe have flags of their own */
	capture->fd = fds[0];
	*end = fds[1];
	return 0;
}

static void close_end(struct capture *capture)
{
	if (capture->fd >= 0)
		RAW_1(SYS_close, capture->fd);
	capture->fd = -1;
}

static size_t free_room(const struct capture *capture)
{
	return capture->room ? capture->room - 1 - capture->size : 0;
}

/* Doubles it when little is left. Without memory: what is there stays, and is filled. */
static void make_room(struct capture *capture)
{
	size_t room = capture->room ? capture->room * 2 : PIECE + 1;
	if (free_room(capture) >= PIECE || capture->size >= capture->most)
		return;
	if (room > capture->most + 1 || room < capture->room)
		room = capture->most + 1;
	char *buf = room > capture->room ? realloc(capture->buf, room) : NULL;
	if (!buf)
		return;
	capture->buf = buf;
	capture->room = room;
}

/* Once, at most `most` bytes: what read() gave. */
static long read_some(struct capture *capture, size_t most)
{
	char dropped[PIECE];
	make_room(capture);
	size_t room = free_room(capture);
	bool drop = room == 0;
	size_t size = drop ? sizeof dropped : room;
	long n = RAW_3(SYS_read, capture->fd, drop ? dropped : capture->buf + capture->size, size < most ? size : most);
	if (n > 0 && drop)
		capture->cut = true;
	else if (n > 0)
		capture->buf[capture->size += (size_t)n] = '\0';
	return n;
}

void capture_read(struct capture *capture)
{
	long n = read_some(capture, SIZE_MAX);
	if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
		close_end(capture);
}

/* As many bytes as there were, no more: somebody else may go on writing. */
void capture_finish(struct capture *capture)
{
	int left = 0;
	if (capture->fd >= 0)
		RAW_3(SYS_ioctl, capture->fd, FIONREAD, &left);
	while (left > 0) {
		long n = read_some(capture, (size_t)left);
		if (n <= 0)
			break;
		left -= (int)n;
	}
	close_end(capture);
}

const char *capture_text(const struct capture *capture)
{
	return capture->size ? capture->buf : "";
}

void capture_free(struct capture *capture)
{
	close_end(capture);
	free(capture->buf);
}
