/* SPDX-License-Identifier: MIT
 *
 * Echo servers with unstick: an engine with one worker, all by callbacks; and a thread a connection, with own calls.
 */
#include "rig_echo.h"
#include "rig_engine.h"

#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_MS 10000

/* ---- engine ---- */

struct server;

struct connection {
	struct server *server;
	int fd;
	char buf[ECHO_MESSAGE];
};

struct server {
	struct unstick_engine *engine;
	bool deadlines;
	unsigned open; /* of the worker */
	struct engine_gate over;
	struct connection connections[ECHO_CONNECTIONS];
};

static void received(struct unstick_op *op, long result, void *arg);
static void sent(struct unstick_op *op, long result, void *arg);

static void submit(struct connection *connection, struct unstick_request *request,
                   void (*done)(struct unstick_op *op, long result, void *arg))
{
	request->done = done;
	request->arg = connection;
	request->deadline = connection->server->deadlines ? unstick_after_ms(PATIENCE_MS) : 0;
	engine_expect_ok("unstick_engine_submit", unstick_engine_submit(connection->server->engine, request, NULL));
}

static void hang_up(struct connection *connection)
{
	close(connection->fd);
	if (--connection->server->open == 0)
		engine_gate_open(&connection->server->over);
}

static void sent(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	struct connection *connection = arg;
	struct unstick_request request = UNSTICK_RECV(connection->fd, connection->buf, ECHO_MESSAGE);
	if (result <= 0)
		hang_up(connection);
	else
		submit(connection, &request, received);
}

static void received(struct unstick_op *op, long result, void *arg)
{
	(void)op;
	struct connection *connection = arg;
	struct unstick_request request = UNSTICK_SEND(connection->fd, connection->buf, (size_t)result);
	if (result <= 0)
		hang_up(connection);
	else
		submit(connection, &request, sent);
}

static struct server *engine_start(const int fds[ECHO_CONNECTIONS], bool deadlines)
{
	struct server *server = os_alloc(1, sizeof(*server));
	*server = (struct server){.engine = engine_open(), .deadlines = deadlines, .open = ECHO_CONNECTIONS};
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++) {
		struct connection *connection = &server->connections[i];
		connection->server = server;
		connection->fd = fds[i];
		struct unstick_request request = UNSTICK_RECV(connection->fd, connection->buf, ECHO_MESSAGE);
		submit(connection, &request, received);
	}
	return server;
}

static void *start_plain(const int fds[ECHO_CONNECTIONS])
{
	return engine_start(fds, false);
}

static void *start_deadlines(const int fds[ECHO_CONNECTIONS])
{
	return engine_start(fds, true);
}

static void engine_finish(void *arg)
{
	struct server *server = arg;
	engine_gate_wait(&server->over);
	engine_close(server->engine);
	free(server);
}

const struct echo_way echo_engine = {.start = start_plain, .finish = engine_finish};
const struct echo_way echo_engine_deadlines = {.start = start_deadlines, .finish = engine_finish};

/* ---- a thread a connection ---- */

#define STACK (64 * 1024)

struct member {
	pthread_t thread;
	int fd;
};

static bool echo_once(int fd)
{
	char buf[ECHO_MESSAGE];
	ssize_t n = unstick_recv(fd, buf, ECHO_MESSAGE, 0);
	return n > 0 && unstick_send(fd, buf, (size_t)n, 0) == n;
}

static void *member_main(void *arg)
{
	struct member *member = arg;
	bool more = true;
	while (more) {
		struct unstick_scope scope;
		unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
		more = echo_once(member->fd);
		engine_expect_ok("unstick_scope_end", unstick_scope_end(&scope));
	}
	close(member->fd);
	return NULL;
}

static void *start_threads(const int fds[ECHO_CONNECTIONS])
{
	struct member *members = os_alloc(ECHO_CONNECTIONS, sizeof(*members));
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++) {
		members[i].fd = fds[i];
		int error = os_thread_new(&members[i].thread, STACK, -1, member_main, &members[i]);
		if (error)
			die_errno("thread", error);
	}
	return members;
}

static void join_threads(void *arg)
{
	struct member *members = arg;
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++)
		pthread_join(members[i].thread, NULL);
	free(members);
}

const struct echo_way echo_threads = {.start = start_threads, .finish = join_threads};
