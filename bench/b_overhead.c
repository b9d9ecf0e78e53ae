/* SPDX-License-Identifier: MIT
 *
 * What a deadline costs a call that does not block: write() and read back 64 bytes on a unix socketpair, by one thread.
 * The write is the same bare write() in every case. The read is libc's as a program with threads runs it (a second thread exists
 * throughout): glibc takes a shorter path through read() while a process has never had a second thread.
 * The ratios are near 1, so blocks are short (about 200 us) and many.
 */
#include "harness.h"
#include "os.h"

#include <unstick.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define MESSAGE 64
#define PAIRS 250
#define SPAN_MS 5000

struct pair {
	const char *name;
	void (*loop)(struct pair *pair, unsigned pairs);
	int fds[2];
	timer_t timer;
	bool ok;
};

/* Written into the loops, not called by them: a call through a pointer would blur what is compared. */
#define LOOP(function, before, reading, after)                    \
	static void function(struct pair *pair, unsigned pairs)   \
	{                                                         \
		char out[MESSAGE] = {0}, in[MESSAGE];             \
		const int to = pair->fds[0], from = pair->fds[1]; \
		bool ok = true;                                   \
		while (pairs-- > 0) {                             \
			ok &= write(to, out, MESSAGE) == MESSAGE; \
			before;                                   \
			ok &= (reading) == MESSAGE;               \
			after;                                    \
		}                                                 \
		pair->ok = ok;                                    \
	}

static inline void arm(struct pair *pair)
{
	struct itimerspec spec = {.it_value = {.tv_sec = SPAN_MS / 1000}};
	timer_settime(pair->timer, 0, &spec, NULL);
}

static inline void disarm(struct pair *pair)
{
	struct itimerspec none = {.it_value = {0, 0}};
	timer_settime(pair->timer, 0, &none, NULL);
}

static inline bool is_readable(int fd)
{
	struct pollfd fds = {.fd = fd, .events = POLLIN};
	return poll(&fds, 1, SPAN_MS) == 1;
}

LOOP(loop_bare, , read(from, in, MESSAGE), )
LOOP(loop_syscall, , syscall(SYS_read, from, in, MESSAGE), )
LOOP(loop_outside, , unstick_read(from, in, MESSAGE), )
LOOP(loop_scope, struct unstick_scope scope; unstick_scope_start(&scope, NULL, unstick_after_ms(SPAN_MS)),
                                             unstick_read(from, in, MESSAGE), ok &= unstick_scope_end(&scope) == 0)
LOOP(loop_foreign, struct unstick_scope scope;
     unstick_scope_start(&scope, NULL, unstick_after_ms(SPAN_MS)), read(from, in, MESSAGE), ok &= unstick_scope_end(&scope) == 0)
LOOP(loop_in_one_scope, , unstick_read(from, in, MESSAGE), )
LOOP(loop_poll, ok &= is_readable(from), read(from, in, MESSAGE), )
LOOP(loop_timer, arm(pair), read(from, in, MESSAGE), disarm(pair))

static void loop_one_scope(struct pair *pair, unsigned pairs)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, NULL, unstick_after_ms(SPAN_MS));
	loop_in_one_scope(pair, pairs);
	if (unstick_scope_end(&scope) < 0)
		pair->ok = false;
}

/* The option is set once, by pair_open(). */
LOOP(loop_rcvtimeo, , read(from, in, MESSAGE), )

struct way {
	void (*loop)(struct pair *pair, unsigned pairs);
};

static const struct way bare = {loop_bare}, with_syscall = {loop_syscall}, outside = {loop_outside}, in_scope = {loop_scope},
                        foreign = {loop_foreign}, one_scope = {loop_one_scope}, with_poll = {loop_poll}, with_timer = {loop_timer},
                        with_rcvtimeo = {loop_rcvtimeo};

static void *pair_open(const struct bench_case *bench_case, const struct bench_config *config)
{
	(void)config;
	struct pair *pair = os_alloc(1, sizeof(*pair));
	struct timeval timeout = {.tv_sec = SPAN_MS / 1000};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = OS_SIGNAL};
	pair->name = bench_case->name;
	pair->loop = ((const struct way *)bench_case->spec)->loop;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair->fds) < 0)
		die_errno("socketpair", errno);
	if (timer_create(CLOCK_MONOTONIC, &event, &pair->timer) < 0)
		die_errno("timer_create", errno);
	if (pair->loop == loop_rcvtimeo && setsockopt(pair->fds[1], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
		die_errno("SO_RCVTIMEO", errno);
	return pair;
}

static void pair_block_run(void *instance, unsigned count, struct samples *samples)
{
	struct pair *pair = instance;
	for (unsigned i = 0; i < count; i++) {
		/* Caches and predictors belong to the case before until a few pairs have run. */
		pair->loop(pair, PAIRS / 20);
		int64_t start = os_now();
		pair->loop(pair, PAIRS);
		samples_add(samples, (double)(os_now() - start) / PAIRS);
		if (!pair->ok)
			die(pair->name, "a write or a read of 64 bytes has failed", "please report it");
	}
}

static void pair_close(void *instance)
{
	struct pair *pair = instance;
	timer_delete(pair->timer);
	close(pair->fds[0]);
	close(pair->fds[1]);
	free(pair);
}

static pthread_t second;
static _Atomic uint32_t second_ends;

static void *second_main(void *arg)
{
	while (atomic_load(&second_ends) == 0)
		os_futex_wait(&second_ends, 0, INT64_MAX);
	return arg;
}

static void overhead_begin(const struct benchmark *benchmark, const struct bench_config *config)
{
	(void)benchmark;
	(void)config;
	os_signal_install();
	atomic_store(&second_ends, 0);
	int error = os_thread_new(&second, 0, -1, second_main, NULL);
	if (error)
		die_errno("thread", error);
}

static void overhead_end(const struct benchmark *benchmark)
{
	(void)benchmark;
	atomic_store(&second_ends, 1);
	os_futex_wake(&second_ends, 1);
	pthread_join(second, NULL);
}

static const struct bench_case cases[] = {
        {.name = "read()", .spec = &bare},
        {.name = "unstick_read(), no scope", .bound = 1.02, .spec = &outside},
        {.name = "unstick_read(), scope each", .bound = 1.10, .spec = &in_scope},
        {.name = "read(), scope each", .spec = &foreign},
        {.name = "unstick_read(), one scope", .spec = &one_scope},
        {.name = "syscall(SYS_read)", .spec = &with_syscall},
        {.name = "poll() + read()", .spec = &with_poll},
        {.name = "timer_settime() twice", .spec = &with_timer},
        {.name = "SO_RCVTIMEO", .spec = &with_rcvtimeo},
};

const struct benchmark bench_overhead = {
        .name = "overhead",
        .summary = "write + read of 64 bytes on a unix socketpair, with and without a deadline",
        .hypothesis = "outside scopes unstick_read() is the bare call; a deadline for each read costs at most 10 % of the pair",
        .sample = "one pair, mean of 250",
        .cases = cases,
        .case_count = sizeof(cases) / sizeof(cases[0]),
        .rounds = 600,
        .block = 1,
        .quick_rounds = 20,
        .quick_block = 1,
        .begin = overhead_begin,
        .end = overhead_end,
        .open = pair_open,
        .block_run = pair_block_run,
        .close = pair_close,
};
