/* SPDX-License-Identifier: MIT
 *
 * Echo servers, and the load on them: ECHO_CONNECTIONS connections over TCP on loopback; on each the client sends a message, and the next
 * one as soon as it has it back. One client, one thread with epoll, for all servers.
 */
#ifndef BENCH_RIG_ECHO_H
#define BENCH_RIG_ECHO_H

#include "harness.h"

enum { ECHO_CONNECTIONS = 256, ECHO_MESSAGE = 64 };

struct echo_way {
	/* Serves these connected sockets, on a thread or threads of its own; owns them. */
	void *(*start)(const int fds[ECHO_CONNECTIONS]);
	/* The client has closed all its ends: waits until the server has seen that and closed its own. */
	void (*finish)(void *server);
};

extern const struct echo_way echo_engine, echo_engine_deadlines, echo_threads;
/* Only if built with liburing (BENCH_URING), with libuv (BENCH_UV). */
extern const struct echo_way echo_raw, echo_uv;

/* The client; the harness's functions. */
void echo_begin(const struct benchmark *benchmark, const struct bench_config *config);
void *echo_open(const struct bench_case *bench_case, const struct bench_config *config);
void echo_block_run(void *instance, unsigned count, struct samples *samples);
void echo_close(void *instance);

#endif
