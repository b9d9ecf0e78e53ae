/* SPDX-License-Identifier: MIT
 *
 * An echo server with libuv: one loop in one thread.
 */
#include "os.h"
#include "rig_echo.h"

#include <stdlib.h>
#include <uv.h>

struct connection {
	uv_tcp_t tcp;
	char buf[ECHO_MESSAGE];
};

struct server {
	pthread_t thread;
	uv_loop_t loop;
	struct connection connections[ECHO_CONNECTIONS];
};

static void expect_ok(const char *call, int error)
{
	if (error < 0)
		die(call, uv_strerror(error), "please report it");
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	(void)suggested;
	struct connection *connection = handle->data;
	*ret = uv_buf_init(connection->buf, ECHO_MESSAGE);
}

/* uv_try_write() is libuv's fastest way, and needs no request of its own. The client has one message under way: there is always room. */
static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	if (n == 0)
		return;
	if (n < 0) {
		uv_close((uv_handle_t *)stream, NULL);
		return;
	}
	uv_buf_t back = uv_buf_init(buf->base, (unsigned)n);
	if (uv_try_write(stream, &back, 1) != (int)n)
		die("uv_try_write", "it wrote only a part", "please report it");
}

static void *serve(void *arg)
{
	struct server *server = arg;
	uv_run(&server->loop, UV_RUN_DEFAULT);
	return NULL;
}

static void *start(const int fds[ECHO_CONNECTIONS])
{
	struct server *server = os_alloc(1, sizeof(*server));
	expect_ok("uv_loop_init", uv_loop_init(&server->loop));
	for (unsigned i = 0; i < ECHO_CONNECTIONS; i++) {
		struct connection *connection = &server->connections[i];
		connection->tcp.data = connection;
		expect_ok("uv_tcp_init", uv_tcp_init(&server->loop, &connection->tcp));
		expect_ok("uv_tcp_open", uv_tcp_open(&connection->tcp, fds[i]));
		expect_ok("uv_read_start", uv_read_start((uv_stream_t *)&connection->tcp, lend, received));
	}
	int error = os_thread_new(&server->thread, 0, -1, serve, server);
	if (error)
		die_errno("thread", error);
	return server;
}

static void finish(void *arg)
{
	struct server *server = arg;
	pthread_join(server->thread, NULL);
	expect_ok("uv_loop_close", uv_loop_close(&server->loop));
	free(server);
}

const struct echo_way echo_uv = {.start = start, .finish = finish};
