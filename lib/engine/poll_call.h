/* SPDX-License-Identifier: MIT
 *
 * One try at a network operation, without waiting, whatever O_NONBLOCK says. For the poll back end.
 * What it does not do: wait, know of epoll, end an operation.
 */
#ifndef UNSTICK_ENGINE_POLL_CALL_H
#define UNSTICK_ENGINE_POLL_CALL_H

#include <stdbool.h>

#include "engine/op.h"

/* No errno: only the own call, on a thread, can serve this fd. Said at the first try, before anything has moved. */
enum { POLL_CALL_NEEDS_THREAD = -10000 };

/* Only the own call gives exactly its own result, so no try is made. */
bool poll_call_needs_thread(const struct op *op);
/* A thread can make the own call in its stead: nothing has been moved yet, and it is one that the offload can build. */
bool poll_call_can_pass(const struct op *op);
/* What it moved, 0, or -errno, by an fd that is op->fd or a dup of it; -EAGAIN: it would have waited. Never -EINTR. */
long poll_call_try(struct op *op, int fd);
/* -EAGAIN is no answer for it. */
bool poll_call_waits(const struct op *op);
/* The own call would not have returned with `result`, but have gone on. True: op->moved counts it, and the next try goes on from
 * there. */
bool poll_call_goes_on(struct op *op, int fd, long result);
/* The events to wait for before the next try. */
unsigned poll_call_events(const struct op *op);

#endif
