/* SPDX-License-Identifier: MIT
 *
 * What an operation says when it cannot do what was asked, and what submit does not take. Also the small truths: ends, empty requests, hints.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "suite.h"

static char bytes[16];

/* What submit refuses and what the operation comes to, alike. */
static long outcome(const struct unstick_request *request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(engine(), request, &op);
	return error ? error : end_of(op);
}

static void expect(const struct unstick_request *request, long expected, const char *what)
{
	long result = outcome(request);
	CHECK(result == expected, "%s: %ld in place of %ld", what, result, expected);
}

/* ---- by the fd */

static void bad_fd(void)
{
	int fds[2], fd;
	struct iovec one = {bytes, 1};
	struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
	engine(); /* else it would get this very number */
	make_pipe(fds);
	fd = fds[0];
	close(fds[0]);
	close(fds[1]);
	const struct unstick_request requests[] = {
	        UNSTICK_READ(fd, bytes, 1),
	        UNSTICK_WRITE(fd, bytes, 1),
	        UNSTICK_READV(fd, &one, 1),
	        UNSTICK_WRITEV(fd, &one, 1),
	        UNSTICK_RECV(fd, bytes, 1),
	        UNSTICK_SEND(fd, bytes, 1),
	        UNSTICK_RECVMSG(fd, &msg, 0),
	        UNSTICK_SENDMSG(fd, &msg, 0),
	        UNSTICK_ACCEPT(fd, 0),
	        UNSTICK_CLOSE(fd),
	        UNSTICK_FSYNC(fd, 0),
	        UNSTICK_OPENAT(fd, "x", O_RDONLY, 0),
	        UNSTICK_PREAD(fd, bytes, 1, 100),
	        UNSTICK_PWRITE(fd, bytes, 1, 10),
	};
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		struct unstick_request negative = requests[i];
		negative.fd = -1;
		long results[] = {outcome(&requests[i]), outcome(&negative)};
		CHECK(results[0] == -EBADF && results[1] == -EBADF, "opcode %u: %ld, with fd -1 %ld", requests[i].opcode,
		      results[0], results[1]);
	}
}

static void wrong_kind_of_fd(void)
{
	int fds[2], sockets[2];
	make_pipe(fds);
	make_unix(sockets);
	expect(&UNSTICK_PREAD(fds[0], bytes, 1, 100), -ESPIPE, "pread of a pipe");
	expect(&UNSTICK_PWRITE(fds[1], bytes, 1, 100), -ESPIPE, "pwrite to a pipe");
	expect(&UNSTICK_RECV(fds[0], bytes, 1), -ENOTSOCK, "recv from a pipe");
	expect(&UNSTICK_ACCEPT(fds[0], 0), -ENOTSOCK, "accept on a pipe");
	expect(&UNSTICK_ACCEPT(sockets[0], 0), -EINVAL, "accept on a socket that does not listen");
	expect(&UNSTICK_READ(fds[1], bytes, 1), -EBADF, "read of the write end");
	expect(&UNSTICK_WRITE(fds[0], bytes, 1), -EBADF, "write to the read end");
	CHECK(is_empty(fds[0]), "something was written");
}

static void dont_wait(void)
{
	int fds[2];
	make_unix(fds);
	struct unstick_request recv = UNSTICK_RECV(fds[0], bytes, 4), send = UNSTICK_SEND(fds[0], bytes, 4);
	recv.op_flags = send.op_flags = MSG_DONTWAIT;
	expect(&recv, -EAGAIN, "recv");
	put(fds[1], "abc");
	expect(&recv, 3, "recv of data");
	fill(fds[0]);
	expect(&send, -EAGAIN, "send");
}

static void ends(void)
{
	int fds[2];
	make_pipe(fds);
	struct unstick_op *op = begin(&UNSTICK_READ(fds[0], bytes, 1));
	settle();
	close(fds[1]);
	CHECK(end_of(op) == 0, "the end of a pipe");
	make_unix(fds);
	op = begin(&UNSTICK_RECV(fds[0], bytes, 1));
	settle();
	shutdown(fds[0], SHUT_RD);
	CHECK(end_of(op) == 0, "shutdown");
}

static void no_sigpipe(void)
{
	int fds[2], sockets[2];
	struct iovec one = {bytes, 4};
	struct msghdr msg = {.msg_iov = &one, .msg_iovlen = 1};
	signal(SIGPIPE, SIG_DFL);
	make_pipe(fds);
	make_unix(sockets);
	close(fds[0]);
	close(sockets[0]);
	expect(&UNSTICK_WRITE(fds[1], bytes, 4), -EPIPE, "write");
	expect(&UNSTICK_WRITEV(fds[1], &one, 1), -EPIPE, "writev");
	expect(&UNSTICK_SEND(sockets[1], bytes, 4), -EPIPE, "send");
	expect(&UNSTICK_SENDMSG(sockets[1], &msg, 0), -EPIPE, "sendmsg");
	expect(&UNSTICK_WRITE(sockets[1], bytes, 4), -EPIPE, "write to a socket");
}

/* The reader goes while the write waits. */
static void reader_goes(void)
{
	int fds[2];
	signal(SIGPIPE, SIG_DFL);
	make_pipe(fds);
	fill(fds[1]);
	struct unstick_op *op = begin(&UNSTICK_WRITE(fds[1], bytes, 4));
	settle();
	close(fds[0]);
	CHECK(end_of(op) == -EPIPE, "write");
}

static void refused_connection(void)
{
	struct sockaddr_storage address;
	socklen_t size;
	close(listen_tcp(&address, &size, 1));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	expect(&UNSTICK_CONNECT(fd, &address, size), -ECONNREFUSED, "nobody listens");
	struct sockaddr_un nobody = {.sun_family = AF_UNIX, .sun_path = "/tmp/unstick-engine-nobody-listens"};
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	expect(&UNSTICK_CONNECT(fd, &nobody, sizeof nobody), -ENOENT, "no such socket");
}

static void nothing_to_move(void)
{
	int fds[2];
	struct iovec unused = {bytes, 1};
	make_unix(fds);
	expect(&UNSTICK_WRITE(fds[1], bytes, 0), 0, "write of nothing");
	expect(&UNSTICK_READV(fds[0], &unused, 0), 0, "readv into nothing");
	expect(&UNSTICK_NOP(), 0, "nop");
}

static void poll_events(void)
{
	int fds[2];
	make_pipe(fds);
	expect(&UNSTICK_POLL(fds[1], POLLOUT), POLLOUT, "room");
	close(fds[0]);
	expect(&UNSTICK_POLL(fds[1], 0), POLLERR, "an error need not be asked for");
}

/* A wrong hint may cost time, nothing else: the same results. */
static void wrong_hints(void)
{
	int fds[2];
	make_pipe(fds);
	struct unstick_request read = UNSTICK_READ(fds[0], bytes, 4);
	read.flags = UNSTICK_FILE;
	struct unstick_op *op = begin(&read);
	settle();
	put(fds[1], "abc");
	CHECK(end_of(op) == 3, "a pipe called a file");
	op = begin(&read);
	settle();
	CHECK(cancelled(op) == -ECANCELED, "a pipe called a file, cancelled");
	struct unstick_request zero = UNSTICK_READ(open("/dev/zero", O_RDONLY), bytes, 4);
	zero.flags = UNSTICK_NETWORK;
	expect(&zero, 4, "/dev/zero called network");
}

/* ---- by the limit on fds */

static void limit_fds(struct rlimit *before, bool on)
{
	struct rlimit now = *before;
	int probe = dup(0);
	now.rlim_cur = (rlim_t)probe;
	close(probe);
	CHECK(setrlimit(RLIMIT_NOFILE, on ? &now : before) == 0, "setrlimit");
}

static void out_of_fds(void)
{
	struct rlimit before;
	struct sockaddr_storage address;
	socklen_t size;
	int listener = listen_tcp(&address, &size, 4), client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0 && connect(client, (struct sockaddr *)&address, size) == 0, "set-up");
	CHECK(run(&UNSTICK_NOP()) == 0 && run(&UNSTICK_POLL(listener, POLLIN)) == POLLIN, "the engine has all that it needs");
	limit_fds(&before, true);
	long accepted = outcome(&UNSTICK_ACCEPT(listener, 0)), opened = outcome(&UNSTICK_OPENAT(AT_FDCWD, "/", O_RDONLY, 0));
	limit_fds(&before, false);
	CHECK(accepted == -EMFILE && opened == -EMFILE, "accept %ld, openat %ld", accepted, opened);
	CHECK(outcome(&UNSTICK_ACCEPT(listener, 0)) >= 0, "the connection was lost");
}

/* ---- what submit does not take */

static void refuse(const struct unstick_request *request, int expected, const char *what)
{
	struct unstick_op *op = (struct unstick_op *)bytes;
	int error = unstick_engine_submit(engine(), request, &op);
	CHECK(error == expected, "%s: %d in place of %d", what, error, expected);
	CHECK(op == (struct unstick_op *)bytes, "%s: ret was written", what);
}

static void invalid_requests(void)
{
	int fds[2];
	struct calls calls = {0};
	make_pipe(fds);
	struct unstick_request good = with_done(UNSTICK_READ(fds[0], bytes, 1), &calls), bad = good;
	bad.opcode = UNSTICK_OP_RENAMEAT + 1, refuse(&bad, -EINVAL, "an unknown opcode");
	bad.opcode = UINT32_MAX, refuse(&bad, -EINVAL, "a very unknown opcode");
	bad.opcode = 256 + UNSTICK_OP_READ, refuse(&bad, -EINVAL, "an opcode that is known in its low byte");
	bad = good, bad.opcode = 0, refuse(&bad, -EINVAL, "no opcode");
	bad = good, bad.flags = 1u << 31, refuse(&bad, -EINVAL, "an unknown flag");
	bad = good, bad.size = sizeof bad.size, refuse(&bad, -EINVAL, "too small a size");
	bad = good, bad.size = 0, refuse(&bad, -EINVAL, "no size");
	bad = with_done(UNSTICK_RECV(fds[0], bytes, 1), &calls), bad.flags = UNSTICK_ISOLATE;
	refuse(&bad, -EOPNOTSUPP, "UNSTICK_ISOLATE of what is no file operation");
	bad = good, bad.done = NULL;
	CHECK(unstick_engine_submit(engine(), &bad, NULL) == -EINVAL, "neither ret nor done");
	struct unstick_op *op;
	CHECK(unstick_engine_submit(NULL, &good, &op) == -EINVAL && unstick_engine_submit(engine(), NULL, &op) == -EINVAL, "NULL");
	settle();
	CHECK(calls.count == 0, "done was called for a request that was refused");
}

static void invalid_options(void)
{
	struct unstick_engine *none = (struct unstick_engine *)bytes;
	struct unstick_engine_options options = {.size = sizeof options, .flags = 1u << 31};
	CHECK(unstick_engine_new(&none, &options) == -EINVAL, "an unknown flag");
	options = (struct unstick_engine_options){.size = sizeof options, .back_end = 99};
	CHECK(unstick_engine_new(&none, &options) == -EINVAL, "an unknown back end");
	options = (struct unstick_engine_options){.size = 3};
	CHECK(unstick_engine_new(&none, &options) == -EINVAL, "too small a size");
	CHECK(none == (struct unstick_engine *)bytes && unstick_engine_new(NULL, NULL) == -EINVAL, "ret");
}

static const struct fault cases[] = {
        {0, "a bad fd: -EBADF, of every opcode", bad_fd},
        {0, "the wrong kind of fd: as the call says", wrong_kind_of_fd},
        {0, "MSG_DONTWAIT: -EAGAIN", dont_wait},
        {0, "the end of data: 0", ends},
        {0, "writing to nobody: -EPIPE and no SIGPIPE", no_sigpipe},
        {0, "the reader goes while a write waits: -EPIPE and no SIGPIPE", reader_goes},
        {0, "connect to nobody", refused_connection},
        {0, "nothing to move, nop: 0", nothing_to_move},
        {0, "poll: the events that came, errors unasked", poll_events},
        {0, "a wrong hint changes no result", wrong_hints},
        {0, "no fd is free: accept and openat -EMFILE, and the connection waits on", out_of_fds},
        {0, "invalid requests: -EINVAL, ret and done untouched; UNSTICK_ISOLATE of a recv: -EOPNOTSUPP", invalid_requests},
        {0, "invalid options of an engine: -EINVAL", invalid_options},
};

SUITE_PART(suite_refuses);
