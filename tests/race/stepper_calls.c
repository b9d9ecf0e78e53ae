/* SPDX-License-Identifier: MIT
 *
 * The own calls, their situations, and how to tell afterwards what they have done.
 */
#include "stepper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "unstick.h"

enum { BIG = 1 << 20, READY_BYTES = 3, WANTED_BYTES = 8 };

static void must(bool ok, const char *what)
{
	if (!ok) {
		perror(what);
		_exit(98);
	}
}

static char buffer[64];

/* ---- pipes and sockets: bytes */

static void make_pipe(struct run *run, bool reads)
{
	int ends[2];
	must(pipe(ends) == 0, "pipe");
	run->fd = ends[reads ? 0 : 1];
	run->other = ends[reads ? 1 : 0];
}

static void pipe_reader(struct run *run, enum situation situation)
{
	make_pipe(run, true);
	if (situation != EMPTY)
		must(write(run->other, "abc", READY_BYTES) == READY_BYTES, "write");
}

static void pipe_writer(struct run *run, enum situation situation)
{
	make_pipe(run, false);
	run->big = calloc(1, BIG);
	if (situation == EMPTY) { /* full */
		must(fcntl(run->fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
		while (write(run->fd, run->big, 4096) > 0)
			;
		must(fcntl(run->fd, F_SETFL, 0) == 0, "fcntl");
	}
}

static void socket_reader(struct run *run, enum situation situation)
{
	int ends[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	run->fd = ends[0];
	run->other = ends[1];
	if (situation != EMPTY)
		must(write(run->other, "abc", READY_BYTES) == READY_BYTES, "write");
}

static void socket_writer(struct run *run, enum situation situation)
{
	int ends[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	run->fd = ends[0];
	run->other = ends[1];
	run->big = calloc(1, BIG);
	while (situation == EMPTY && send(run->fd, run->big, 4096, MSG_DONTWAIT) > 0)
		;
}

static int queued(int fd)
{
	int n = 0;
	must(ioctl(fd, FIONREAD, &n) == 0, "FIONREAD");
	return n;
}

static long bytes_taken(const struct run *run, enum situation situation)
{
	return (situation == EMPTY ? 0 : READY_BYTES) - queued(run->fd);
}

static long bytes_given(const struct run *run, enum situation situation)
{
	return situation == EMPTY ? -1 : queued(run->other);
}

static long do_read(struct run *run)
{
	return unstick_read(run->fd, buffer, WANTED_BYTES);
}

static long do_readv(struct run *run)
{
	struct iovec parts[2] = {{buffer, 2}, {buffer + 2, WANTED_BYTES - 2}};
	return unstick_readv(run->fd, parts, 2);
}

static long do_syscall_read(struct run *run)
{
	return unstick_syscall(SYS_read, run->fd, (long)buffer, WANTED_BYTES, 0, 0, 0);
}

static long do_recv(struct run *run)
{
	return unstick_recv(run->fd, buffer, WANTED_BYTES, 0);
}

static long do_recv_all(struct run *run)
{
	return unstick_recv(run->fd, buffer, WANTED_BYTES, MSG_WAITALL);
}

static long do_recvfrom(struct run *run)
{
	return unstick_recvfrom(run->fd, buffer, WANTED_BYTES, 0, NULL, NULL);
}

static long do_recvmsg(struct run *run)
{
	struct iovec part = {buffer, WANTED_BYTES};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
	return unstick_recvmsg(run->fd, &msg, 0);
}

static long do_write(struct run *run)
{
	return unstick_write(run->fd, run->big, READY_BYTES);
}

static long do_write_big(struct run *run)
{
	return unstick_write(run->fd, run->big, BIG);
}

static long do_writev(struct run *run)
{
	struct iovec parts[2] = {{run->big, 1}, {run->big, READY_BYTES - 1}};
	return unstick_writev(run->fd, parts, 2);
}

static long do_send(struct run *run)
{
	return unstick_send(run->fd, run->big, READY_BYTES, 0);
}

static long do_sendto(struct run *run)
{
	return unstick_sendto(run->fd, run->big, READY_BYTES, 0, NULL, 0);
}

static long do_sendmsg(struct run *run)
{
	struct iovec part = {run->big, READY_BYTES};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
	return unstick_sendmsg(run->fd, &msg, 0);
}

/* ---- files: never block, so READY only */

static void small_file(struct run *run, enum situation situation)
{
	(void)situation;
	char path[] = "/tmp/unstick-stepper-XXXXXX";
	run->fd = mkstemp(path);
	must(run->fd >= 0 && unlink(path) == 0 && write(run->fd, "abc", READY_BYTES) == READY_BYTES, "mkstemp");
	run->other = -1;
	run->big = calloc(1, BIG);
}

static long do_pread(struct run *run)
{
	return unstick_pread(run->fd, buffer, WANTED_BYTES, 0);
}

static long do_pwrite(struct run *run)
{
	return unstick_pwrite(run->fd, run->big, READY_BYTES, READY_BYTES);
}

static long file_grown(const struct run *run, enum situation situation)
{
	struct stat info;
	(void)situation;
	must(fstat(run->fd, &info) == 0, "fstat");
	return info.st_size - READY_BYTES;
}

static long nothing(const struct run *run, enum situation situation)
{
	(void)run;
	(void)situation;
	return -1;
}

/* ---- connections and opens: fds */

static void unix_address(struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "unstick-stepper-%d", getpid());
}

static int listener(int backlog)
{
	struct sockaddr_un address;
	unix_address(&address);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	must(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, backlog) == 0, "listen");
	return fd;
}

static int client(void)
{
	struct sockaddr_un address;
	unix_address(&address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
	return fd;
}

static void accepting(struct run *run, enum situation situation)
{
	run->fd = listener(4);
	run->other = situation == READY ? client() : -1;
}

static long do_accept(struct run *run)
{
	long fd = unstick_accept4(run->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return fd;
	run->made = (int)fd;
	return 1;
}

static long connections_taken(const struct run *run, enum situation situation)
{
	if (situation != READY)
		return -1;
	struct pollfd waiting = {.fd = run->fd, .events = POLLIN};
	return poll(&waiting, 1, 0) == 1 ? 0 : 1;
}

static void connecting(struct run *run, enum situation situation)
{
	run->other = listener(situation == EMPTY ? 0 : 4);
	if (situation == EMPTY)
		client(); /* a backlog of 0 holds one */
	run->fd = socket(AF_UNIX, SOCK_STREAM, 0);
}

static long do_connect(struct run *run)
{
	struct sockaddr_un address;
	unix_address(&address);
	return unstick_connect(run->fd, (struct sockaddr *)&address, sizeof address);
}

static char fifo[64];

/* Its name is gone before the first step, whatever becomes of this process: it is opened by way of an fd that only stands for it. */
static void opening(struct run *run, enum situation situation)
{
	char path[] = "/tmp/unstick-stepper-XXXXXX";
	must(mkdtemp(path), "mkdtemp");
	snprintf(fifo, sizeof fifo, "%s/fifo", path);
	must(mkfifo(fifo, 0600) == 0, "mkfifo");
	int held = open(fifo, O_PATH);
	must(held >= 0 && unlink(fifo) == 0 && rmdir(path) == 0, "a FIFO without a name");
	snprintf(fifo, sizeof fifo, "/proc/self/fd/%d", held);
	run->fd = -1;
	run->other = situation == READY ? open(fifo, O_RDWR) : -1;
}

static long do_openat(struct run *run)
{
	long fd = unstick_openat(AT_FDCWD, fifo, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	run->made = (int)fd;
	return 1;
}

/* ---- waits */

static long do_poll(struct run *run)
{
	struct pollfd one = {.fd = run->fd, .events = POLLIN};
	return unstick_poll(&one, 1, -1);
}

static long do_ppoll(struct run *run)
{
	struct pollfd one = {.fd = run->fd, .events = POLLIN};
	struct timespec hour = {.tv_sec = 3600};
	sigset_t all;
	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	return unstick_ppoll(&one, 1, &hour, &all);
}

static long do_select(struct run *run)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(run->fd, &set);
	return unstick_select(run->fd + 1, &set, NULL, NULL, NULL);
}

static void epolling(struct run *run, enum situation situation)
{
	struct epoll_event event = {.events = EPOLLIN};
	pipe_reader(run, situation);
	int ep = epoll_create1(0);
	must(ep >= 0 && epoll_ctl(ep, EPOLL_CTL_ADD, run->fd, &event) == 0, "epoll");
	run->fd = ep;
}

static long do_epoll(struct run *run)
{
	struct epoll_event event;
	return unstick_epoll_wait(run->fd, &event, 1, -1);
}

static void no_fd(struct run *run, enum situation situation)
{
	run->fd = run->other = -1;
	(void)situation;
}

static long do_nanosleep(struct run *run)
{
	(void)run;
	struct timespec hour = {.tv_sec = 3600};
	return unstick_nanosleep(&hour, NULL);
}

static long do_clock_nanosleep(struct run *run)
{
	(void)run;
	struct timespec hour = {.tv_sec = 3600};
	return unstick_clock_nanosleep(CLOCK_BOOTTIME, 0, &hour, NULL);
}

/* ---- locks: held by another open file, or by another process's record lock through OFD */

static void locking(struct run *run, enum situation situation)
{
	char path[] = "/tmp/unstick-stepper-XXXXXX";
	run->fd = mkstemp(path);
	run->other = open(path, O_RDWR);
	must(run->fd >= 0 && run->other >= 0 && unlink(path) == 0, "mkstemp");
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (situation == EMPTY)
		must(flock(run->other, LOCK_EX) == 0 && fcntl(run->other, F_OFD_SETLK, &whole) == 0, "lock");
}

static long do_flock(struct run *run)
{
	return unstick_flock(run->fd, LOCK_EX);
}

static long do_fcntl(struct run *run)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return unstick_fcntl_lock(run->fd, F_OFD_SETLKW, &whole);
}

#define EMPTY_READY                            \
	{                                      \
		[EMPTY] = true, [READY] = true \
	}

const struct own_call stepper_calls[] = {
        {"read", EMPTY_READY, pipe_reader, do_read, bytes_taken, READY_BYTES},
        {"readv", EMPTY_READY, pipe_reader, do_readv, bytes_taken, READY_BYTES},
        {"pread", {[READY] = true}, small_file, do_pread, nothing, READY_BYTES},
        {"write", EMPTY_READY, pipe_writer, do_write, bytes_given, READY_BYTES},
        {"write (1 MiB)", {[PARTIAL] = true}, pipe_writer, do_write_big, bytes_given, 0},
        {"writev", EMPTY_READY, pipe_writer, do_writev, bytes_given, READY_BYTES},
        {"pwrite", {[READY] = true}, small_file, do_pwrite, file_grown, READY_BYTES},
        {"recv", EMPTY_READY, socket_reader, do_recv, bytes_taken, READY_BYTES},
        {"recv (MSG_WAITALL)", {[PARTIAL] = true}, socket_reader, do_recv_all, bytes_taken, 0},
        {"recvfrom", EMPTY_READY, socket_reader, do_recvfrom, bytes_taken, READY_BYTES},
        {"recvmsg", EMPTY_READY, socket_reader, do_recvmsg, bytes_taken, READY_BYTES},
        {"send", EMPTY_READY, socket_writer, do_send, bytes_given, READY_BYTES},
        {"sendto", EMPTY_READY, socket_writer, do_sendto, bytes_given, READY_BYTES},
        {"sendmsg", EMPTY_READY, socket_writer, do_sendmsg, bytes_given, READY_BYTES},
        {"accept4", EMPTY_READY, accepting, do_accept, connections_taken, 1},
        {"connect", EMPTY_READY, connecting, do_connect, nothing, 0},
        {"openat", EMPTY_READY, opening, do_openat, nothing, 1},
        {"poll", EMPTY_READY, pipe_reader, do_poll, nothing, 1},
        {"ppoll", EMPTY_READY, pipe_reader, do_ppoll, nothing, 1},
        {"select", EMPTY_READY, pipe_reader, do_select, nothing, 1},
        {"epoll_wait", EMPTY_READY, epolling, do_epoll, nothing, 1},
        {"nanosleep", {[EMPTY] = true}, no_fd, do_nanosleep, nothing, 0},
        {"clock_nanosleep", {[EMPTY] = true}, no_fd, do_clock_nanosleep, nothing, 0},
        {"flock", EMPTY_READY, locking, do_flock, nothing, 0},
        {"fcntl_lock", EMPTY_READY, locking, do_fcntl, nothing, 0},
        {"syscall", EMPTY_READY, pipe_reader, do_syscall_read, bytes_taken, READY_BYTES},
};

const size_t stepper_call_count = sizeof stepper_calls / sizeof stepper_calls[0];
