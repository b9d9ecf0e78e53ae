/* SPDX-License-Identifier: MIT
 *
 * The ways to meet a deadline that need no unstick. The baseline is what a program would write by hand: a watchdog thread on a
 * timerfd that signals the stuck thread, two switches as in unstick. Where the call itself takes a timeout, or a timer of the kernel sends
 * the signal, one switch is enough.
 */
#include "waiter.h"

#include <errno.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define AGAIN INT64_C(1000000) /* a signal sent before the call has begun is lost, so it is sent again, this much later */

void waiter_expect(const struct waiter *waiter, bool as_expected, const char *why)
{
	if (!as_expected)
		die(waiter->name, why, "please report it: its figures would mean nothing");
}

/* A late second signal of the wait before may end this one early, so it is a loop. */
static int64_t read_until(struct waiter *waiter, int64_t deadline)
{
	for (;;) {
		char byte;
		ssize_t n = read(waiter->pipe[0], &byte, 1);
		int error = errno;
		int64_t now = os_now();
		waiter_expect(waiter, n < 0 && error == EINTR, "read() ended, but not with EINTR");
		if (now >= deadline)
			return now;
	}
}

static struct itimerspec itimer(int64_t when)
{
	if (when == 0)
		return (struct itimerspec){.it_value = {0, 0}};
	return (struct itimerspec){.it_value = os_timespec(when), .it_interval = os_timespec(AGAIN)};
}

/* ---- baseline: a watchdog thread, one for all who wait, as unstick has one ---- */

static struct {
	unsigned users;
	int timer_fd;
	pid_t tid; /* whom it signals */
	pthread_t thread;
	_Atomic bool end;
} watchdog;

static void *watchdog_main(void *arg)
{
	uint64_t count;
	for (;;) {
		ssize_t n = read(watchdog.timer_fd, &count, sizeof(count));
		if (atomic_load(&watchdog.end))
			return arg;
		if (n > 0)
			os_tgkill(watchdog.tid);
	}
}

static void watchdog_set(int64_t when)
{
	struct itimerspec spec = itimer(when);
	if (timerfd_settime(watchdog.timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
		die_errno("timerfd_settime", errno);
}

static void watchdog_open(struct waiter *waiter)
{
	if (watchdog.users++ > 0)
		return;
	watchdog.tid = waiter->tid;
	atomic_store(&watchdog.end, false);
	watchdog.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (watchdog.timer_fd < 0)
		die_errno("timerfd_create", errno);
	int error = os_thread_new(&watchdog.thread, 0, -1, watchdog_main, NULL);
	if (error)
		die_errno("thread", error);
}

static int64_t watchdog_wait(struct waiter *waiter, int64_t deadline)
{
	watchdog_set(deadline);
	int64_t out = read_until(waiter, deadline);
	watchdog_set(0);
	return out;
}

static void watchdog_close(struct waiter *waiter)
{
	(void)waiter;
	if (--watchdog.users > 0)
		return;
	atomic_store(&watchdog.end, true);
	watchdog_set(1);
	pthread_join(watchdog.thread, NULL);
	close(watchdog.timer_fd);
}

const struct waiter_way waiter_watchdog = {.open = watchdog_open, .wait = watchdog_wait, .close = watchdog_close};

/* ---- competitors that need one switch only ---- */

static int64_t ppoll_wait(struct waiter *waiter, int64_t deadline)
{
	struct pollfd fd = {.fd = waiter->pipe[0], .events = POLLIN};
	for (;;) {
		int64_t left = deadline - os_now();
		struct timespec timeout = os_timespec(left > 0 ? left : 0);
		int ready = ppoll(&fd, 1, &timeout, NULL);
		int64_t now = os_now();
		waiter_expect(waiter, ready == 0 || errno == EINTR, "ppoll() has found data");
		if (now >= deadline)
			return now;
	}
}

static void set_timer(struct waiter *waiter, int64_t when)
{
	struct itimerspec spec = itimer(when);
	if (timer_settime(waiter->timer, TIMER_ABSTIME, &spec, NULL) < 0)
		die_errno("timer_settime", errno);
}

static void timer_open(struct waiter *waiter)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = OS_SIGNAL};
	event._sigev_un._tid = waiter->tid; /* glibc 2.36 has no public name for it */
	if (timer_create(CLOCK_MONOTONIC, &event, &waiter->timer) < 0)
		die_errno("timer_create", errno);
}

static int64_t timer_wait(struct waiter *waiter, int64_t deadline)
{
	set_timer(waiter, deadline);
	int64_t out = read_until(waiter, deadline);
	set_timer(waiter, 0);
	return out;
}

static void timer_close(struct waiter *waiter)
{
	timer_delete(waiter->timer);
}

const struct waiter_way waiter_ppoll = {.wait = ppoll_wait};
const struct waiter_way waiter_timer = {.open = timer_open, .wait = timer_wait, .close = timer_close};
