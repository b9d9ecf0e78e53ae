/* SPDX-License-Identifier: MIT
 *
 * What the cases of engine_suite share. Each case runs in a process of its own under the harness of tests/faults/fault.h, which watches the
 * clock and says where a case hangs. The cases know the public header only; that an operation is pending they see by the library's threads,
 * which have all gone to sleep (settle()).
 */
#ifndef TESTS_ENGINE_SUITE_H
#define TESTS_ENGINE_SUITE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "unstick.h"

/* A file of cases has one table, which suite.c lists. */
struct suite_part {
	const struct fault *cases;
	size_t count;
};
#define SUITE_PART(name) const struct suite_part name = {cases, sizeof cases / sizeof cases[0]}

/* The engine of the case, opened by the first use. */
struct unstick_engine *engine(void);
/* Opens it with other options. */
struct unstick_engine *engine_with(const struct unstick_engine_options *options);
bool engine_is_poll(void);

/* Submits, which must work. */
struct unstick_op *begin(const struct unstick_request *request);
/* Until it has ended: its result; the reference is gone. */
long end_of(struct unstick_op *op);
long run(const struct unstick_request *request);
/* Cancels it; its result. */
long cancelled(struct unstick_op *op);
/* Until all other threads of the process are asleep and have not been awake between two looks. */
void settle(void);

struct unstick_token *token_make(struct unstick_token *parent);

/* fds[0] reads what fds[1] writes. */
void make_pipe(int fds[2]);
void make_unix(int fds[2]);
void make_tcp(int fds[2]);
void make_udp(int fds[2]);
void make_pty(int fds[2]);
/* A listening socket on the loopback; its address. */
int listen_tcp(struct sockaddr_storage *address, socklen_t *size, int backlog);
void set_nonblock(int fd, bool on);
/* Writes until no more fits; how much that was. */
size_t fill(int fd);
void put(int fd, const char *text);
/* Nothing more can be read from it now. */
bool is_empty(int fd);
/* "/tmp/.../name", removed after the case. */
void temporary_path(char *path, size_t size, const char *name);

/* Counts its calls, for requests with `done`. */
struct calls {
	_Atomic unsigned count;
	_Atomic long result;
	_Atomic(struct unstick_op *) op;
	_Atomic pid_t tid;
};
void count_call(struct unstick_op *op, long result, void *calls);

static inline struct unstick_request with_done(struct unstick_request request, struct calls *calls)
{
	request.done = count_call;
	request.arg = calls;
	return request;
}

static inline struct unstick_request with_deadline(struct unstick_request request, unstick_time deadline)
{
	request.deadline = deadline;
	return request;
}

static inline struct unstick_request with_token(struct unstick_request request, struct unstick_token *token)
{
	request.token = token;
	return request;
}

#endif
