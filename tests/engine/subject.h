/* SPDX-License-Identifier: MIT
 *
 * Operations that wait, on things that can wait: each subject makes a request that would block, and knows how to let it through and what it
 * must then have done. suite_waits.c takes every subject through every way in which a wait can end.
 */
#ifndef TESTS_ENGINE_SUBJECT_H
#define TESTS_ENGINE_SUBJECT_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "unstick.h"

struct stage {
	struct unstick_request request;
	int fds[2];              /* [0] reads what [1] writes */
	int fds2[2];             /* splice: the pipe it goes into */
	unsigned long in_flight; /* writers: bytes that lay before theirs, and have not been read yet */
	char bytes[16];
	struct iovec iov[2];
	struct msghdr msg;
	struct sockaddr_storage address;
	socklen_t address_size;
	char path[64];
};

struct subject {
	void (*fds)(int fds[2]);
	void (*want)(struct stage *stage);               /* fills in stage->request: it would block */
	void (*release)(struct stage *stage);            /* now it would not */
	void (*check)(struct stage *stage, long result); /* released, it came to that: as it must be? */
	void (*renew)(struct stage *stage);              /* cut short, its fd is spent: another one; NULL: it is not */
};

extern const struct subject read_pipe, read_fifo_hinted, read_pty, readv_pipe, recv_unix, recv_tcp, recv_udp, recvmsg_unix,
        write_pipe, writev_pipe, send_unix, sendmsg_unix, accept_tcp, connect_unix, connect_tcp, poll_pipe, splice_pipe,
        openat_fifo;

#define EVERY_SUBJECT(X)    \
	X(read_pipe)        \
	X(read_fifo_hinted) \
	X(read_pty)         \
	X(readv_pipe)       \
	X(recv_unix)        \
	X(recv_tcp)         \
	X(recv_udp)         \
	X(recvmsg_unix)     \
	X(write_pipe)       \
	X(writev_pipe)      \
	X(send_unix)        \
	X(sendmsg_unix)     \
	X(accept_tcp)       \
	X(connect_unix)     \
	X(connect_tcp)      \
	X(poll_pipe)        \
	X(splice_pipe)      \
	X(openat_fifo)

void stage_make(struct stage *stage, const struct subject *subject);

#endif
