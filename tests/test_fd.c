/* SPDX-License-Identifier: MIT
 *
 * inspect/fd.h: each kind of fd, here and in another process, on healthy and on silent file systems, and its text.
 */
#include <errno.h>
#include "silent_fuse.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include "inspect/fd.h"

static enum fd_kind kind_here(int fd)
{
	struct fd_info info;

	cr_assert_eq(fd_look(fd, &info), 0, "fd %d", fd);
	cr_assert_not(info.may_hang, "fd %d", fd);
	return info.kind;
}

/* A child that has all the fds of the test, and waits. */
static pid_t start_holder(void)
{
	pid_t child = fork_child();

	if (child == 0) {
		alarm(60);
		pause();
		_exit(0);
	}
	wait_until_in_call(child, child, SYS_pause);
	return child;
}

static int fd_of_each_kind[8];

static void make_each_kind(void)
{
	int pipe_fds[2];

	cr_assert_eq(pipe(pipe_fds), 0);
	fd_of_each_kind[FD_FILE] = open("/proc/self/maps", O_RDONLY);
	fd_of_each_kind[FD_DIRECTORY] = open("/", O_RDONLY | O_DIRECTORY);
	fd_of_each_kind[FD_CHAR] = open("/dev/null", O_RDWR);
	fd_of_each_kind[FD_PIPE] = pipe_fds[0];
	fd_of_each_kind[FD_SOCKET] = socket(AF_UNIX, SOCK_STREAM, 0);
	fd_of_each_kind[FD_OTHER] = eventfd(0, 0);
}

Test(fd, kinds_here_and_in_another_process, .timeout = 60)
{
	static const enum fd_kind kinds[] = {FD_FILE, FD_DIRECTORY, FD_CHAR, FD_PIPE, FD_SOCKET, FD_OTHER};
	pid_t child;

	make_each_kind();
	child = start_holder();
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct fd_info info = {.kind = FD_UNKNOWN};
		int fd = fd_of_each_kind[kinds[i]];
		cr_expect_eq(kind_here(fd), kinds[i], "kind %u, here", kinds[i]);
		cr_expect_eq(fd_look_of(child, fd, &info), 0);
		cr_expect_eq(info.kind, kinds[i], "kind %u, in the child: %u", kinds[i], info.kind);
		cr_expect_not(info.may_hang);
		cr_expect_eq(fd_look_of(getpid(), fd, &info), 0);
		cr_expect_eq(info.kind, kinds[i]);
	}
	end_child(child);
}

Test(fd, anonymous_inodes_are_no_files)
{
	cr_assert_eq(kind_here(epoll_create1(0)), FD_OTHER);
	cr_assert_eq(kind_here(timerfd_create(CLOCK_MONOTONIC, 0)), FD_OTHER);
	cr_assert_eq(kind_here(inotify_init1(0)), FD_OTHER);
}

Test(fd, a_fifo_is_a_pipe_and_a_memory_file_does_not_hang)
{
	char path[] = "/tmp/unstick-fifo-XXXXXX";

	close(mkstemp(path));
	unlink(path);
	cr_assert_eq(mkfifo(path, 0600), 0);
	cr_assert_eq(kind_here(open(path, O_RDWR)), FD_PIPE);
	unlink(path);
	cr_assert_eq(kind_here(memfd_create("m", 0)), FD_FILE);
}

Test(fd, a_block_device_is_one)
{
	int fd = -1;

	if (geteuid() != 0 || mknod("/tmp/unstick-block", S_IFBLK | 0600, makedev(7, 0)) < 0)
		cr_skip_test("a block device node needs root");
	fd = open("/tmp/unstick-block", O_RDONLY | O_PATH);
	unlink("/tmp/unstick-block");
	cr_assert_geq(fd, 0);
	cr_assert_eq(kind_here(fd), FD_BLOCK);
}

Test(fd, an_unknown_driver_is_told_from_a_terminal)
{
	struct fd_info info;
	int null = open("/dev/null", O_RDWR), terminal = posix_openpt(O_RDWR | O_NOCTTY), other = open("/dev/fuse", O_RDWR);

	cr_assert_eq(fd_look(null, &info), 0);
	cr_assert_not(info.is_device);
	cr_assert(fd_look(terminal, &info) == 0 && info.kind == FD_CHAR);
	cr_assert_not(info.is_device);
	if (other < 0)
		cr_skip_test("/dev/fuse cannot be opened");
	cr_assert(fd_look(other, &info) == 0 && info.kind == FD_CHAR);
	cr_assert(info.is_device);
}

Test(fd, what_is_closed_is_ebadf, .timeout = 60)
{
	struct fd_info info = {.mnt_id = 77};
	pid_t child = start_holder();

	cr_expect_eq(fd_look(-1, &info), -EBADF);
	cr_expect_eq(fd_look(AT_FDCWD, &info), -EBADF);
	cr_expect_eq(fd_look(1000, &info), -EBADF);
	cr_expect_eq(fd_look_of(child, 1000, &info), -EBADF);
	cr_expect_eq(fd_look_of(child, -1, &info), -EBADF);
	cr_expect_eq(info.mnt_id, 77, "wrote into ret");
	end_child(child);
	cr_assert_eq(fd_look_of(child, 0, &info), -EBADF);
}

static int look_as_nobody(pid_t target)
{
	struct fd_info info;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 2;
	return fd_look_of(target, 0, &info) == -EACCES ? 0 : 1;
}

Test(fd, a_missing_right_is_eacces, .timeout = 60)
{
	pid_t target = getpid(), child;
	int status;

	if (geteuid() != 0)
		cr_skip_test("needs root: another user to look from");
	child = fork_child();
	if (child == 0)
		_exit(look_as_nobody(target));
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
}

Test(fd, looking_does_not_hang_on_a_silent_fuse_mount, .timeout = 60)
{
	struct silent_fuse fuse;
	struct fd_info info = {.kind = FD_UNKNOWN};
	char text[128];
	pid_t child;
	int fd;

	if (!silent_fuse_start(&fuse))
		return;
	fd = open(fuse.file, O_RDWR);
	cr_assert_geq(fd, 0);
	child = start_holder();
	cr_expect_eq(fd_look(fd, &info), 0);
	cr_expect(info.kind == FD_FILE && info.may_hang);
	info = (struct fd_info){.kind = FD_UNKNOWN};
	cr_expect_eq(fd_look_of(child, fd, &info), 0);
	cr_expect(info.kind == FD_FILE && info.may_hang);
	cr_expect_eq(fd_describe(child, fd, text, sizeof(text)), strlen(fuse.file));
	cr_expect_str_eq(text, fuse.file);
	umount2(fuse.dir, MNT_DETACH);
	cr_expect_eq(fd_look(fd, &info), 0);
	cr_expect(info.kind == FD_FILE && info.may_hang, "unmounted lazily, it hangs all the same");
	end_child(child);
	silent_fuse_end(&fuse);
}

static void stat_it(void *arg)
{
	struct stat unused;
	int r = fstat(*(int *)arg, &unused);
	(void)r;
}

/* The test above proves something only if what it avoids does hang. */
Test(fd, fstat_does_hang_there, .timeout = 60)
{
	struct silent_fuse fuse;
	struct blocked blocked;
	int fd;

	if (!silent_fuse_start(&fuse))
		return;
	fd = open(fuse.file, O_RDWR);
	blocked_start(&blocked, stat_it, &fd);
	wait_until_shows(getpid(), blocked.tid, "wchan", "request_wait_answer");
	silent_fuse_end(&fuse);
	blocked_join(&blocked);
}

static void check_text(int fd, const char *expected)
{
	char here[160], there[160];
	pid_t child = start_holder();

	cr_expect_eq(fd_describe(0, fd, here, sizeof(here)), strlen(expected));
	cr_expect_str_eq(here, expected);
	cr_expect_eq(fd_describe(child, fd, there, sizeof(there)), strlen(expected));
	cr_expect_str_eq(there, expected);
	end_child(child);
}

Test(describe, pipes_files_and_anonymous_inodes, .timeout = 60)
{
	struct stat pipe_stat;
	char expected[64];
	int pipe_fds[2];

	cr_assert_eq(pipe(pipe_fds), 0);
	cr_assert_eq(fstat(pipe_fds[0], &pipe_stat), 0);
	snprintf(expected, sizeof(expected), "pipe:[%lu]", pipe_stat.st_ino);
	check_text(pipe_fds[0], expected);
	check_text(eventfd(0, 0), "eventfd");
	check_text(inotify_init1(0), "inotify");
	check_text(open("/dev/null", O_RDWR), "/dev/null");
}

Test(describe, a_closed_fd_is_unknown)
{
	char text[8] = "xxx";

	cr_assert_eq(fd_describe(0, 1000, text, sizeof(text)), 0);
	cr_assert_str_eq(text, "");
}

Test(describe, a_text_is_cut_and_its_length_told)
{
	char text[5];

	cr_assert_eq(fd_describe(0, open("/dev/null", O_RDWR), text, sizeof(text)), strlen("/dev/null"));
	cr_assert_str_eq(text, "/dev");
}

static unsigned bind_any(int fd, int family)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t six_size = sizeof(six), four_size = sizeof(four);

	if (family == AF_INET6) {
		cr_assert_eq(bind(fd, (struct sockaddr *)&six, six_size), 0);
		cr_assert_eq(getsockname(fd, (struct sockaddr *)&six, &six_size), 0);
		return ntohs(six.sin6_port);
	}
	cr_assert_eq(bind(fd, (struct sockaddr *)&four, four_size), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&four, &four_size), 0);
	return ntohs(four.sin_port);
}

Test(describe, tcp_listening_and_connected, .timeout = 60)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	unsigned port = bind_any(listener, AF_INET), client_port = bind_any(client, AF_INET);
	char expected[96];

	cr_assert_eq(listen(listener, 1), 0);
	address.sin_port = htons((uint16_t)port);
	cr_assert_eq(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	snprintf(expected, sizeof(expected), "socket tcp listening 127.0.0.1:%u", port);
	check_text(listener, expected);
	snprintf(expected, sizeof(expected), "socket tcp 127.0.0.1:%u -> 127.0.0.1:%u", client_port, port);
	check_text(client, expected);
}

Test(describe, tcp_over_ipv6_and_udp, .timeout = 60)
{
	int udp = socket(AF_INET, SOCK_DGRAM, 0), six = socket(AF_INET6, SOCK_STREAM, 0);
	char expected[96];

	snprintf(expected, sizeof(expected), "socket udp 127.0.0.1:%u", bind_any(udp, AF_INET));
	check_text(udp, expected);
	if (six < 0 || access("/proc/self/net/tcp6", R_OK) < 0)
		cr_skip_test("no IPv6 here");
	snprintf(expected, sizeof(expected), "socket tcp listening [::1]:%u", bind_any(six, AF_INET6));
	cr_assert_eq(listen(six, 1), 0);
	check_text(six, expected);
}

Test(describe, unix_sockets_with_and_without_a_path, .timeout = 60)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0unstick-test"};
	int pair[2], named = socket(AF_UNIX, SOCK_STREAM, 0);

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	check_text(pair[0], "socket unix");
	cr_assert_eq(bind(named, (struct sockaddr *)&address, sizeof(sa_family_t) + 13), 0);
	check_text(named, "socket unix @unstick-test");
}

Test(describe, a_socket_in_no_table_keeps_its_number)
{
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);
	char text[64];

	if (fd < 0)
		fd = socket(AF_INET, SOCK_STREAM, 0); /* neither bound nor connected: not listed */
	cr_assert_geq(fd, 0);
	fd_describe(0, fd, text, sizeof(text));
	cr_assert_eq(strncmp(text, "socket:[", 8), 0, "%s", text);
}
