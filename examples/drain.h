/* SPDX-License-Identifier: MIT
 *
 * What the parts of drain-server share: drain-server.c starts and stops threads, drain-connection.c has what a thread does for its
 * client, drain-stream.c moves bytes, with TLS or without, and ends a connection without losing any.
 */
#ifndef EXAMPLES_DRAIN_H
#define EXAMPLES_DRAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unstick.h>

struct ssl_st;

struct stream {
	int fd;
	bool secure;        /* TLS */
	struct ssl_st *tls; /* after stream_open() of a secure one */
	bool broken;        /* TLS was cut in the middle of a record: nothing more can be said on it */
	atomic_ullong written;
};

struct connection {
	unsigned id;
	struct stream stream; /* its thread's; others look at `written` */
	size_t held;          /* of `input`: received, and not yet used */
	char input[512];
	struct connection *next, **back;
};

/* From SIGTERM on no connection begins anything new. */
extern atomic_bool server_stopping;
/* When connections must have been closed; NEVER before SIGTERM. */
extern _Atomic unstick_time server_close_until;

/* What the commands get stuck in. False: not to be had. */
bool connections_prepare(void);
/* Takes over the fd. NULL: no memory, the fd is closed. */
struct connection *connection_new(int fd, bool secure);
/* A thread of its own for each. Frees the connection. */
void *connection_serve(void *connection);
/* One that will not be served. Returns NULL. */
struct connection *connection_free(struct connection *connection);
/* Until none is being served; false at `until`. */
bool connections_wait(unstick_time until);
void connections_print_totals(void);

/* A key and a certificate for this run. False: built without OpenSSL, or it failed. */
bool stream_prepare_tls(void);
/* The handshake. False: there is none to be had. */
bool stream_open(struct stream *stream);
/* > 0: bytes; 0: the peer's end; < 0: an error. */
ssize_t stream_read(struct stream *stream, void *data, size_t size);
/* False: not all of it could be written. `written` grows with each byte that the kernel has taken. */
bool stream_write(struct stream *stream, const void *data, size_t size);
void stream_close(struct stream *stream);

#endif
