/* SPDX-License-Identifier: MIT
 *
 * Own calls that have a timeout. In a scope the kernel is given the earlier of the call's own end and the scope's deadline, so
 * that a deadline needs no signal here; made again, a call gets what is left of its time. Outside scopes: the bare call.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "limit/time.h"
#include "wake/call.h"
#include "wake/scope.h"
#include "wake/signal.h"

/* When a call in a scope must come back by itself. */
struct limits {
	struct unstick_thread *self;
	unstick_time own; /* the call's own timeout */
	unstick_time end; /* that, or the scope's deadline if it is earlier */
};

static struct limits limits_of(struct unstick_thread *self, unstick_time own)
{
	unstick_time deadline = atomic_load_explicit(&self->deadline, memory_order_relaxed);
	return (struct limits){.self = self, .own = own, .end = time_min(own, deadline)};
}

/* The call has timed out (answer 0). The deadline's doing: its error. The call's own: 0. Neither yet (the kernel's clock was
 * read a moment earlier, or a dead scope's deadline it was): CALL_AGAIN. */
static long timed_out(const struct limits *limits)
{
	if (unstick_now() >= limits->own)
		return 0;
	int error = scope_cut(limits->self);
	if (error) /* the monitor may say so a moment later: a check that follows must know it now */
		atomic_fetch_or(&limits->self->window.state, STATE_FIRED);
	return error ? error : CALL_AGAIN;
}

static const struct timespec *span_until(unstick_time end, struct timespec *span)
{
	if (end == UNSTICK_NEVER)
		return NULL;
	*span = time_to_timespec(time_add(end, -unstick_now()));
	return span;
}

static bool is_valid(const struct timespec *span)
{
	return span->tv_sec >= 0 && span->tv_nsec >= 0 && span->tv_nsec < TIME_NS_PER_S;
}

/* ---- poll, select, epoll */

enum { KERNEL_SIGSET_SIZE = 8 };

/* The caller's mask, without our signal: a ppoll() that blocked it could not be cut short. */
static const sigset_t *mask_without_ours(const sigset_t *mask, sigset_t *copy)
{
	if (!mask)
		return NULL;
	*copy = *mask;
	sigdelset(copy, unstick_signal());
	return copy;
}

static int poll_in_scope(struct unstick_thread *self, struct pollfd *fds, nfds_t count, unstick_time own, const sigset_t *mask)
{
	sigset_t copy;
	struct timespec span;
	long result;
	mask = mask_without_ours(mask, &copy);
	do {
		struct limits limits = limits_of(self, own);
		const struct timespec *timeout = span_until(limits.end, &span);
		result = call_once(self, SYS_ppoll, (long)fds, (long)count, (long)timeout, (long)mask, KERNEL_SIGSET_SIZE, 0);
		if (result == 0)
			result = timed_out(&limits);
	} while (call_is_again(result));
	return (int)result;
}

int unstick_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct unstick_thread *self = call_scope();
	if (!self)
		return (int)RAW_3(SYS_poll, fds, count, timeout_ms);
	return poll_in_scope(self, fds, count, timeout_ms < 0 ? UNSTICK_NEVER : unstick_after_ms(timeout_ms), NULL);
}

int unstick_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	struct unstick_thread *self = call_scope();
	struct timespec copy = timeout ? *timeout : (struct timespec){0}; /* the kernel writes what is left into its argument */
	if (!self)
		return (int)RAW_5(SYS_ppoll, fds, count, timeout ? &copy : NULL, mask, KERNEL_SIGSET_SIZE);
	if (!is_valid(&copy))
		return -EINVAL;
	unstick_time own = timeout ? unstick_after_ns(time_from_timespec(timeout)) : UNSTICK_NEVER;
	return poll_in_scope(self, fds, count, own, mask);
}

static long select_once(struct unstick_thread *self, int nfds, fd_set *sets[3], const struct timespec *timeout)
{
	if (!self)
		return RAW_6(SYS_pselect6, nfds, sets[0], sets[1], sets[2], timeout, NULL);
	return call_once(self, SYS_pselect6, nfds, (long)sets[0], (long)sets[1], (long)sets[2], (long)timeout, 0);
}

static int select_in_scope(struct unstick_thread *self, int nfds, fd_set *sets[3], unstick_time own)
{
	fd_set before[3];
	struct timespec span;
	long result;
	for (int i = 0; i < 3; i++)
		if (sets[i])
			before[i] = *sets[i];
	for (;;) {
		struct limits limits = limits_of(self, own);
		result = select_once(self, nfds, sets, span_until(limits.end, &span));
		if (result == 0)
			result = timed_out(&limits);
		if (result >= 0)
			return (int)result;
		for (int i = 0; i < 3; i++) /* on an error the sets are as they were given: select(2) */
			if (sets[i])
				*sets[i] = before[i];
		if (!call_is_again(result))
			return (int)result;
	}
}

int unstick_select(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds, const struct timeval *timeout)
{
	struct unstick_thread *self = call_scope();
	fd_set *sets[3] = {readfds, writefds, exceptfds};
	struct timespec span = {0};
	if (timeout) {
		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return -EINVAL;
		span.tv_sec =
		        timeout->tv_sec + timeout->tv_usec / 1000000; /* more than a second of microseconds is allowed: select(2) */
		span.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	}
	if (!self)
		return (int)select_once(NULL, nfds, sets, timeout ? &span : NULL);
	return select_in_scope(self, nfds, sets, timeout ? unstick_after_ns(time_from_timespec(&span)) : UNSTICK_NEVER);
}

/* Milliseconds until `end`, rounded up: never early. */
static int milliseconds_until(unstick_time end)
{
	if (end == UNSTICK_NEVER)
		return -1;
	int64_t ns = time_add(end, -unstick_now());
	if (ns <= 0)
		return 0;
	int64_t ms = (ns - 1) / TIME_NS_PER_MS + 1;
	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

int unstick_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	struct unstick_thread *self = call_scope();
	if (!self)
		return (int)RAW_6(SYS_epoll_pwait, epfd, events, max, timeout_ms, NULL, KERNEL_SIGSET_SIZE);
	unstick_time own = timeout_ms < 0 ? UNSTICK_NEVER : unstick_after_ms(timeout_ms);
	long result;
	do {
		struct limits limits = limits_of(self, own);
		result = call_once(self, SYS_epoll_pwait, epfd, (long)events, max, milliseconds_until(limits.end), 0,
		                   KERNEL_SIGSET_SIZE);
		if (result == 0)
			result = timed_out(&limits);
	} while (call_is_again(result));
	return (int)result;
}

/* ---- sleeping: always until a moment, so that a sleep made again does not grow */

static int sleep_in_scope(struct unstick_thread *self, unstick_time own, struct timespec *remaining)
{
	long result;
	do {
		struct limits limits = limits_of(self, own);
		struct timespec when = time_to_timespec(limits.end);
		result = call_once(self, SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&when, 0, 0, 0);
		if (result == 0)
			result = timed_out(&limits);
	} while (call_is_again(result));
	if (remaining && (result == -EINTR || result == -ECANCELED || result == -ETIMEDOUT))
		*remaining = time_to_timespec(time_add(own, -unstick_now()));
	return (int)result;
}

int unstick_nanosleep(const struct timespec *span, struct timespec *remaining)
{
	struct unstick_thread *self = call_scope();
	if (!self)
		return (int)RAW_2(SYS_nanosleep, span, remaining);
	if (!span)
		return -EFAULT;
	if (!is_valid(span))
		return -EINVAL;
	return sleep_in_scope(self, unstick_after_ns(time_from_timespec(span)), remaining);
}

/* Clocks that are not CLOCK_MONOTONIC: to a moment on that clock; the scope's deadline comes by signal. */
static int sleep_on_clock(struct unstick_thread *self, clockid_t clock, int flags, const struct timespec *when,
                          struct timespec *remaining)
{
	struct timespec now, end = *when;
	bool relative = !(flags & TIMER_ABSTIME);
	if (relative) {
		long error = RAW_2(SYS_clock_gettime, clock, &now);
		if (error)
			return (int)error;
		end = time_to_timespec(time_add(time_from_timespec(&now), time_from_timespec(when)));
	}
	long result;
	do {
		result = call_once(self, SYS_clock_nanosleep, clock, flags | TIMER_ABSTIME, (long)&end, 0, 0, 0);
	} while (call_is_again(result));
	if (relative && remaining && (result == -EINTR || result == -ECANCELED || result == -ETIMEDOUT) &&
	    RAW_2(SYS_clock_gettime, clock, &now) == 0)
		*remaining = time_to_timespec(time_from_timespec(&end) - time_from_timespec(&now));
	return (int)result;
}

int unstick_clock_nanosleep(clockid_t clock, int flags, const struct timespec *when, struct timespec *remaining)
{
	struct unstick_thread *self = call_scope();
	if (!self)
		return (int)RAW_4(SYS_clock_nanosleep, clock, flags, when, remaining);
	if (!when)
		return -EFAULT;
	if (!is_valid(when))
		return -EINVAL;
	bool relative = !(flags & TIMER_ABSTIME);
	if (clock == CLOCK_MONOTONIC && !relative)
		return sleep_in_scope(self, time_from_timespec(when), NULL);
	if (clock == CLOCK_MONOTONIC ||
	    (clock == CLOCK_REALTIME && relative)) /* a relative sleep does not follow clock_settime(2) */
		return sleep_in_scope(self, unstick_after_ns(time_from_timespec(when)), remaining);
	return sleep_on_clock(self, clock, flags, when, remaining);
}
