/* SPDX-License-Identifier: MIT
 *
 * Group "net": unix, TCP and UDP sockets on loopback: nothing to receive, no room to send, nobody to accept, nobody who accepts.
 * fd[0] is the socket that blocks, fd[1] its peer or the listener, the others fill a backlog.
 * A TCP connect is released by making room in the backlog; the kernel sends its SYN again after a second at the earliest.
 */
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "place.h"

static int unix_pair(struct place *p)
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->fd) ? -errno : 0;
}

/* A listener in fd[1], with its address in addr. */
static int listen_on(struct place *p, int family, int backlog)
{
	if (family == AF_INET) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		memcpy(&p->addr, &in, sizeof in);
		p->addr_len = sizeof in;
	} else {
		/* An empty abstract name: the kernel picks one. */
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		memcpy(&p->addr, &un, sizeof un);
		p->addr_len = offsetof(struct sockaddr_un, sun_path);
	}
	p->fd[1] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A receive buffer that is set does not grow: what does not fit now will not fit later, when the kernel probes for room. */
	int small = 4096;
	if (p->fd[1] < 0 || setsockopt(p->fd[1], SOL_SOCKET, SO_RCVBUF, &small, sizeof small) ||
	    bind(p->fd[1], (struct sockaddr *)&p->addr, p->addr_len) || listen(p->fd[1], backlog))
		return -errno;
	p->addr_len = sizeof p->addr;
	return getsockname(p->fd[1], (struct sockaddr *)&p->addr, &p->addr_len) ? -errno : 0;
}

static int tcp_pair(struct place *p)
{
	int r = listen_on(p, AF_INET, 1);
	if (r)
		return r;
	p->fd[2] = p->fd[1];
	p->fd[1] = -1;
	p->fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int small = 4096;
	if (p->fd[0] < 0 || setsockopt(p->fd[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) ||
	    connect(p->fd[0], (struct sockaddr *)&p->addr, p->addr_len))
		return -errno;
	p->fd[1] = accept4(p->fd[2], NULL, NULL, SOCK_CLOEXEC);
	return p->fd[1] < 0 ? -errno : 0;
}

static int tcp_timeout_setup(struct place *p)
{
	int r = tcp_pair(p);
	struct timeval span = {.tv_sec = 1000};
	return r ? r : setsockopt(p->fd[0], SOL_SOCKET, SO_RCVTIMEO, &span, sizeof span) ? -errno : 0;
}

static int udp_setup(struct place *p)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	p->fd[0] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	p->fd[1] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->fd[0] < 0 || p->fd[1] < 0 || bind(p->fd[0], (struct sockaddr *)&in, len) ||
	    getsockname(p->fd[0], (struct sockaddr *)&in, &len))
		return -errno;
	return connect(p->fd[1], (struct sockaddr *)&in, len) ? -errno : 0;
}

static long recv_foreign(struct place *p)
{
	return or_errno(recv(p->fd[0], p->buf, 100, 0));
}

static long recv_own(struct place *p)
{
	return unstick_recv(p->fd[0], p->buf, 100, 0);
}

static long recvfrom_foreign(struct place *p)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	return or_errno(recvfrom(p->fd[0], p->buf, 100, 0, (struct sockaddr *)&from, &len));
}

static long recvfrom_own(struct place *p)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof from;
	return unstick_recvfrom(p->fd[0], p->buf, 100, 0, (struct sockaddr *)&from, &len);
}

static long recvmsg_foreign(struct place *p)
{
	struct iovec iov = {p->buf, 100};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	return or_errno(recvmsg(p->fd[0], &msg, 0));
}

static long recvmsg_own(struct place *p)
{
	struct iovec iov = {p->buf, 100};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	return unstick_recvmsg(p->fd[0], &msg, 0);
}

static int full_after(struct place *p, int made, int settle_ms)
{
	return made ? made : place_fill(p->fd[0], 4096, settle_ms);
}

static int unix_full_setup(struct place *p)
{
	return full_after(p, unix_pair(p), 20);
}

static int dgram_full_setup(struct place *p)
{
	return full_after(p, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, p->fd) ? -errno : 0, 20);
}

/* Longer than the acknowledgements and the first probe for room take. */
static int tcp_full_setup(struct place *p)
{
	return full_after(p, tcp_pair(p), 300);
}

/* Takes in all that was sent; ten bytes more then find room. */
static int receive_all(struct place *p)
{
	struct pollfd readable = {.fd = p->fd[1], .events = POLLIN};
	ssize_t n;
	do
		while ((n = recv(p->fd[1], p->buf, sizeof p->buf, MSG_DONTWAIT)) > 0)
			;
	while (n < 0 && poll(&readable, 1, 50) > 0);
	return 0;
}

static long send_foreign(struct place *p)
{
	return or_errno(send(p->fd[0], place_zeroes, 10, MSG_NOSIGNAL));
}

static long send_own(struct place *p)
{
	return unstick_send(p->fd[0], place_zeroes, 10, MSG_NOSIGNAL);
}

static long sendmsg_foreign(struct place *p)
{
	struct iovec iov = {place_zeroes, 10};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	return or_errno(sendmsg(p->fd[0], &msg, MSG_NOSIGNAL));
}

static long sendmsg_own(struct place *p)
{
	struct iovec iov = {place_zeroes, 10};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	return unstick_sendmsg(p->fd[0], &msg, MSG_NOSIGNAL);
}

static int tcp_listen_setup(struct place *p)
{
	return listen_on(p, AF_INET, 4);
}

static int unix_listen_setup(struct place *p)
{
	return listen_on(p, AF_UNIX, 4);
}

/* The connection that was made is closed at once: the number of its fd is the caller's luck, that there is one is the result. */
static long one_fd(long r)
{
	if (r >= 0)
		close((int)r);
	return r >= 0 ? 0 : r;
}

static long accept_foreign(struct place *p)
{
	return one_fd(or_errno(accept(p->fd[1], NULL, NULL)));
}

static long accept4_foreign(struct place *p)
{
	return one_fd(or_errno(accept4(p->fd[1], NULL, NULL, SOCK_CLOEXEC)));
}

static long accept4_own(struct place *p)
{
	return one_fd(unstick_accept4(p->fd[1], NULL, NULL, SOCK_CLOEXEC));
}

static int accept_release(struct place *p)
{
	p->fd[2] = socket(p->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return p->fd[2] < 0 || connect(p->fd[2], (struct sockaddr *)&p->addr, p->addr_len) ? -errno : 0;
}

/* Connects until one does not get through. */
static int fill_backlog(struct place *p, int family)
{
	int r = listen_on(p, family, 0);
	for (int i = 2; i < PLACE_FDS && !r; i++) {
		p->fd[i] = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct pollfd connected = {.fd = p->fd[i], .events = POLLOUT};
		if (p->fd[i] < 0)
			return -errno;
		if (connect(p->fd[i], (struct sockaddr *)&p->addr, p->addr_len) &&
		    (errno == EAGAIN || poll(&connected, 1, 50) == 0)) {
			p->fd[0] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
			/* A half-open connection would take the room that the release makes. */
			close(p->fd[i]);
			p->fd[i] = -1;
			return p->fd[0] < 0 ? -errno : 0;
		}
	}
	return r ? r : place_refuse(p, "the listener's backlog does not fill");
}

static int tcp_backlog_setup(struct place *p)
{
	return fill_backlog(p, AF_INET);
}

static int unix_backlog_setup(struct place *p)
{
	return fill_backlog(p, AF_UNIX);
}

static long connect_foreign(struct place *p)
{
	return or_errno(connect(p->fd[0], (struct sockaddr *)&p->addr, p->addr_len));
}

static long connect_own(struct place *p)
{
	return unstick_connect(p->fd[0], (struct sockaddr *)&p->addr, p->addr_len);
}

static int connect_release(struct place *p)
{
	p->fd[PLACE_FDS - 1] = accept4(p->fd[1], NULL, NULL, SOCK_CLOEXEC);
	return p->fd[PLACE_FDS - 1] < 0 ? -errno : 0;
}

static int linger_setup(struct place *p)
{
	int r = tcp_full_setup(p);
	struct linger linger = {.l_onoff = 1, .l_linger = 1000};
	return r ? r : setsockopt(p->fd[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger) ? -errno : 0;
}

static long close_foreign(struct place *p)
{
	int fd = p->fd[0];
	p->fd[0] = -1;
	return or_errno(close(fd));
}

#define PAIR_RECV(fn) .nr = {SYS_recvfrom}, .done = 1, .foreign = fn##_foreign, .own = fn##_own, .release = place_give_byte
#define PAIR_SEND(fn) .done = 10, .foreign = fn##_foreign, .own = fn##_own, .release = receive_all

/* clang-format off */
const struct situation situations_net[] = {
	{.name = "unix-recv", .group = "net", .summary = "recv from a silent unix stream peer", .setup = unix_pair, PAIR_RECV(recv)},
	{.name = "unix-recvmsg", .group = "net", .summary = "recvmsg from a silent unix stream peer", .nr = {SYS_recvmsg}, .done = 1,
	 .setup = unix_pair, .foreign = recvmsg_foreign, .own = recvmsg_own, .release = place_give_byte},
	{.name = "tcp-recv", .group = "net", .summary = "recv from a silent TCP peer", .setup = tcp_pair, PAIR_RECV(recv)},
	{.name = "tcp-recv-timeout", .group = "net", .summary = "the same with SO_RCVTIMEO", .setup = tcp_timeout_setup, PAIR_RECV(recv)},
	{.name = "udp-recv", .group = "net", .summary = "recvfrom on a UDP socket", .setup = udp_setup, PAIR_RECV(recvfrom)},
	{.name = "unix-send", .group = "net", .summary = "send to a unix stream peer that does not read", .nr = {SYS_sendto},
	 .setup = unix_full_setup, PAIR_SEND(send)},
	{.name = "unix-sendmsg", .group = "net", .summary = "sendmsg to a unix stream peer that does not read", .nr = {SYS_sendmsg},
	 .setup = unix_full_setup, PAIR_SEND(sendmsg)},
	{.name = "unix-dgram-send", .group = "net", .summary = "send to a unix datagram peer whose queue is full", .nr = {SYS_sendto},
	 .setup = dgram_full_setup, PAIR_SEND(send)},
	{.name = "tcp-send", .group = "net", .summary = "send to a TCP peer that does not read", .nr = {SYS_sendto},
	 .setup = tcp_full_setup, PAIR_SEND(send)},
	{.name = "tcp-accept", .group = "net", .summary = "accept on a TCP listener", .nr = {SYS_accept4, SYS_accept},
	 .setup = tcp_listen_setup, .foreign = accept_foreign, .own = accept4_own, .release = accept_release},
	{.name = "unix-accept", .group = "net", .summary = "accept4 on a unix listener", .nr = {SYS_accept4},
	 .setup = unix_listen_setup, .foreign = accept4_foreign, .own = accept4_own, .release = accept_release},
	{.name = "tcp-connect", .group = "net", .summary = "connect to a TCP listener with a full backlog (SYN_SENT)", .nr = {SYS_connect},
	 .setup = tcp_backlog_setup, .foreign = connect_foreign, .own = connect_own, .release = connect_release},
	{.name = "unix-connect", .group = "net", .summary = "connect to a unix listener with a full backlog", .nr = {SYS_connect},
	 .setup = unix_backlog_setup, .foreign = connect_foreign, .own = connect_own, .release = connect_release},
	{.name = "close-linger", .group = "net", .summary = "close of a TCP socket with SO_LINGER and unsent data", .nr = {SYS_close},
	 .flags = STUCK_UNTOUCHED | STUCK_NO_RETRY, .cut = STUCK_CUT_NEVER, .kind = {UNSTICK_LEFT_ALONE},
	 .setup = linger_setup, .foreign = close_foreign, .release = receive_all},
	{0},
};
/* clang-format on */
