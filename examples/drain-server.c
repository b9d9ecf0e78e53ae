/* SPDX-License-Identifier: MIT
 *
 * usage: drain-server [--deadline SECONDS] [--without]
 *
 * A server with a thread for each connection, on blocking calls, and how it ends: in time, whatever its threads are stuck in. On
 * SIGTERM (or SIGINT)
 *
 *     at once            it takes no more connections; those that are between two answers end by themselves
 *     after a second     all that are left are cut short: each blocking call fails with ECANCELED, and each thread closes its
 *                        connection such that its peer gets every byte that was written to it
 *     at the deadline    (3 seconds) what cannot be ended is named, and the process exits all the same
 *
 * Exit status: 0, all connections were ended; 1, some were left behind; 2, it could not start. With --without it stops as servers do
 * without unstick: by a flag, for which every thread has to come by. It hangs.
 *
 * It listens on free ports of the loopback address, plain and TLS, and prints them. The commands are in drain-connection.c;
 * drain-load.c tries it with thousands of connections.
 */
#include "drain.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	MOST_CONNECTIONS = 8192,
	STACK = 128 *
	        1024, /* for a TLS handshake, and the 12 KiB that a signal may take; thousands of them cost only what they use */
	GRACE_MS = 1000,
	CLOSED_BEFORE_MS = 200, /* the deadline */
	PAUSE_MS = 100,         /* when no fd or no thread is to be had: trying at once would be a busy loop */
};

struct port {
	int fd;
	bool secure;
};

atomic_bool server_stopping;
_Atomic unstick_time server_close_until = UNSTICK_NEVER;

static int64_t deadline_ms = 3000;
static bool without;
static struct unstick_pool *pool;    /* a job for each connection, and for each port */
static struct unstick_token *intake; /* of the ports: they end before the connections do */

/* ---- Threads: a job of the pool each, or with --without a thread that nothing can get at ---- */

static int start_thread(const char *name, void *(*run)(void *), void *arg, struct unstick_token *token)
{
	const struct unstick_job_options options = {.size = sizeof(options), .name = name, .run = run, .arg = arg, .token = token};
	pthread_attr_t attributes;
	pthread_t thread;

	if (!without)
		return unstick_job_start(pool, &options, NULL);
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	int error = -pthread_create(&thread, &attributes, run, arg);
	pthread_attr_destroy(&attributes);
	return error;
}

static int serve(int fd, bool secure)
{
	struct connection *c = connection_new(fd, secure);
	char name[32];

	if (!c)
		return -ENOMEM;
	snprintf(name, sizeof(name), "connection %u", c->id);
	int error = start_thread(name, connection_serve, c, NULL);
	if (error < 0)
		connection_free(c);
	return error;
}

static void *accept_connections(void *arg)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
	const struct port *port = arg;

	while (!server_stopping) {
		int fd = accept4(port->fd, NULL, NULL, SOCK_CLOEXEC);
		int error = fd < 0 ? -errno : serve(fd, port->secure);
		if (error == 0 || error == -ECANCELED || error == -ECONNABORTED)
			continue;
		fprintf(stderr, "drain-server: cannot take a connection: %s\n", strerror(-error));
		nanosleep(&pause, NULL);
	}
	close(port->fd); /* who connects from now on is refused, and need not wait for the exit to learn it */
	return NULL;
}

/* ---- The end ---- */

/* Whatever they are in, they come out; what does not is named. Returns the exit status. */
static int stop(unstick_time now)
{
	unstick_time deadline = now + deadline_ms * 1000000;
	int64_t grace_ms = deadline_ms / 3 < GRACE_MS ? deadline_ms / 3 : GRACE_MS;
	struct unstick_left left;
	char names[4096];

	server_close_until = deadline - CLOSED_BEFORE_MS * 1000000LL;
	server_stopping = true;
	unstick_token_cancel(intake);
	connections_wait(now + grace_ms * 1000000);
	int error = unstick_pool_close(pool, deadline, &left);
	if (error == -EBUSY && unstick_left_print(&left, names, sizeof(names)) >= 0)
		fprintf(stderr, "drain-server: %u left behind:\n%s\n", left.count, names);
	return error < 0 ? 1 : 0;
}

/* The old way. Who looks at the flag? Not those who are stuck. */
static int stop_without(void)
{
	server_stopping = true;
	connections_wait(UNSTICK_NEVER);
	return 0;
}

/* ---- The beginning ---- */

static int listen_on_loopback(struct port *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);

	port->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (port->fd < 0 || bind(port->fd, (struct sockaddr *)&addr, len) < 0 || listen(port->fd, SOMAXCONN) < 0 ||
	    getsockname(port->fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	return ntohs(addr.sin_port);
}

static int listen_and_accept(struct port *port)
{
	int number = listen_on_loopback(port);
	int error = number < 0 ? number : start_thread(port->secure ? "TLS port" : "port", accept_connections, port, intake);

	return error < 0 ? error : number;
}

static int make_pool(void)
{
	/* A connection that is being closed has until the deadline: it is not to be given up before. */
	const struct unstick_pool_options options = {
	        .size = sizeof(options), .threads = MOST_CONNECTIONS, .stack = STACK, .grace_ns = deadline_ms * 1000000};
	int error = unstick_token_new(&intake, NULL);

	return error < 0 ? error : unstick_pool_new(&pool, &options);
}

static int start(void)
{
	static struct port plain = {.secure = false}, secure = {.secure = true};
	struct rlimit fds;

	if (getrlimit(RLIMIT_NOFILE, &fds) == 0) {
		fds.rlim_cur = fds.rlim_max;
		setrlimit(RLIMIT_NOFILE, &fds);
	}
	int error = connections_prepare() ? 0 : -errno;
	if (error == 0 && !without)
		error = make_pool();
	if (error < 0)
		return error;
	int port = listen_and_accept(&plain);
	int tls_port = port > 0 && stream_prepare_tls() ? listen_and_accept(&secure) : 0;
	if (port < 0 || tls_port < 0)
		return port < 0 ? port : tls_port;
	printf("listening on 127.0.0.1 port %d, with TLS port %d\n", port, tls_port); /* 0: without */
	return 0;
}

static bool parse(int argc, char *argv[])
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--without") == 0)
			without = true;
		else if (strcmp(argv[i], "--deadline") == 0 && i + 1 < argc)
			deadline_ms = (int64_t)(atof(argv[++i]) * 1000);
		else
			return false;
	}
	return deadline_ms > 0 && deadline_ms < 1000000000;
}

int main(int argc, char *argv[])
{
	sigset_t ends;
	int signal_number;

	if (!parse(argc, argv)) {
		fprintf(stderr, "usage: drain-server [--deadline SECONDS] [--without]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN); /* OpenSSL's writes */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	pthread_sigmask(SIG_BLOCK, &ends, NULL); /* before other threads begin: they must not take what sigwait() waits for */
	int error = start();
	if (error < 0) {
		fprintf(stderr, "drain-server: cannot start: %s\n", strerror(-error));
		return 2;
	}
	sigwait(&ends, &signal_number);
	int status = without ? stop_without() : stop(unstick_now());
	connections_print_totals();
	return status;
}
