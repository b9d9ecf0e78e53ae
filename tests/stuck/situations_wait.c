/* SPDX-License-Identifier: MIT
 *
 * Groups "poll", "sleep" and "aio": waiting for readiness, for time, for a signal, for a completion.
 * The poll group waits for the pipe in fd[0], fd[1]. What only time or a signal ends is released by SIGUSR2: -EINTR.
 */
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

static struct pollfd readable(struct place *p)
{
	return (struct pollfd){.fd = p->fd[0], .events = POLLIN};
}

static long poll_foreign(struct place *p)
{
	struct pollfd fds = readable(p);
	return or_errno(poll(&fds, 1, -1));
}

static long poll_own(struct place *p)
{
	struct pollfd fds = readable(p);
	return unstick_poll(&fds, 1, -1);
}

static long poll_timed_foreign(struct place *p)
{
	struct pollfd fds = readable(p);
	return or_errno(poll(&fds, 1, 1000000));
}

static long poll_timed_own(struct place *p)
{
	struct pollfd fds = readable(p);
	return unstick_poll(&fds, 1, 1000000);
}

static long ppoll_foreign(struct place *p)
{
	struct pollfd fds = readable(p);
	struct timespec span = long_span();
	sigset_t none;
	sigemptyset(&none);
	return or_errno(ppoll(&fds, 1, &span, &none));
}

static long ppoll_own(struct place *p)
{
	struct pollfd fds = readable(p);
	struct timespec span = long_span();
	sigset_t none;
	sigemptyset(&none);
	return unstick_ppoll(&fds, 1, &span, &none);
}

static fd_set one_of(int fd)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return set;
}

static long select_foreign(struct place *p)
{
	fd_set set = one_of(p->fd[0]);
	return or_errno(select(p->fd[0] + 1, &set, NULL, NULL, NULL));
}

static long select_own(struct place *p)
{
	fd_set set = one_of(p->fd[0]);
	return unstick_select(p->fd[0] + 1, &set, NULL, NULL, NULL);
}

static long pselect_foreign(struct place *p)
{
	fd_set set = one_of(p->fd[0]);
	struct timespec span = long_span();
	return or_errno(pselect(p->fd[0] + 1, &set, NULL, NULL, &span, NULL));
}

static long pselect_own(struct place *p)
{
	fd_set set = one_of(p->fd[0]);
	struct timespec span = long_span();
	return unstick_syscall(SYS_pselect6, p->fd[0] + 1, (long)&set, 0, 0, (long)&span, 0);
}

static int epoll_setup(struct place *p)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r = place_pipe(p);
	if (r)
		return r;
	p->fd[2] = epoll_create1(EPOLL_CLOEXEC);
	return p->fd[2] < 0 || epoll_ctl(p->fd[2], EPOLL_CTL_ADD, p->fd[0], &event) ? -errno : 0;
}

static long epoll_foreign(struct place *p)
{
	struct epoll_event event;
	return or_errno(epoll_wait(p->fd[2], &event, 1, -1));
}

static long epoll_own(struct place *p)
{
	struct epoll_event event;
	return unstick_epoll_wait(p->fd[2], &event, 1, -1);
}

static long nanosleep_foreign(struct place *p)
{
	struct timespec span = long_span();
	(void)p;
	return or_errno(nanosleep(&span, &span));
}

static long nanosleep_own(struct place *p)
{
	struct timespec span = long_span();
	(void)p;
	return unstick_nanosleep(&span, &span);
}

static long clock_nanosleep_foreign(struct place *p)
{
	struct timespec when = long_after(CLOCK_MONOTONIC);
	(void)p;
	return -clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static long clock_nanosleep_own(struct place *p)
{
	struct timespec when = long_after(CLOCK_MONOTONIC);
	(void)p;
	return unstick_clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL);
}

static long pause_foreign(struct place *p)
{
	(void)p;
	return or_errno(pause());
}

static long pause_own(struct place *p)
{
	(void)p;
	return unstick_syscall(SYS_pause, 0, 0, 0, 0, 0, 0);
}

static long sigsuspend_foreign(struct place *p)
{
	sigset_t none;
	(void)p;
	sigemptyset(&none);
	return or_errno(sigsuspend(&none));
}

static long sigsuspend_own(struct place *p)
{
	unsigned long none = 0; /* the kernel's set of 64 */
	(void)p;
	return unstick_syscall(SYS_rt_sigsuspend, (long)&none, sizeof none, 0, 0, 0, 0);
}

static long sigtimedwait_foreign(struct place *p)
{
	struct timespec span = long_span();
	sigset_t set;
	(void)p;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return or_errno(sigtimedwait(&set, NULL, &span));
}

static long sigtimedwait_own(struct place *p)
{
	struct timespec span = long_span();
	unsigned long set = 1ul << (SIGUSR1 - 1);
	(void)p;
	return unstick_syscall(SYS_rt_sigtimedwait, (long)&set, 0, (long)&span, sizeof set, 0, 0);
}

/* A ring with one entry: a poll of the pipe. memory is the submission ring, which also has the completions. */
static int uring_setup(struct place *p)
{
	struct io_uring_params params = {0};
	int r = place_pipe(p);
	if (r)
		return r;
	p->fd[2] = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (p->fd[2] < 0)
		return place_refuse(p, "io_uring is refused here");
	p->memory_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	char *ring = mmap(NULL, p->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd[2], (off_t)IORING_OFF_SQ_RING);
	struct io_uring_sqe *entry =
	        mmap(NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd[2], (off_t)IORING_OFF_SQES);
	if (ring == MAP_FAILED || entry == MAP_FAILED)
		return -errno;
	p->memory = ring;
	entry->opcode = IORING_OP_POLL_ADD;
	entry->fd = p->fd[0];
	entry->poll32_events = POLLIN;
	munmap(entry, sizeof *entry);
	((unsigned *)(void *)(ring + params.sq_off.array))[0] = 0;
	((unsigned *)(void *)(ring + params.sq_off.tail))[0] = 1;
	return 0;
}

/* Submitted by the thread that waits: the completion is its work to do, and must not disturb another one. */
static int uring_submit(struct place *p)
{
	if (p->submitted)
		return 0;
	p->submitted = true;
	return syscall(SYS_io_uring_enter, p->fd[2], 1, 0, 0, NULL, 0) == 1 ? 0 : -EIO;
}

static long uring_foreign(struct place *p)
{
	int r = uring_submit(p);
	return r ? r : or_errno(syscall(SYS_io_uring_enter, p->fd[2], 0, 1, IORING_ENTER_GETEVENTS, NULL, 0));
}

static long uring_own(struct place *p)
{
	int r = uring_submit(p);
	return r ? r : unstick_syscall(SYS_io_uring_enter, p->fd[2], 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
}

static int aio_setup(struct place *p)
{
	aio_context_t context = 0;
	if (syscall(SYS_io_setup, 1, &context))
		return place_refuse(p, "no kernel AIO here");
	p->id = (long)context;
	p->fd[0] = eventfd(1, EFD_CLOEXEC);
	return p->fd[0] < 0 ? -errno : 0;
}

static long aio_foreign(struct place *p)
{
	struct io_event event;
	return or_errno(syscall(SYS_io_getevents, p->id, 1L, 1L, &event, NULL));
}

static long aio_own(struct place *p)
{
	struct io_event event;
	return unstick_syscall(SYS_io_getevents, p->id, 1, 1, (long)&event, 0, 0);
}

static int aio_release(struct place *p)
{
	struct iocb poll_now = {.aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = (unsigned)p->fd[0], .aio_buf = POLLIN};
	struct iocb *list[] = {&poll_now};
	return syscall(SYS_io_submit, p->id, 1L, list) == 1 ? 0 : -errno;
}

static void aio_cleanup(struct place *p)
{
	if (p->id != -1)
		syscall(SYS_io_destroy, p->id);
}

#define ON_PIPE(fn) .done = 1, .setup = place_pipe, .foreign = fn##_foreign, .own = fn##_own, .release = place_give_byte
#define ON_SIGNAL(fn) .done = -EINTR, .foreign = fn##_foreign, .own = fn##_own
#define LOOP_KINDS .cut = STUCK_CUT_EINTR, .kind = {UNSTICK_EVENT_LOOP, UNSTICK_WOKEN}

/* clang-format off */
const struct situation situations_wait[] = {
	{.name = "poll", .group = "poll", .summary = "poll without a timeout", .nr = {SYS_poll, SYS_ppoll}, ON_PIPE(poll)},
	{.name = "poll-timed", .group = "poll", .summary = "poll with a long timeout", .nr = {SYS_poll, SYS_ppoll}, ON_PIPE(poll_timed)},
	{.name = "ppoll", .group = "poll", .summary = "ppoll with an empty mask", .nr = {SYS_ppoll}, ON_PIPE(ppoll)},
	{.name = "select", .group = "poll", .summary = "select without a timeout", .nr = {SYS_select, SYS_pselect6}, ON_PIPE(select)},
	{.name = "pselect", .group = "poll", .summary = "pselect with a long timeout", .nr = {SYS_pselect6}, ON_PIPE(pselect)},
	{.name = "epoll-wait", .group = "poll", .summary = "epoll_wait without a timeout", .nr = {SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2},
	 LOOP_KINDS, .done = 1, .setup = epoll_setup, .foreign = epoll_foreign, .own = epoll_own, .release = place_give_byte},
	{.name = "nanosleep", .group = "sleep", .summary = "a long nanosleep", .nr = {SYS_clock_nanosleep, SYS_nanosleep}, ON_SIGNAL(nanosleep)},
	{.name = "clock-nanosleep", .group = "sleep", .summary = "clock_nanosleep until a far moment", .nr = {SYS_clock_nanosleep},
	 ON_SIGNAL(clock_nanosleep)},
	{.name = "pause", .group = "sleep", .summary = "pause", .nr = {SYS_pause}, .cut = STUCK_CUT_EINTR, ON_SIGNAL(pause)},
	{.name = "sigsuspend", .group = "sleep", .summary = "sigsuspend", .nr = {SYS_rt_sigsuspend}, .cut = STUCK_CUT_EINTR,
	 ON_SIGNAL(sigsuspend)},
	{.name = "sigtimedwait", .group = "sleep", .summary = "sigtimedwait for a signal that nobody sends", .nr = {SYS_rt_sigtimedwait},
	 ON_SIGNAL(sigtimedwait)},
	{.name = "io-uring-enter", .group = "aio", .summary = "io_uring_enter waiting for a completion", .nr = {SYS_io_uring_enter}, LOOP_KINDS,
	 .setup = uring_setup, .foreign = uring_foreign, .own = uring_own, .release = place_give_byte},
	{.name = "io-getevents", .group = "aio", .summary = "io_getevents waiting for a completion", .nr = {SYS_io_getevents}, LOOP_KINDS,
	 .done = 1, .setup = aio_setup, .foreign = aio_foreign, .own = aio_own, .release = aio_release, .cleanup = aio_cleanup},
	{0},
};
/* clang-format on */
