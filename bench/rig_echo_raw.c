/* SPDX-License-Identifier: MIT
 *
 * An echo server on a bare ring: one thread, a recv or a send under way on each connection, all that has come up submitted at once.
 */
#include "os.h"
#include "rig_echo.h"
#include "rig_ring.h"

#include <stdlib.h>
#include <unistd.h>

struct connection {
	int fd;
	bool sending;
	char buf[ECHO_MESSAGE];
};

struct server {
	pthread_t thread;
	struct io_uring ring;
	unsigned open;
	struct connection connections[ECHO_CONNECTIONS];
};

static void put_recv(struct server *server, struct connection *connection)
{
	struct io_uring_sqe *sqe = ring_sqe(&server->ring);
	io_uring_prep_recv(sqe, connection->fd, connection->buf, ECHO_MESSAGE, 0);
	io_uring_sqe_set_data(sqe, connection);
	connection->sending = false;
}

static void put_send(struct server *server, struct connection *connection, unsigned count)
{
	struct io_uring_sqe *sqe = ring_sqe(&server->ring);
	io_uring_prep_send(sqe, connection->fd, connection->buf, count, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data(sqe, connection);
	connection->sending = true;
}

static void go_on(struct server *server, struct connection *connection, int result)
{
	if (result <= 0) {
		close(connection->fd);
		server->open--;
	} else if (connection->sending) {
		put_recv(server, connection);
	} else {
		put_send(server, connection, (unsigned)result);
	}
}

static void reap(struct server *server)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	io_uring_for_each_cqe(&server->ring, head, cqe)
	{
		go_on(server, io_uring_cqe_get_data(cqe), cqe->res);
		count++;
	}
	io_uring_cq_advance(&server->ring, count);
}

static void *serve(void *arg)
{
	struct server *server = arg;
	ring_open(&server->ring, 2 * ECHO_CONNECTIONS);
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++)
		put_recv(server, &server->connections[i]);
	while (server->open > 0) {
		ring_submit_and_wait(&server->ring, 1);
		reap(server);
	}
	io_uring_queue_exit(&server->ring);
	return NULL;
}

static void *start(const int fds[ECHO_CONNECTIONS])
{
	struct server *server = os_alloc(1, sizeof(*server));
	server->open = ECHO_CONNECTIONS;
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++)
		server->connections[i].fd = fds[i];
	int error = os_thread_new(&server->thread, 0, -1, serve, server);
	if (error)
		die_errno("thread", error);
	return server;
}

static void finish(void *arg)
{
	struct server *server = arg;
	pthread_join(server->thread, NULL);
	free(server);
}

const struct echo_way echo_raw = {.start = start, .finish = finish};
