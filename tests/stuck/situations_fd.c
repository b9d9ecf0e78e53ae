/* SPDX-License-Identifier: MIT
 *
 * Group "fd": pipes, eventfd, timerfd, inotify, splice, sendfile. All of them come out of a signal with EINTR, except a write
 * that has moved something: it returns the count.
 * fd[0] is what is read, fd[1] what is written.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "place.h"

static long read_foreign(struct place *p)
{
	return or_errno(read(p->fd[0], p->buf, 4096));
}

static long read_own(struct place *p)
{
	return unstick_read(p->fd[0], p->buf, 4096);
}

static long readv_foreign(struct place *p)
{
	struct iovec iov[2] = {{p->buf, 16}, {p->buf + 16, 16}};
	return or_errno(readv(p->fd[0], iov, 2));
}

static long readv_own(struct place *p)
{
	struct iovec iov[2] = {{p->buf, 16}, {p->buf + 16, 16}};
	return unstick_readv(p->fd[0], iov, 2);
}

static int eventfd_setup(struct place *p)
{
	p->fd[0] = eventfd(0, EFD_CLOEXEC);
	return p->fd[0] < 0 ? -errno : 0;
}

static int eventfd_release(struct place *p)
{
	return eventfd_write(p->fd[0], 1) ? -errno : 0;
}

static int timerfd_setup(struct place *p)
{
	p->fd[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	return p->fd[0] < 0 ? -errno : 0;
}

static int timerfd_release(struct place *p)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 1}};
	return timerfd_settime(p->fd[0], 0, &soon, NULL) ? -errno : 0;
}

static int inotify_setup(struct place *p)
{
	int r = place_name(p, "watched");
	if (r)
		return r;
	p->fd[0] = inotify_init1(IN_CLOEXEC);
	p->fd[1] = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return p->fd[0] < 0 || p->fd[1] < 0 || inotify_add_watch(p->fd[0], p->path, IN_MODIFY) < 0 ? -errno : 0;
}

static int full_pipe_setup(struct place *p)
{
	int r = place_pipe(p);
	return r ? r : place_fill(p->fd[1], 4096, 20);
}

static long write_foreign(struct place *p)
{
	return or_errno(write(p->fd[1], place_zeroes, 10));
}

static long write_own(struct place *p)
{
	return unstick_write(p->fd[1], place_zeroes, 10);
}

static long writev_foreign(struct place *p)
{
	struct iovec iov[2] = {{place_zeroes, 5}, {place_zeroes, 5}};
	return or_errno(writev(p->fd[1], iov, 2));
}

static long writev_own(struct place *p)
{
	struct iovec iov[2] = {{place_zeroes, 5}, {place_zeroes, 5}};
	return unstick_writev(p->fd[1], iov, 2);
}

static long write_big_foreign(struct place *p)
{
	return or_errno(write(p->fd[1], place_zeroes, BIG));
}

static long write_big_own(struct place *p)
{
	return unstick_write(p->fd[1], place_zeroes, BIG);
}

/* The whole must go through before the write returns; if the write is over, what it has left is all there is. */
static int write_big_release(struct place *p)
{
	struct pollfd readable = {.fd = p->fd[0], .events = POLLIN};
	size_t left = BIG;
	while (left > 0 && poll(&readable, 1, 100) > 0) {
		ssize_t n = read(p->fd[0], p->buf, sizeof p->buf);
		if (n <= 0)
			return n ? -errno : -EPIPE;
		left -= (size_t)n;
	}
	return 0;
}

static int splice_setup(struct place *p)
{
	int r = place_pipe(p);
	return r ? r : pipe2(p->fd + 2, O_CLOEXEC) ? -errno : 0;
}

static long splice_foreign(struct place *p)
{
	return or_errno(splice(p->fd[0], NULL, p->fd[3], NULL, 4096, 0));
}

static long splice_own(struct place *p)
{
	return unstick_syscall(SYS_splice, p->fd[0], 0, p->fd[3], 0, 4096, 0);
}

static int sendfile_setup(struct place *p)
{
	int r = full_pipe_setup(p);
	if (r)
		return r;
	p->fd[2] = memfd_create("source", MFD_CLOEXEC);
	return p->fd[2] < 0 || ftruncate(p->fd[2], 4096) ? -errno : 0;
}

static long sendfile_foreign(struct place *p)
{
	off_t from = 0;
	return or_errno(sendfile(p->fd[1], p->fd[2], &from, 10));
}

static long sendfile_own(struct place *p)
{
	off_t from = 0;
	return unstick_syscall(SYS_sendfile, p->fd[1], p->fd[2], (long)&from, 10, 0, 0);
}

/* clang-format off */
const struct situation situations_fd[] = {
	{.name = "pipe-read", .group = "fd", .summary = "read from an empty pipe", .nr = {SYS_read}, .done = 1,
	 .setup = place_pipe, .foreign = read_foreign, .own = read_own, .release = place_give_byte},
	{.name = "pipe-readv", .group = "fd", .summary = "readv from an empty pipe", .nr = {SYS_readv}, .done = 1,
	 .setup = place_pipe, .foreign = readv_foreign, .own = readv_own, .release = place_give_byte},
	{.name = "eventfd-read", .group = "fd", .summary = "read from an eventfd of value 0", .nr = {SYS_read}, .done = 8,
	 .setup = eventfd_setup, .foreign = read_foreign, .own = read_own, .release = eventfd_release},
	{.name = "timerfd-read", .group = "fd", .summary = "read from a disarmed timerfd", .nr = {SYS_read}, .done = 8,
	 .setup = timerfd_setup, .foreign = read_foreign, .own = read_own, .release = timerfd_release},
	{.name = "inotify-read", .group = "fd", .summary = "read from an inotify fd without events", .nr = {SYS_read}, .done = 16,
	 .setup = inotify_setup, .foreign = read_foreign, .own = read_own, .release = place_give_byte},
	{.name = "pipe-write", .group = "fd", .summary = "write to a full pipe", .nr = {SYS_write}, .done = 10,
	 .setup = full_pipe_setup, .foreign = write_foreign, .own = write_own, .release = place_drain},
	{.name = "pipe-writev", .group = "fd", .summary = "writev to a full pipe", .nr = {SYS_writev}, .done = 10,
	 .setup = full_pipe_setup, .foreign = writev_foreign, .own = writev_own, .release = place_drain},
	{.name = "pipe-write-partial", .group = "fd", .summary = "write of 1 MiB to an empty pipe: 64 KiB are taken", .nr = {SYS_write},
	 .cut = STUCK_CUT_COUNT, .count = 65536, .kind = {UNSTICK_WOKEN, UNSTICK_FINISHED_FIRST}, .done = (long)BIG,
	 .setup = place_pipe, .foreign = write_big_foreign, .own = write_big_own, .release = write_big_release},
	{.name = "splice", .group = "fd", .summary = "splice from an empty pipe", .nr = {SYS_splice}, .done = 1,
	 .setup = splice_setup, .foreign = splice_foreign, .own = splice_own, .release = place_give_byte},
	{.name = "sendfile", .group = "fd", .summary = "sendfile to a full pipe", .nr = {SYS_sendfile}, .done = 10,
	 .setup = sendfile_setup, .foreign = sendfile_foreign, .own = sendfile_own, .release = place_drain},
	{0},
};
/* clang-format on */
