/* SPDX-License-Identifier: MIT
 *
 * A waiting recv() on a bare ring, cancelled with ASYNC_CANCEL; see rig_cancel.h.
 */
#include "rig_cancel.h"
#include "rig_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TAG_RECV = 1, TAG_CANCEL, TAG_EVENT };

static void ring_recv(struct pending *pending)
{
	struct io_uring_sqe *sqe = ring_sqe(pending->ring);
	io_uring_prep_recv(sqe, pending->fds[0], &pending->byte, 1, 0);
	io_uring_sqe_set_data64(sqe, TAG_RECV);
}

/* Waits for completions until the one with this tag has come: its result. */
static int ring_await(struct pending *pending, uint64_t tag)
{
	for (;;) {
		struct io_uring_cqe *cqe;
		ring_submit_and_wait(pending->ring, 1);
		while (io_uring_peek_cqe(pending->ring, &cqe) == 0) {
			uint64_t seen = io_uring_cqe_get_data64(cqe);
			int result = cqe->res;
			io_uring_cqe_seen(pending->ring, cqe);
			if (seen == tag)
				return result;
		}
	}
}

static void ring_cancel(struct pending *pending)
{
	struct io_uring_sqe *sqe = ring_sqe(pending->ring);
	io_uring_prep_cancel64(sqe, TAG_RECV, 0);
	io_uring_sqe_set_data64(sqe, TAG_CANCEL);
	pending_expect_canceled(pending, ring_await(pending, TAG_RECV));
}

static void raw_open(struct pending *pending)
{
	pending->ring = os_alloc(1, sizeof(struct io_uring));
	ring_open(pending->ring, 8);
}

static void raw_begin(struct pending *pending)
{
	ring_recv(pending);
	ring_submit_and_wait(pending->ring, 0);
}

static void raw_close(struct pending *pending)
{
	io_uring_queue_exit(pending->ring);
	free(pending->ring);
}

static void ring_wait_for_event(struct pending *pending)
{
	eventfd_t count;
	struct io_uring_sqe *sqe = ring_sqe(pending->ring);
	io_uring_prep_read(sqe, pending->event, &count, sizeof(count), 0);
	io_uring_sqe_set_data64(sqe, TAG_EVENT);
	engine_gate_open(&pending->ready);
	ring_await(pending, TAG_EVENT);
}

static void *ring_thread(void *arg)
{
	struct pending *pending = arg;
	raw_open(pending);
	atomic_store(&pending->tid, gettid());
	while (engine_gate_wait(&pending->again), !pending->end) {
		ring_recv(pending);
		ring_wait_for_event(pending);
		ring_cancel(pending);
		engine_gate_open(&pending->over);
	}
	raw_close(pending);
	return NULL;
}

static void other_open(struct pending *pending)
{
	pending->event = eventfd(0, EFD_CLOEXEC);
	if (pending->event < 0)
		die_errno("eventfd", errno);
	pending_start_thread(pending, ring_thread);
}

static void other_begin(struct pending *pending)
{
	engine_gate_open(&pending->again);
	engine_gate_wait(&pending->ready);
	os_wait_blocked(atomic_load(&pending->tid), SYS_io_uring_enter, 0, pending->name);
}

static void other_cancel(struct pending *pending)
{
	if (eventfd_write(pending->event, 1) < 0)
		die_errno("eventfd", errno);
	engine_gate_wait(&pending->over);
}

static void other_close(struct pending *pending)
{
	pending_end_thread(pending);
	close(pending->event);
}

const struct cancel_way cancel_raw = {.open = raw_open, .begin = raw_begin, .cancel = ring_cancel, .close = raw_close};
const struct cancel_way cancel_raw_other = {.open = other_open, .begin = other_begin, .cancel = other_cancel, .close = other_close};
