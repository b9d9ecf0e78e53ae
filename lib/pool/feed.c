/* SPDX-License-Identifier: MIT */
#include "pool/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "base/raw.h"

int feed_open(struct feed *feed, const void *bytes, size_t size, int *end)
{
	int fds[2];
	long error = RAW_2(SYS_pipe2, fds, O_CLOEXEC);
	if (error)
		return (int)error;
	RAW_3(SYS_fcntl, fds[1], F_SETFL, O_NONBLOCK); /* ours only: the ends of a pipe have flags of their own */
	*feed = (struct feed){.fd = fds[1], .at = bytes, .left = size};
	*end = fds[0];
	return 0;
}

/* The signal of an EPIPE goes to the thread that wrote. Blocked, it stays pending there, ignored or not, and is taken away. A
 * thread's own pending signals are taken first: a SIGPIPE that was sent to the process stays. */
static long write_without_signal(int fd, const void *bytes, size_t size)
{
	static const uint64_t sigpipe = UINT64_C(1) << (SIGPIPE - 1);
	static const struct timespec now;
	uint64_t before;

	RAW_4(SYS_rt_sigprocmask, SIG_BLOCK, &sigpipe, &before, sizeof before);
	long n = RAW_3(SYS_write, fd, bytes, size);
	if (n == -EPIPE)
		RAW_4(SYS_rt_sigtimedwait, &sigpipe, NULL, &now, sizeof sigpipe);
	RAW_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
	return n;
}

void feed_write(struct feed *feed)
{
	long n = write_without_signal(feed->fd, feed->at, feed->left);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n > 0) {
		feed->at += n;
		feed->left -= (size_t)n;
	}
	if (n < 0 || !feed->left)
		feed_close(feed);
}

void feed_close(struct feed *feed)
{
	if (feed->fd >= 0)
		RAW_1(SYS_close, feed->fd);
	feed->fd = -1;
}
