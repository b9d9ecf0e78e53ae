/* SPDX-License-Identifier: MIT
 *
 * Own calls give what the bare calls give, outside scopes and in them: results, data, errors, arguments in their order.
 */
#include "helpers.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/un.h>

static int fds[2], sv[2], file, epoll_fd;

static void setup(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = 77};
	pipe_empty(fds);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, sv), 0);
	file = memfd_create("file", 0);
	epoll_fd = epoll_create1(0);
	cr_assert_eq(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event), 0);
}

TestSuite(call_result, .init = setup);

/* Each case is run twice; `inside` has a scope with everything in force and nothing fired. */
static void outside_and_inside(void (*check)(void))
{
	struct unstick_scope scope;
	check();
	cr_assert_eq(unstick_scope_begin(&scope, token_make(NULL), unstick_after_ms(3600000)), 0);
	check();
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

static void check_pipe(void)
{
	char a[4] = "", b[4] = "";
	struct iovec out[2] = {{(char *)(uintptr_t) "ab", 2}, {(char *)(uintptr_t) "cd", 2}}, in[2] = {{a, 3}, {b, 3}};
	cr_assert_eq(unstick_write(fds[1], "xyz", 3), 3);
	cr_assert_eq(unstick_read(fds[0], a, 2), 2);
	cr_assert_eq(unstick_read(fds[0], a + 2, 2), 1);
	cr_assert_str_eq(a, "xyz");
	cr_assert_eq(unstick_writev(fds[1], out, 2), 4);
	cr_assert_eq(unstick_readv(fds[0], in, 2), 4);
	cr_assert(!strcmp(a, "abc") && !strcmp(b, "d"));
}

Test(call_result, read_and_write)
{
	outside_and_inside(check_pipe);
}

static void check_file(void)
{
	char buf[8] = "";
	cr_assert_eq(unstick_pwrite(file, "hello", 5, INT64_C(0x100000002)), 5, "the offset has more than 32 bits");
	cr_assert_eq(unstick_pread(file, buf, 7, INT64_C(0x100000003)), 4);
	cr_assert_str_eq(buf, "ello");
	cr_assert_eq(unstick_pread(file, buf, 7, INT64_C(0x200000000)), 0);
	cr_assert_eq(unstick_pread(file, buf, 7, -1), -EINVAL);
}

Test(call_result, pread_and_pwrite)
{
	outside_and_inside(check_file);
}

static void check_sockets(void)
{
	char buf[8] = "";
	struct iovec v = {buf, sizeof buf};
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
	struct sockaddr_un from = {.sun_family = 99};
	socklen_t length = sizeof from;
	cr_assert_eq(unstick_send(sv[0], "one", 4, MSG_NOSIGNAL), 4);
	cr_assert_eq(unstick_recv(sv[1], buf, sizeof buf, MSG_PEEK), 4, "the flags did not arrive");
	cr_assert_eq(unstick_recv(sv[1], buf, 2, MSG_TRUNC), 4);
	cr_assert_eq(unstick_sendto(sv[0], "two", 4, 0, NULL, 0), 4);
	cr_assert_eq(unstick_recvfrom(sv[1], buf, sizeof buf, MSG_DONTWAIT, (struct sockaddr *)&from, &length), 4);
	cr_assert(!strcmp(buf, "two") && length == 0 /* the sender has no name */);
	v.iov_len = 3;
	cr_assert_eq(unstick_sendmsg(sv[0], &msg, 0), 3);
	v.iov_len = sizeof buf;
	cr_assert_eq(unstick_recvmsg(sv[1], &msg, MSG_DONTWAIT), 3);
	cr_assert_eq(unstick_recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), -EAGAIN);
}

Test(call_result, send_and_receive)
{
	outside_and_inside(check_sockets);
}

static void check_connections(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX}, peer;
	socklen_t length = sizeof address, peer_length = sizeof peer;
	int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(server, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	cr_assert_eq(listen(server, 4), 0);
	cr_assert_eq(getsockname(server, (struct sockaddr *)&address, &length), 0);
	cr_assert_eq(unstick_connect(client, (struct sockaddr *)&address, length), 0);
	cr_assert_eq(unstick_connect(client, (struct sockaddr *)&address, length), -EISCONN);
	int accepted = unstick_accept4(server, (struct sockaddr *)&peer, &peer_length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	cr_assert_geq(accepted, 0);
	cr_assert_eq(fcntl(accepted, F_GETFD), FD_CLOEXEC);
	cr_assert(fcntl(accepted, F_GETFL) & O_NONBLOCK);
	cr_assert_eq(peer_length, sizeof(sa_family_t));
	close(accepted), close(client), close(server);
}

Test(call_result, connect_and_accept)
{
	outside_and_inside(check_connections);
}

static void check_open(void)
{
	int dir = unstick_openat(AT_FDCWD, "/proc/self", O_RDONLY | O_DIRECTORY, 0);
	int fd = unstick_openat(dir, "stat", O_RDONLY | O_CLOEXEC, 0),
	    made = unstick_openat(AT_FDCWD, "/tmp", O_RDWR | O_TMPFILE, 0640);
	mode_t mask = umask(0);
	int open_to_all = unstick_openat(AT_FDCWD, "/tmp", O_RDWR | O_TMPFILE, 0606);
	struct stat st;
	umask(mask);
	cr_assert(dir >= 0 && fd >= 0 && made >= 0 && open_to_all >= 0);
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	cr_assert(fstat(open_to_all, &st) == 0 && (st.st_mode & 0777) == 0606, "the mode did not arrive");
	cr_assert_eq(unstick_openat(AT_FDCWD, "/proc/self/nothing", O_RDONLY, 0), -ENOENT);
	close(dir), close(fd), close(made), close(open_to_all);
}

Test(call_result, openat)
{
	outside_and_inside(check_open);
}

static void check_readiness(void)
{
	struct pollfd two[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLOUT}};
	struct epoll_event event = {0};
	struct timespec none = {0};
	struct timeval zero = {0};
	fd_set readable, writable;
	cr_assert_eq(unstick_poll(two, 2, 0), 1);
	cr_assert(two[0].revents == 0 && two[1].revents == POLLOUT);
	cr_assert_eq(unstick_epoll_wait(epoll_fd, &event, 1, 0), 0);
	write_byte(fds[1]);
	cr_assert_eq(unstick_ppoll(two, 2, &none, NULL), 2);
	cr_assert_eq(two[0].revents, POLLIN);
	cr_assert_eq(unstick_epoll_wait(epoll_fd, &event, 1, -1), 1);
	cr_assert_eq(event.data.u32, 77);
	FD_ZERO(&readable);
	FD_ZERO(&writable);
	FD_SET(fds[0], &readable);
	FD_SET(sv[0], &readable);
	FD_SET(fds[1], &writable);
	cr_assert_eq(unstick_select(sv[1] + 1, &readable, &writable, NULL, &zero), 2);
	cr_assert(FD_ISSET(fds[0], &readable) && !FD_ISSET(sv[0], &readable) && FD_ISSET(fds[1], &writable));
	cr_assert_eq(unstick_read(fds[0], &none, 1), 1);
}

Test(call_result, poll_select_and_epoll)
{
	outside_and_inside(check_readiness);
}

static void check_locks(void)
{
	struct flock part = {.l_type = F_WRLCK, .l_start = 3, .l_len = 2};
	cr_assert_eq(unstick_flock(file, LOCK_EX), 0);
	cr_assert_eq(unstick_flock(file, LOCK_UN), 0);
	cr_assert_eq(unstick_fcntl_lock(file, F_OFD_SETLKW, &part), 0);
	part.l_type = F_UNLCK;
	cr_assert_eq(unstick_fcntl_lock(file, F_OFD_SETLK, &part), 0);
	cr_assert_eq(unstick_fcntl_lock(file, F_GETFL, &part), -EINVAL, "not a lock command");
	cr_assert_eq(unstick_fcntl_lock(file, F_DUPFD, &part), -EINVAL);
}

Test(call_result, file_locks)
{
	outside_and_inside(check_locks);
}

static void check_syscall(void)
{
	int fd = memfd_create("six", 0);
	char buf[4] = "";
	cr_assert_eq(pwrite(fd, "abc", 3, 4096), 3);
	cr_assert_eq(unstick_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0), getpid());
	long map = unstick_syscall(SYS_mmap, 0, 4096, PROT_READ, MAP_SHARED, fd, 4096); /* all six, in their order */
	cr_assert(map > 0 && !memcmp((void *)map, "abc", 3));
	cr_assert_eq(unstick_syscall(SYS_munmap, map, 4096, 0, 0, 0, 0), 0);
	cr_assert_eq(unstick_syscall(SYS_pread64, fd, (long)buf, 3, 4097, 0, 0), 2);
	cr_assert_eq(unstick_syscall(99999, 0, 0, 0, 0, 0, 0), -ENOSYS);
	close(fd);
}

Test(call_result, any_system_call)
{
	outside_and_inside(check_syscall);
}

static void check_refused(void)
{
	static const long twice[] = {SYS_vfork, SYS_clone, SYS_clone3, SYS_rt_sigreturn};
	for (size_t i = 0; i < sizeof twice / sizeof twice[0]; i++)
		cr_assert_eq(unstick_syscall(twice[i], 0, 0, 0, 0, 0, 0), -EINVAL, "call %ld", twice[i]);
}

Test(call_result, calls_that_return_twice_are_refused)
{
	outside_and_inside(check_refused);
}

static void check_bad_fd(void)
{
	char buf[1] = {0};
	struct iovec v = {buf, 1};
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct flock whole = {.l_type = F_WRLCK};
	struct epoll_event event;
	fd_set set;
	int closed = dup(fds[0]);
	close(closed);
	FD_ZERO(&set);
	FD_SET(closed, &set);
	const long results[] = {unstick_read(-1, buf, 1),
	                        unstick_readv(-1, &v, 1),
	                        unstick_pread(-1, buf, 1, 0),
	                        unstick_write(-1, buf, 1),
	                        unstick_writev(-1, &v, 1),
	                        unstick_pwrite(-1, buf, 1, 0),
	                        unstick_recv(-1, buf, 1, 0),
	                        unstick_recvfrom(-1, buf, 1, 0, NULL, NULL),
	                        unstick_recvmsg(-1, &msg, 0),
	                        unstick_send(-1, buf, 1, 0),
	                        unstick_sendto(-1, buf, 1, 0, NULL, 0),
	                        unstick_sendmsg(-1, &msg, 0),
	                        unstick_accept4(-1, NULL, NULL, 0),
	                        unstick_connect(-1, (struct sockaddr *)&address, sizeof address),
	                        unstick_openat(-1, "x", O_RDONLY, 0),
	                        unstick_select(closed + 1, &set, NULL, NULL, NULL),
	                        unstick_epoll_wait(-1, &event, 1, -1),
	                        unstick_flock(-1, LOCK_EX),
	                        unstick_fcntl_lock(-1, F_SETLKW, &whole),
	                        unstick_syscall(SYS_read, -1, (long)buf, 1, 0, 0, 0)};
	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
		cr_assert_eq(results[i], -EBADF, "result %zu: %ld", i, results[i]);
	cr_assert(FD_ISSET(closed, &set), "an error leaves the sets as they were");
}

Test(call_result, errors_come_back_negative_and_errno_is_not_touched)
{
	errno = 0;
	outside_and_inside(check_bad_fd);
	cr_assert_eq(errno, 0);
}

Test(call_result, posix_turns_a_result_into_errno)
{
	errno = 0;
	cr_assert(unstick_posix(5) == 5 && errno == 0);
	cr_assert(unstick_posix(unstick_flock(-1, LOCK_EX)) == -1 && errno == EBADF);
}

/* "Outside scopes own calls never attach": no record, no signal, no background thread. */
Test(call_result, outside_scopes_nothing_is_set_up)
{
	check_pipe();
	check_readiness();
	cr_assert_eq(unstick_signal(), 0);
	cr_assert_eq(threads_named("unstick"), 0);
}
