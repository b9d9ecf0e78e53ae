/* SPDX-License-Identifier: MIT */
#include "subject.h"

#include <sys/stat.h>
#include <sys/un.h>

#include "suite.h"

static const char word[] = "unstuck!";
enum { WORD = sizeof word - 1 };

void stage_make(struct stage *stage, const struct subject *subject)
{
	memset(stage, 0, sizeof *stage);
	if (subject->fds)
		subject->fds(stage->fds);
	subject->want(stage);
}

/* ---- readers */

static void want_read(struct stage *stage)
{
	stage->request = UNSTICK_READ(stage->fds[0], stage->bytes, sizeof stage->bytes);
}

static void want_read_hinted(struct stage *stage)
{
	want_read(stage);
	stage->request.flags = UNSTICK_NETWORK;
}

/* Its `bytes` in two parts. */
static void in_parts(struct stage *stage, size_t size)
{
	stage->iov[0] = (struct iovec){stage->bytes, 3};
	stage->iov[1] = (struct iovec){stage->bytes + 3, size - 3};
	stage->msg = (struct msghdr){.msg_iov = stage->iov, .msg_iovlen = 2};
}

static void want_readv(struct stage *stage)
{
	in_parts(stage, sizeof stage->bytes);
	stage->request = UNSTICK_READV(stage->fds[0], stage->iov, 2);
}

static void want_recv(struct stage *stage)
{
	stage->request = UNSTICK_RECV(stage->fds[0], stage->bytes, sizeof stage->bytes);
}

static void want_recvmsg(struct stage *stage)
{
	in_parts(stage, sizeof stage->bytes);
	stage->request = UNSTICK_RECVMSG(stage->fds[0], &stage->msg, 0);
}

static void put_word(struct stage *stage)
{
	put(stage->fds[1], word);
}

static void check_read(struct stage *stage, long result)
{
	CHECK(result == WORD, "result %ld", result);
	CHECK(memcmp(stage->bytes, word, WORD) == 0, "read '%.8s'", stage->bytes);
	CHECK(is_empty(stage->fds[0]), "more to read than there was");
}

static void make_fifo(int fds[2])
{
	char path[64];
	temporary_path(path, sizeof path, "fifo");
	CHECK(mkfifo(path, 0600) == 0, "mkfifo: %s", strerror(errno));
	fds[1] = open(path, O_RDWR | O_CLOEXEC);
	fds[0] = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fds[0] >= 0 && fds[1] >= 0, "open: %s", strerror(errno));
}

const struct subject read_pipe = {make_pipe, want_read, put_word, check_read, NULL};
const struct subject read_fifo_hinted = {make_fifo, want_read_hinted, put_word, check_read, NULL};
const struct subject read_pty = {make_pty, want_read, put_word, check_read, NULL};
const struct subject readv_pipe = {make_pipe, want_readv, put_word, check_read, NULL};
const struct subject recv_unix = {make_unix, want_recv, put_word, check_read, NULL};
const struct subject recv_tcp = {make_tcp, want_recv, put_word, check_read, NULL};
const struct subject recv_udp = {make_udp, want_recv, put_word, check_read, NULL};
const struct subject recvmsg_unix = {make_unix, want_recvmsg, put_word, check_read, NULL};

/* ---- writers */

static void with_word(struct stage *stage)
{
	memcpy(stage->bytes, word, WORD);
	in_parts(stage, WORD);
	stage->in_flight = fill(stage->fds[1]);
}

static void want_write(struct stage *stage)
{
	with_word(stage);
	stage->request = UNSTICK_WRITE(stage->fds[1], stage->bytes, WORD);
}

static void want_writev(struct stage *stage)
{
	with_word(stage);
	stage->request = UNSTICK_WRITEV(stage->fds[1], stage->iov, 2);
}

static void want_send(struct stage *stage)
{
	with_word(stage);
	stage->request = UNSTICK_SEND(stage->fds[1], stage->bytes, WORD);
}

static void want_sendmsg(struct stage *stage)
{
	with_word(stage);
	stage->request = UNSTICK_SENDMSG(stage->fds[1], &stage->msg, 0);
}

static void drain(struct stage *stage)
{
	char zeros[4096];
	while (stage->in_flight > 0) {
		size_t n = stage->in_flight < sizeof zeros ? stage->in_flight : sizeof zeros;
		ssize_t got = read(stage->fds[0], zeros, n);
		CHECK(got > 0 && zeros[0] == 0 && zeros[got - 1] == 0, "drain: %zd", got);
		stage->in_flight -= (size_t)got;
	}
}

static void check_write(struct stage *stage, long result)
{
	char got[WORD * 2] = "";
	CHECK(result == WORD, "result %ld", result);
	ssize_t n = 0;
	for (ssize_t more; n < WORD && (more = read(stage->fds[0], got + n, sizeof got - (size_t)n)) > 0;)
		n += more;
	CHECK(n == WORD && memcmp(got, word, WORD) == 0, "%zd bytes arrived: '%.8s'", n, got);
	CHECK(is_empty(stage->fds[0]), "more arrived than was written");
}

const struct subject write_pipe = {make_pipe, want_write, drain, check_write, NULL};
const struct subject writev_pipe = {make_pipe, want_writev, drain, check_write, NULL};
const struct subject send_unix = {make_unix, want_send, drain, check_write, NULL};
const struct subject sendmsg_unix = {make_unix, want_sendmsg, drain, check_write, NULL};

/* ---- accept and connect: fds[0] listens, fds[1] is the client */

static void want_accept(struct stage *stage)
{
	stage->fds[0] = listen_tcp(&stage->address, &stage->address_size, 8);
	stage->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	stage->request = UNSTICK_ACCEPT(stage->fds[0], SOCK_CLOEXEC | SOCK_NONBLOCK);
}

static void be_client(struct stage *stage)
{
	CHECK(connect(stage->fds[1], (struct sockaddr *)&stage->address, stage->address_size) == 0, "connect: %s", strerror(errno));
}

static void check_accept(struct stage *stage, long result)
{
	struct sockaddr_storage peer, client;
	socklen_t peer_size = sizeof peer, client_size = sizeof client;
	int fd = (int)result;
	CHECK(fd >= 0, "result %ld", result);
	CHECK(getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 &&
	              getsockname(stage->fds[1], (struct sockaddr *)&client, &client_size) == 0 && peer_size == client_size &&
	              memcmp(&peer, &client, peer_size) == 0,
	      "another peer");
	CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) && (fcntl(fd, F_GETFL) & O_NONBLOCK), "the flags were not honoured");
	close(fd);
}

/* One more client, that does not wait. True: it is connected. */
static bool has_room(const struct stage *stage)
{
	int fd = socket(stage->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd one = {.fd = fd, .events = POLLOUT};
	int error = connect(fd, (const struct sockaddr *)&stage->address, stage->address_size) == 0 ? 0 : errno;
	bool in_room = error == 0 || (error == EINPROGRESS && poll(&one, 1, 0) == 1);
	if (!in_room)
		close(fd);
	return in_room;
}

static void fill_backlog(struct stage *stage)
{
	while (has_room(stage))
		;
	stage->fds[1] = socket(stage->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	stage->request = UNSTICK_CONNECT(stage->fds[1], &stage->address, stage->address_size);
}

static void want_connect_unix(struct stage *stage)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&stage->address;
	un->sun_family = AF_UNIX;
	stage->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                                  (size_t)snprintf(un->sun_path + 1, 40, "unstick-engine-%d", (int)getpid()));
	stage->fds[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(stage->fds[0], (struct sockaddr *)un, stage->address_size) == 0 && listen(stage->fds[0], 0) == 0, "listen: %s",
	      strerror(errno));
	fill_backlog(stage);
}

static void want_connect_tcp(struct stage *stage)
{
	stage->fds[0] = listen_tcp(&stage->address, &stage->address_size, 0);
	fill_backlog(stage);
}

static void accept_all(struct stage *stage)
{
	set_nonblock(stage->fds[0], true);
	while (accept(stage->fds[0], NULL, NULL) >= 0)
		;
}

static void check_connect(struct stage *stage, long result)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof peer;
	CHECK(result == 0, "result %ld", result);
	CHECK(getpeername(stage->fds[1], (struct sockaddr *)&peer, &size) == 0, "not connected: %s", strerror(errno));
}

static void another_client(struct stage *stage)
{
	close(stage->fds[1]);
	accept_all(stage); /* the one that was cut short may have got through */
	stage->fds[1] = socket(stage->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	stage->request.fd = stage->fds[1];
}

const struct subject accept_tcp = {NULL, want_accept, be_client, check_accept, NULL};
const struct subject connect_unix = {NULL, want_connect_unix, accept_all, check_connect, another_client};
const struct subject connect_tcp = {NULL, want_connect_tcp, accept_all, check_connect, another_client};

/* ---- the others */

static void want_poll(struct stage *stage)
{
	stage->request = UNSTICK_POLL(stage->fds[0], POLLIN);
}

static void check_poll(struct stage *stage, long result)
{
	CHECK((result & ~POLLRDNORM) == POLLIN, "result %lx", (unsigned long)result);
	CHECK(!is_empty(stage->fds[0]), "poll has taken the data");
}

static void want_splice(struct stage *stage)
{
	make_pipe(stage->fds2);
	stage->request = UNSTICK_SPLICE(stage->fds[0], 4096, 0);
	stage->request.fd2 = stage->fds2[1];
	stage->request.offset2 = -1;
}

static void check_splice(struct stage *stage, long result)
{
	CHECK(read(stage->fds2[0], stage->bytes, sizeof stage->bytes) == WORD, "not in the second pipe");
	check_read(stage, result);
}

static void want_openat(struct stage *stage)
{
	temporary_path(stage->path, sizeof stage->path, "fifo");
	CHECK(mkfifo(stage->path, 0600) == 0, "mkfifo: %s", strerror(errno));
	stage->request = UNSTICK_OPENAT(AT_FDCWD, stage->path, O_RDONLY | O_CLOEXEC, 0);
}

static void open_peer(struct stage *stage)
{
	stage->fds[1] = open(stage->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	CHECK(stage->fds[1] >= 0, "open: %s", strerror(errno));
}

static void check_openat(struct stage *stage, long result)
{
	CHECK(result >= 0, "result %ld", result);
	put(stage->fds[1], word);
	CHECK(read((int)result, stage->bytes, sizeof stage->bytes) == WORD, "not the FIFO");
	CHECK(!(fcntl((int)result, F_GETFL) & O_NONBLOCK), "an fd with O_NONBLOCK");
	close((int)result);
}

const struct subject poll_pipe = {make_pipe, want_poll, put_word, check_poll, NULL};
const struct subject splice_pipe = {make_pipe, want_splice, put_word, check_splice, NULL};
const struct subject openat_fifo = {NULL, want_openat, open_peer, check_openat, NULL};
