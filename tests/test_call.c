/* SPDX-License-Identifier: MIT
 *
 * Every own call: outside scopes the bare call; in a scope the same results, and out of it when the scope fires, before the call or in it,
 * by a cancel or a deadline. Timeouts of their own: test_call_timed.c.
 * pread and pwrite cannot be made to block here (what blocks has no offset); they are cut before only.
 */
#include "helpers.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>

static int empty[2], full[2], silent[2], stuffed[2], lonely, listener, crowded, locked, epoll_fd;
static struct sockaddr_un crowded_address;
static socklen_t crowded_length = sizeof crowded_address;
static char fifo_path[32], byte;
static const struct timespec hour = {.tv_sec = 3600};

static int unix_listener(struct sockaddr_un *address, socklen_t *length)
{
	struct sockaddr_un any = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof(sa_family_t)), 0); /* the kernel makes up a name */
	cr_assert_eq(listen(fd, 0), 0);
	if (address)
		cr_assert_eq(getsockname(fd, (struct sockaddr *)address, length), 0);
	return fd;
}

static void lock_a_file(void)
{
	char path[32];
	struct flock whole = {.l_type = F_WRLCK};
	int holder = memfd_create("locked", 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", holder);
	locked = open(path, O_RDWR);
	cr_assert_geq(locked, 0);
	cr_assert_eq(flock(holder, LOCK_EX), 0);
	cr_assert_eq(fcntl(holder, F_OFD_SETLK, &whole), 0);
}

/* Reached through an fd, so that no name is left behind whatever becomes of the test. */
static void make_fifo(void)
{
	char dir[] = "/tmp/unstick-call-XXXXXX", name[40];
	cr_assert_not_null(mkdtemp(dir));
	snprintf(name, sizeof name, "%s/fifo", dir);
	cr_assert_eq(mkfifo(name, 0600), 0);
	snprintf(fifo_path, sizeof fifo_path, "/proc/self/fd/%d", open(name, O_PATH));
	cr_assert(unlink(name) == 0 && rmdir(dir) == 0);
}

static void setup(void)
{
	static const char zeros[65536];
	pipe_empty(empty);
	pipe_full(full);
	make_fifo();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, silent), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, stuffed), 0);
	while (send(stuffed[0], zeros, sizeof zeros, MSG_DONTWAIT) > 0)
		;
	listener = unix_listener(NULL, NULL);
	crowded = unix_listener(&crowded_address, &crowded_length);
	lonely = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(connect(lonely, (struct sockaddr *)&crowded_address, crowded_length), 0); /* and the backlog is full */
	lock_a_file();
	epoll_fd = epoll_create1(0);
}

TestSuite(call, .init = setup);

/* ---- one function a call, blocked for ever */

static struct iovec vector(void)
{
	return (struct iovec){.iov_base = &byte, .iov_len = 1};
}

static long do_read(void)
{
	return unstick_read(empty[0], &byte, 1);
}

static long do_readv(void)
{
	struct iovec v = vector();
	return unstick_readv(empty[0], &v, 1);
}

static long do_write(void)
{
	return unstick_write(full[1], &byte, 1);
}

static long do_writev(void)
{
	struct iovec v = vector();
	return unstick_writev(full[1], &v, 1);
}

static long do_recv(void)
{
	return unstick_recv(silent[0], &byte, 1, 0);
}

static long do_recvfrom(void)
{
	struct sockaddr_un from;
	socklen_t length = sizeof from;
	return unstick_recvfrom(silent[0], &byte, 1, 0, (struct sockaddr *)&from, &length);
}

static long do_recvmsg(void)
{
	struct iovec v = vector();
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
	return unstick_recvmsg(silent[0], &msg, 0);
}

static long do_send(void)
{
	return unstick_send(stuffed[0], &byte, 1, MSG_NOSIGNAL);
}

static long do_sendto(void)
{
	return unstick_sendto(stuffed[0], &byte, 1, MSG_NOSIGNAL, NULL, 0);
}

static long do_sendmsg(void)
{
	struct iovec v = vector();
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
	return unstick_sendmsg(stuffed[0], &msg, MSG_NOSIGNAL);
}

static long do_accept4(void)
{
	return unstick_accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

static long do_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int result = unstick_connect(fd, (struct sockaddr *)&crowded_address, crowded_length);
	close(fd);
	return result;
}

static long do_openat(void)
{
	return unstick_openat(AT_FDCWD, fifo_path, O_RDONLY | O_CLOEXEC, 0);
}

static long do_poll(void)
{
	struct pollfd one = {.fd = empty[0], .events = POLLIN};
	return unstick_poll(&one, 1, -1);
}

static long do_ppoll(void)
{
	struct pollfd one = {.fd = empty[0], .events = POLLIN};
	sigset_t none;
	sigemptyset(&none);
	return unstick_ppoll(&one, 1, NULL, &none);
}

static long do_select(void)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(empty[0], &set);
	return unstick_select(empty[0] + 1, &set, NULL, NULL, NULL);
}

static long do_epoll_wait(void)
{
	struct epoll_event event;
	return unstick_epoll_wait(epoll_fd, &event, 1, -1);
}

static long do_nanosleep(void)
{
	return unstick_nanosleep(&hour, NULL);
}

static long do_clock_nanosleep(void)
{
	return unstick_clock_nanosleep(CLOCK_MONOTONIC, 0, &hour, NULL);
}

static long do_clock_nanosleep_until(void)
{
	struct timespec when;
	clock_gettime(CLOCK_REALTIME, &when);
	when.tv_sec += 3600;
	return unstick_clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &when, NULL);
}

static long do_clock_nanosleep_boottime(void)
{
	struct timespec left;
	return unstick_clock_nanosleep(CLOCK_BOOTTIME, 0, &hour, &left);
}

static long do_flock(void)
{
	return unstick_flock(locked, LOCK_EX);
}

static long do_fcntl_lock(void)
{
	struct flock whole = {.l_type = F_WRLCK};
	return unstick_fcntl_lock(locked, F_OFD_SETLKW, &whole);
}

static long do_syscall(void)
{
	return unstick_syscall(SYS_read, empty[0], (long)&byte, 1, 0, 0, 0);
}

static const struct own_call {
	const char *name;
	long (*call)(void);
	long nr; /* in which /proc shows it, in a scope */
} own_calls[] = {
        {"read", do_read, SYS_read},
        {"readv", do_readv, SYS_readv},
        {"write", do_write, SYS_write},
        {"writev", do_writev, SYS_writev},
        {"recv", do_recv, SYS_recvfrom},
        {"recvfrom", do_recvfrom, SYS_recvfrom},
        {"recvmsg", do_recvmsg, SYS_recvmsg},
        {"send", do_send, SYS_sendto},
        {"sendto", do_sendto, SYS_sendto},
        {"sendmsg", do_sendmsg, SYS_sendmsg},
        {"accept4", do_accept4, SYS_accept4},
        {"connect", do_connect, SYS_connect},
        {"openat", do_openat, SYS_openat},
        {"poll", do_poll, SYS_ppoll},
        {"ppoll", do_ppoll, SYS_ppoll},
        {"select", do_select, SYS_pselect6},
        {"epoll_wait", do_epoll_wait, SYS_epoll_pwait},
        {"nanosleep", do_nanosleep, SYS_clock_nanosleep},
        {"clock_nanosleep", do_clock_nanosleep, SYS_clock_nanosleep},
        {"clock_nanosleep, realtime", do_clock_nanosleep_until, SYS_clock_nanosleep},
        {"clock_nanosleep, boottime", do_clock_nanosleep_boottime, SYS_clock_nanosleep},
        {"flock", do_flock, SYS_flock},
        {"fcntl_lock", do_fcntl_lock, SYS_fcntl},
        {"syscall", do_syscall, SYS_read},
};

#define EACH_CALL(c)                                            \
	const struct own_call *c = own_calls;                   \
	c < own_calls + sizeof own_calls / sizeof own_calls[0]; \
	c++

struct scoped {
	long (*call)(void);
	struct unstick_token *token;
	unstick_time deadline;
	int end;
};

static long run_scoped(void *arg)
{
	struct scoped *scoped = arg;
	struct unstick_scope scope;
	unstick_scope_start(&scope, scoped->token, scoped->deadline);
	long result = scoped->call();
	scoped->end = unstick_scope_end(&scope);
	return result;
}

/* ---- cut short */

Test(call, promise_1_no_lost_wake_up_once_fired_none_blocks)
{
	for (EACH_CALL(c)) {
		struct scoped scoped = {.call = c->call, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
		unstick_token_cancel(scoped.token);
		cr_assert_eq(run_scoped(&scoped), -ECANCELED, "%s", c->name);
		cr_assert_eq(scoped.end, -ECANCELED);
		scoped = (struct scoped){.call = c->call, .deadline = 1};
		cr_assert_eq(run_scoped(&scoped), -ETIMEDOUT, "%s", c->name);
		cr_assert_eq(scoped.end, -ETIMEDOUT);
	}
}

Test(call, promise_1_no_lost_wake_up_each_comes_out_when_cancelled_in_it)
{
	for (EACH_CALL(c)) {
		struct scoped scoped = {.call = c->call, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
		struct worker worker;
		worker_start(&worker, run_scoped, &scoped);
		worker_wait_blocked(&worker, c->nr);
		unstick_token_cancel(scoped.token);
		cr_assert_eq(worker_join(&worker), -ECANCELED, "%s: %ld", c->name, worker.result);
		cr_assert_eq(scoped.end, -ECANCELED);
	}
}

Test(call, each_comes_out_at_the_deadline_and_not_before)
{
	for (EACH_CALL(c)) {
		struct scoped scoped = {.call = c->call, .deadline = unstick_after_ms(5)};
		struct worker worker;
		worker_start(&worker, run_scoped, &scoped);
		cr_assert_eq(worker_join(&worker), -ETIMEDOUT, "%s: %ld", c->name, worker.result);
		cr_assert_geq(unstick_now(), scoped.deadline);
		cr_assert_eq(scoped.end, -ETIMEDOUT);
	}
}

Test(call, promise_2_no_lost_data_what_is_ready_is_not_touched_once_fired)
{
	struct unstick_scope scope;
	char buf[4] = "";
	cr_assert_eq(write(empty[1], "abc", 3), 3);
	cr_assert_eq(unstick_scope_begin(&scope, NULL, 0), 0);
	cr_assert_eq(unstick_read(empty[0], buf, 3), -ETIMEDOUT);
	cr_assert_eq(unstick_write(empty[1], "d", 1), -ETIMEDOUT);
	cr_assert_eq(unstick_pread(locked, buf, 1, 0), -ETIMEDOUT);
	cr_assert_eq(unstick_pwrite(locked, "x", 1, 0), -ETIMEDOUT);
	cr_assert_eq(unstick_openat(AT_FDCWD, "/dev/null", O_RDONLY, 0), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	cr_assert_eq(unstick_read(empty[0], buf, 4), 3);
	cr_assert_arr_eq(buf, "abc", 4);
	cr_assert_eq(lseek(locked, 0, SEEK_END), 0, "written though it was cut short");
}

static char megabyte[1 << 20];

static long write_megabyte(void)
{
	long moved = unstick_write(empty[1], megabyte, sizeof megabyte), after = unstick_write(empty[1], megabyte, 1);
	return after == -ECANCELED ? moved : after;
}

Test(call, promise_2_no_lost_data_a_write_cut_in_the_middle_tells_what_it_moved)
{
	struct scoped scoped = {.call = write_megabyte, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
	struct worker worker;
	worker_start(&worker, run_scoped, &scoped);
	worker_wait_blocked(&worker, SYS_write);
	unstick_token_cancel(scoped.token);
	long moved = worker_join(&worker), there = 0, n;
	cr_assert_eq(scoped.end, -ECANCELED);
	cr_assert(moved > 0 && moved < (long)sizeof megabyte, "%ld", moved);
	cr_assert_eq(fcntl(empty[0], F_SETFL, O_NONBLOCK), 0);
	while ((n = read(empty[0], megabyte, sizeof megabyte)) > 0)
		there += n;
	cr_assert_eq(there, moved);
}

/* ---- the program's own signals */

Test(call, a_handler_of_the_program_gives_eintr_as_the_kernel_would)
{
	count_signal(SIGUSR1, 0);
	for (EACH_CALL(c)) {
		struct scoped scoped = {.call = c->call, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
		struct worker worker;
		worker_start(&worker, run_scoped, &scoped);
		worker_wait_blocked(&worker, c->nr);
		cr_assert_eq(pthread_kill(worker.thread, SIGUSR1), 0);
		cr_assert_eq(worker_join(&worker), -EINTR, "%s: %ld", c->name, worker.result);
		cr_assert_eq(scoped.end, 0, "%s: not our doing", c->name);
	}
}

Test(call, a_restarting_handler_leaves_it_blocked_and_it_can_be_cut_after)
{
	struct scoped scoped = {.call = do_read, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
	struct worker worker;
	count_signal(SIGUSR1, SA_RESTART);
	worker_start(&worker, run_scoped, &scoped);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(pthread_kill(worker.thread, SIGUSR1), 0);
	wait_for(signals_counted == 1);
	worker_wait_blocked(&worker, SYS_read);
	unstick_token_cancel(scoped.token);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}

static struct unstick_token *handlers_token;

static void cancel_here(int signal)
{
	(void)signal;
	unstick_token_cancel(handlers_token);
}

/* The handler lies on the call that it cancels: our signal arrives on top of it, and again when it has returned. */
Test(call, a_restarting_handler_that_cancels_ends_the_call_under_it)
{
	struct scoped scoped = {.call = do_read, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
	struct sigaction action = {.sa_handler = cancel_here, .sa_flags = SA_RESTART};
	struct worker worker;
	handlers_token = scoped.token;
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	worker_start(&worker, run_scoped, &scoped);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(pthread_kill(worker.thread, SIGUSR1), 0);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}

/* ---- our own signal, when nothing has fired */

/* Sends it and waits until the thread is back in the call. */
static void disturb(struct worker *worker, long nr)
{
	worker_wait_blocked(worker, nr);
	long before = sleeps_of(worker->tid);
	cr_assert_eq(syscall(SYS_tgkill, getpid(), worker->tid, unstick_signal()), 0);
	wait_for(sleeps_of(worker->tid) > before || atomic_load(&worker->over));
	worker_wait_blocked(worker, nr);
}

Test(call, our_signal_alone_is_never_seen)
{
	for (EACH_CALL(c)) {
		struct scoped scoped = {.call = c->call, .deadline = UNSTICK_NEVER, .token = token_make(NULL)};
		struct worker worker;
		worker_start(&worker, run_scoped, &scoped);
		for (int i = 0; i < 3; i++)
			disturb(&worker, c->nr);
		unstick_token_cancel(scoped.token);
		cr_assert_eq(worker_join(&worker), -ECANCELED, "%s: %ld", c->name, worker.result);
	}
}

static long connect_then_use(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int result = unstick_connect(fd, (struct sockaddr *)&crowded_address, crowded_length);
	long sent = result ? result : unstick_send(fd, "x", 1, MSG_NOSIGNAL);
	close(fd);
	return sent;
}

Test(call, a_connect_that_is_made_again_comes_through)
{
	struct scoped scoped = {.call = connect_then_use, .deadline = UNSTICK_NEVER};
	struct worker worker;
	worker_start(&worker, run_scoped, &scoped);
	disturb(&worker, SYS_connect);
	close(accept(crowded, NULL, NULL));
	cr_assert_eq(worker_join(&worker), 1);
	cr_assert_eq(scoped.end, 0);
}
