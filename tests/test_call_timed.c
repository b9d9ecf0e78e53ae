/* SPDX-License-Identifier: MIT
 *
 * Own calls with timeouts of their own, beside a scope's deadline: which of the two ends the call, never before its time, and what is left.
 * Times are compared with each other and with bounds that the call itself promises, never with how long something took.
 */
#include "helpers.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

enum { SHORT_MS = 10, LONG_MS = 3600000 };

static int fds[2], epoll_fd;

static void setup(void)
{
	pipe_empty(fds);
	epoll_fd = epoll_create1(0);
}

TestSuite(call_timed, .init = setup);

static struct timespec span(int ms)
{
	return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

static int64_t ns_of(struct timespec ts)
{
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* ---- each waits for nothing, at most so long */

static long do_poll(int ms)
{
	struct pollfd one = {.fd = fds[0], .events = POLLIN};
	return unstick_poll(&one, 1, ms);
}

static long do_ppoll(int ms)
{
	struct pollfd one = {.fd = fds[0], .events = POLLIN};
	struct timespec timeout = span(ms), before = timeout;
	long result = unstick_ppoll(&one, 1, &timeout, NULL);
	return memcmp(&timeout, &before, sizeof before) ? -EPROTO : result;
}

static long do_select(int ms)
{
	struct timeval timeout = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}, before = timeout;
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	long result = unstick_select(fds[0] + 1, &set, NULL, NULL, &timeout);
	if (memcmp(&timeout, &before, sizeof before) || !FD_ISSET(fds[0], &set) == (result < 0))
		return -EPROTO; /* unchanged timeout; the sets are empty at a timeout, as given at an error */
	return result;
}

static long do_epoll_wait(int ms)
{
	struct epoll_event event;
	return unstick_epoll_wait(epoll_fd, &event, 1, ms);
}

static long do_nanosleep(int ms)
{
	struct timespec ts = span(ms);
	return unstick_nanosleep(&ts, NULL);
}

static long sleep_on(clockid_t clock, int ms)
{
	struct timespec ts = span(ms);
	return unstick_clock_nanosleep(clock, 0, &ts, NULL);
}

static long do_sleep_monotonic(int ms)
{
	return sleep_on(CLOCK_MONOTONIC, ms);
}

static long do_sleep_realtime(int ms)
{
	return sleep_on(CLOCK_REALTIME, ms);
}

static long do_sleep_boottime(int ms)
{
	return sleep_on(CLOCK_BOOTTIME, ms);
}

static long sleep_until(clockid_t clock, int ms)
{
	struct timespec now, wanted = span(ms);
	clock_gettime(clock, &now);
	wanted.tv_sec += now.tv_sec + (now.tv_nsec + wanted.tv_nsec) / 1000000000;
	wanted.tv_nsec = (now.tv_nsec + wanted.tv_nsec) % 1000000000;
	return unstick_clock_nanosleep(clock, TIMER_ABSTIME, &wanted, NULL);
}

static long do_sleep_until_monotonic(int ms)
{
	return sleep_until(CLOCK_MONOTONIC, ms);
}

static long do_sleep_until_realtime(int ms)
{
	return sleep_until(CLOCK_REALTIME, ms);
}

static const struct timed_call {
	const char *name;
	long (*call)(int ms);
} timed_calls[] = {
        {"poll", do_poll},
        {"ppoll", do_ppoll},
        {"select", do_select},
        {"epoll_wait", do_epoll_wait},
        {"nanosleep", do_nanosleep},
        {"clock_nanosleep monotonic", do_sleep_monotonic},
        {"clock_nanosleep realtime", do_sleep_realtime},
        {"clock_nanosleep boottime", do_sleep_boottime},
        {"clock_nanosleep until monotonic", do_sleep_until_monotonic},
        {"clock_nanosleep until realtime", do_sleep_until_realtime},
};

#define EACH_CALL(c)                                                  \
	const struct timed_call *c = timed_calls;                     \
	c < timed_calls + sizeof timed_calls / sizeof timed_calls[0]; \
	c++

/* ---- which of the two */

static void check_own_timeout(const char *where)
{
	for (EACH_CALL(c)) {
		unstick_time end = unstick_after_ms(SHORT_MS);
		cr_assert_eq(c->call(SHORT_MS), 0, "%s %s", c->name, where);
		cr_assert_geq(unstick_now(), end, "%s %s came back early", c->name, where);
		cr_assert_eq(c->call(0), 0, "%s %s", c->name, where);
	}
}

Test(call_timed, their_own_timeout_ends_them_outside_and_inside_scopes)
{
	struct unstick_scope scope;
	check_own_timeout("outside");
	cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0);
	check_own_timeout("in a scope without deadline");
	cr_assert_eq(unstick_scope_end(&scope), 0);
	cr_assert_eq(unstick_scope_begin(&scope, NULL, unstick_after_ms(LONG_MS)), 0);
	check_own_timeout("in a scope with a later deadline");
	cr_assert_eq(unstick_scope_end(&scope), 0, "their own end is not a cut");
}

Test(call_timed, an_earlier_deadline_ends_them_and_not_before)
{
	for (EACH_CALL(c)) {
		struct unstick_scope scope;
		unstick_time deadline = unstick_after_ms(SHORT_MS);
		cr_assert_eq(unstick_scope_begin(&scope, NULL, deadline), 0);
		cr_assert_eq(c->call(LONG_MS), -ETIMEDOUT, "%s", c->name);
		cr_assert_geq(unstick_now(), deadline);
		cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	}
}

Test(call_timed, the_deadline_of_an_outer_scope_counts_too)
{
	struct unstick_scope outer, inner;
	unstick_time deadline = unstick_after_ms(SHORT_MS);
	cr_assert_eq(unstick_scope_begin(&outer, NULL, deadline), 0);
	cr_assert_eq(unstick_scope_begin(&inner, NULL, unstick_after_ms(LONG_MS)), 0);
	cr_assert_eq(do_poll(LONG_MS), -ETIMEDOUT);
	cr_assert_geq(unstick_now(), deadline);
	cr_assert_eq(unstick_scope_end(&inner), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&outer), -ETIMEDOUT);
}

Test(call_timed, an_empty_timeout_of_select_may_have_many_microseconds)
{
	struct unstick_scope scope;
	struct timeval timeout = {.tv_usec = 2000000}, negative = {.tv_usec = -1};
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fds[0], &set);
	write_byte(fds[1]);
	for (int inside = 0; inside < 2; inside++) {
		if (inside)
			cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0);
		cr_assert_eq(unstick_select(fds[0] + 1, &set, NULL, NULL, &timeout), 1);
		cr_assert_eq(unstick_select(fds[0] + 1, &set, NULL, NULL, &negative), -EINVAL);
	}
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

static void check_invalid_spans(const char *where)
{
	static const struct timespec invalid[] = {{.tv_sec = -1}, {.tv_nsec = -1}, {.tv_nsec = 1000000000}};
	static const struct timespec none;
	for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
		cr_assert_eq(unstick_nanosleep(&invalid[i], NULL), -EINVAL, "%zu %s", i, where);
		cr_assert_eq(unstick_ppoll(NULL, 0, &invalid[i], NULL), -EINVAL, "%zu %s", i, where);
		cr_assert_eq(unstick_clock_nanosleep(CLOCK_MONOTONIC, 0, &invalid[i], NULL), -EINVAL, "%zu %s", i, where);
		cr_assert_eq(unstick_clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &invalid[i], NULL), -EINVAL, "%zu %s", i,
		             where);
	}
	cr_assert_eq(unstick_clock_nanosleep(12345, 0, &none, NULL), -EINVAL, "no such clock %s", where);
	for (clockid_t clock = CLOCK_THREAD_CPUTIME_ID; clock <= CLOCK_MONOTONIC_RAW;
	     clock++) { /* clocks that nobody can sleep on */
		long bare = syscall(SYS_clock_nanosleep, clock, 0, &none, NULL) ? -errno : 0;
		cr_assert_lt(bare, 0);
		cr_assert_eq(unstick_clock_nanosleep(clock, 0, &none, NULL), bare, "clock %d %s", clock, where);
	}
}

Test(call_timed, invalid_spans_and_clocks_are_refused_as_the_kernel_does)
{
	struct unstick_scope scope;
	check_invalid_spans("outside");
	cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0);
	check_invalid_spans("in a scope");
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

Test(call_timed, the_longest_spans_do_not_overflow)
{
	struct unstick_scope scope;
	struct timespec longest = {.tv_sec = INT64_MAX, .tv_nsec = 999999999};
	cr_assert_eq(unstick_scope_begin(&scope, NULL, unstick_after_ms(SHORT_MS)), 0);
	cr_assert_eq(unstick_nanosleep(&longest, NULL), -ETIMEDOUT);
	cr_assert_eq(unstick_ppoll(NULL, 0, &longest, NULL), -ETIMEDOUT);
	cr_assert_eq(unstick_clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &longest, NULL), -ETIMEDOUT);
	cr_assert_eq(unstick_poll(NULL, 0, INT32_MAX), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
}

/* ---- what is left */

struct sleeper {
	clockid_t clock;
	struct unstick_token *token; /* NULL: no scope */
	struct timespec wanted, left;
};

static long sleep_and_tell(void *arg)
{
	struct sleeper *sleeper = arg;
	struct unstick_scope scope;
	if (sleeper->token)
		unstick_scope_start(&scope, sleeper->token, UNSTICK_NEVER);
	long result = unstick_clock_nanosleep(sleeper->clock, 0, &sleeper->wanted, &sleeper->left);
	if (sleeper->token && unstick_scope_end(&scope) != (result == -EINTR ? 0 : result))
		return -EPROTO;
	return result;
}

/* What is left and what has passed make up the whole, as seen from outside of the sleep. */
static void check_left(clockid_t clock, bool scoped, bool cancelled)
{
	struct sleeper sleeper = {.clock = clock, .wanted = span(LONG_MS), .token = scoped ? token_make(NULL) : NULL};
	struct worker worker;
	unstick_time begun = unstick_now();
	worker_start(&worker, sleep_and_tell, &sleeper);
	worker_wait_blocked(&worker, SYS_clock_nanosleep);
	if (cancelled)
		unstick_token_cancel(sleeper.token);
	else
		cr_assert_eq(pthread_kill(worker.thread, SIGUSR1), 0);
	cr_assert_eq(worker_join(&worker), cancelled ? -ECANCELED : -EINTR);
	int64_t passed = unstick_now() - begun, left = ns_of(sleeper.left), wanted = ns_of(sleeper.wanted);
	cr_assert_leq(left, wanted + prctl(PR_GET_TIMERSLACK),
	              "the kernel itself counts its slack as left"); /* measured: 49 us of 50 */
	cr_assert_geq(left, wanted - passed - 1000000, "clock %d: %ld left of %ld, %ld passed", clock, left, wanted, passed);
}

Test(call_timed, a_sleep_that_was_interrupted_or_cut_tells_what_is_left)
{
	static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
	count_signal(SIGUSR1, 0);
	for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
		check_left(clocks[i], false, false);
		check_left(clocks[i], true, false);
		check_left(clocks[i], true, true);
	}
}

Test(call_timed, a_sleep_that_its_deadline_ended_tells_what_is_left)
{
	struct unstick_scope scope;
	struct timespec wanted = span(LONG_MS), left = {.tv_sec = -1};
	unstick_time begun = unstick_now(), deadline = begun + SHORT_MS * 1000000;
	cr_assert_eq(unstick_scope_begin(&scope, NULL, deadline), 0);
	cr_assert_eq(unstick_nanosleep(&wanted, &left), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	cr_assert_leq(ns_of(left), ns_of(wanted) - (deadline - unstick_now() < 0 ? 0 : 1));
	cr_assert_geq(ns_of(left), ns_of(wanted) - (unstick_now() - begun));
}

Test(call_timed, a_sleep_that_came_to_its_end_leaves_the_rest_alone)
{
	struct unstick_scope scope;
	struct timespec wanted = span(1), left = {.tv_sec = 77};
	cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_nanosleep(&wanted, &left), 0);
	cr_assert_eq(unstick_scope_end(&scope), 0);
	cr_assert_eq(left.tv_sec, 77);
}

/* ---- made again after our signal, a call gets what is left of its time: with a signal each millisecond, a restarted span never ends */

struct repeated {
	long (*call)(int ms);
	unstick_time not_before, returned;
};

static long run_repeated(void *arg)
{
	struct repeated *repeated = arg;
	struct unstick_scope scope;
	unstick_scope_start(&scope, NULL, unstick_after_ms(LONG_MS));
	repeated->not_before = unstick_after_ms(5 * SHORT_MS);
	long result = repeated->call(5 * SHORT_MS);
	repeated->returned = unstick_now();
	int error = unstick_scope_end(&scope);
	return error ? error : result;
}

Test(call_timed, our_signal_does_not_lengthen_or_shorten_them)
{
	for (EACH_CALL(c)) {
		struct repeated repeated = {.call = c->call};
		struct worker worker;
		worker_start(&worker, run_repeated, &repeated);
		wait_for(unstick_signal());
		for (unsigned sent = 0; !atomic_load(&worker.over); sent++) {
			cr_assert_lt(sent, 5000u, "%s starts again with its whole span", c->name);
			syscall(SYS_tgkill, getpid(), worker.tid, unstick_signal());
			pause_between_looks();
		}
		cr_assert_eq(worker_join(&worker), 0, "%s: %ld", c->name, worker.result);
		cr_assert_geq(repeated.returned, repeated.not_before, "%s came back early", c->name);
	}
}

/* ---- ppoll's mask */

static long ppoll_with_full_mask(void *token)
{
	struct unstick_scope scope;
	struct pollfd one = {.fd = fds[0], .events = POLLIN};
	sigset_t all;
	sigfillset(&all);
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	long result = unstick_ppoll(&one, 1, NULL, &all);
	int error = unstick_scope_end(&scope);
	return error == result ? result : -EPROTO;
}

Test(call_timed, a_ppoll_that_blocks_all_signals_can_be_cut_and_blocks_the_others)
{
	struct unstick_token *token = token_make(NULL);
	struct worker worker;
	count_signal(SIGUSR1, 0);
	worker_start(&worker, ppoll_with_full_mask, token);
	worker_wait_blocked(&worker, SYS_ppoll);
	cr_assert_eq(pthread_kill(worker.thread, SIGUSR1), 0);
	unstick_token_cancel(token);
	cr_assert_eq(worker_join(&worker), -ECANCELED, "SIGUSR1 got through the mask, or our signal did not");
	cr_assert_eq(signals_counted, 1, "delivered once the mask was back");
}

/* The kernel's timeout may be earlier than the monitor. */
Test(call_timed, a_check_after_a_call_that_the_deadline_cut_says_so)
{
	for (int i = 0; i < 500; i++) {
		struct unstick_scope scope;
		cr_assert_eq(unstick_scope_begin(&scope, NULL, unstick_after_ns(50000)), 0);
		cr_assert_eq(unstick_poll(NULL, 0, -1), -ETIMEDOUT);
		cr_assert_eq(unstick_check(), -ETIMEDOUT, "round %d", i);
		cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	}
}
