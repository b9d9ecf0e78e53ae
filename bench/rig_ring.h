/* SPDX-License-Identifier: MIT
 *
 * A bare ring, as a program sets one up for itself that knows the kernel: owned by one thread, task work deferred to its waits.
 */
#ifndef BENCH_RIG_RING_H
#define BENCH_RIG_RING_H

#include <liburing.h>

/* Opened by the thread that will use it. Dies if io_uring is refused. */
void ring_open(struct io_uring *ring, unsigned entries);
/* The next free entry; there is one. */
struct io_uring_sqe *ring_sqe(struct io_uring *ring);
/* Submits, waits for `count` completions. */
void ring_submit_and_wait(struct io_uring *ring, unsigned count);

#endif
