/* SPDX-License-Identifier: MIT
 *
 * usage: echo-engine [PORT [IDLE-SECONDS]]
 *
 * A TCP server on the loopback address that sends back what it gets. Port 0, the default, is a free one. A connection on which
 * nothing moves for 30 seconds is closed. SIGTERM and SIGINT drain: nothing is accepted or received any more, what has been
 * received is sent back, for five seconds at most.
 *
 * All callbacks run on the one worker, one after the other: connections need no locks.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unstick.h>

enum { DRAIN_MS = 5000, PAUSE_MS = 100 };

struct connection {
	int fd;
	size_t received;
	char data[4096]; /* not to be touched, nor freed, while an operation is under way */
};

static struct unstick_engine *engine;
static struct unstick_token *stop; /* on what a drain cuts short: all but sends */
static struct unstick_op *drained; /* ends when there are no users any more */
static int listener, users = 1;    /* connections, and one for accepting; the worker's */
static int64_t idle_ms = 30000;

/* ---- Connections: receive, send, receive, ... Each callback begins the next operation, or hangs up. ---- */

static void user_gone(void)
{
	if (--users == 0)
		unstick_op_cancel(drained);
}

/* (Where input is left unread, the kernel resets the connection, and what was sent last may be lost: a protocol for more than an
 * example lets the client say good-bye first.) */
static void hang_up(struct connection *c)
{
	close(c->fd);
	free(c);
	user_gone();
}

/* The engine takes nothing once it is being closed. */
static void begin(struct connection *c, struct unstick_request request, void (*done)(struct unstick_op *, long, void *))
{
	request.deadline = unstick_after_ms(idle_ms);
	request.done = done;
	request.arg = c;
	if (unstick_engine_submit(engine, &request, NULL) < 0)
		hang_up(c);
}

static void received(struct unstick_op *op, long result, void *arg);

static void receive(struct connection *c)
{
	struct unstick_request request = UNSTICK_RECV(c->fd, c->data, sizeof(c->data));

	request.token = stop;
	begin(c, request, received);
}

static void sent(struct unstick_op *op, long result, void *arg)
{
	struct connection *c = arg;

	(void)op;
	if (result == (long)c->received)
		receive(c);
	else /* an error; or a part only, and then the time was over */
		hang_up(c);
}

static void received(struct unstick_op *op, long result, void *arg)
{
	struct connection *c = arg;

	(void)op;
	if (result <= 0) { /* its end, idle (-ETIMEDOUT), drained (-ECANCELED), or an error */
		hang_up(c);
		return;
	}
	c->received = (size_t)result;
	begin(c, UNSTICK_SEND(c->fd, c->data, c->received), sent);
}

/* ---- Accepting: one operation at a time ---- */

static void accept_next(struct unstick_op *op, long result, void *arg);

static void begin_accepting(struct unstick_request request, void (*done)(struct unstick_op *, long, void *))
{
	request.token = stop;
	request.done = done;
	if (unstick_engine_submit(engine, &request, NULL) < 0)
		user_gone();
}

static void accepted(struct unstick_op *op, long result, void *arg)
{
	struct connection *c = result < 0 ? NULL : malloc(sizeof(*c));

	if (c) {
		users++;
		c->fd = (int)result;
		receive(c);
		accept_next(op, 0, arg);
	} else if (result == -ECANCELED) {
		user_gone();
	} else { /* no fd or no memory is free, most often: trying at once would be a busy loop */
		fprintf(stderr, "echo-engine: accept: %s\n", strerror(result < 0 ? (int)-result : ENOMEM));
		if (result >= 0)
			close((int)result);
		begin_accepting(UNSTICK_TIMEOUT(unstick_after_ms(PAUSE_MS)), accept_next);
	}
}

/* Also the end of a pause. */
static void accept_next(struct unstick_op *op, long result, void *arg)
{
	(void)op, (void)arg;
	if (result == 0)
		begin_accepting(UNSTICK_ACCEPT(listener, SOCK_CLOEXEC), accepted);
	else
		user_gone();
}

/* ---- The program ---- */

static int listen_on_loopback(int port)
{
	struct sockaddr_in addr = {
	        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	printf("listening on 127.0.0.1 port %d\n", ntohs(addr.sin_port));
	return fd;
}

static int start(void)
{
	struct unstick_request request = UNSTICK_TIMEOUT(UNSTICK_NEVER); /* only a cancel ends it */
	int error = unstick_token_new(&stop, NULL);

	if (error == 0)
		error = unstick_engine_new(&engine, NULL);
	if (error == 0)
		error = unstick_engine_submit(engine, &request, &drained);
	if (error == 0)
		accept_next(NULL, 0, NULL);
	return error;
}

static void drain(void)
{
	struct unstick_left left;

	unstick_token_cancel(stop);
	if (unstick_op_wait(drained, unstick_after_ms(DRAIN_MS)) == -ETIMEDOUT)
		puts("some do not take what is theirs: cut short");
	if (unstick_engine_close(engine, unstick_after_ms(DRAIN_MS), &left) == -EBUSY)
		fprintf(stderr, "echo-engine: left behind: %s\n", left.what);
	unstick_op_unref(drained);
}

static void print_stats(void)
{
	struct unstick_stats stats;

	if (unstick_engine_stats(engine, &stats) == 0)
		printf("%s: %ju operations, %ju ended; %ju cut short by a deadline, %ju by a cancel\n", stats.back_end,
		       (uintmax_t)stats.operations, (uintmax_t)stats.completed, (uintmax_t)stats.expiries,
		       (uintmax_t)stats.cancels);
}

int main(int argc, char *argv[])
{
	sigset_t ends;
	int signal;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before other threads begin: they must not take what sigwait() waits for */

	if (argc > 2)
		idle_ms = atoi(argv[2]) * 1000LL;
	listener = listen_on_loopback(argc > 1 ? atoi(argv[1]) : 0);
	int error = listener < 0 ? listener : start();
	if (error < 0) {
		fprintf(stderr, "echo-engine: cannot start: %s\n", strerror(-error));
		return 1;
	}
	sigwait(&ends, &signal);
	drain();
	print_stats();
	unstick_engine_free(engine);
	unstick_token_unref(stop);
	close(listener);
	return 0;
}
