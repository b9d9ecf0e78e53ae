/* SPDX-License-Identifier: MIT
 *
 * The io_uring back end: a ring a worker, which owns it for life. What start() and cut() ask for is gathered in the submission
 * queue; one io_uring_enter() submits, waits for one completion at least (waiting for more is not woken by each, see
 * docs/design.md) and reaps. An operation's user_data is its handle: an ASYNC_CANCEL that comes late finds nothing. Its result
 * is the result of its own completion; that of the cancel only says whether to try again. Deadlines are the worker's wheel and
 * the wait's timeout, not LINK_TIMEOUT, which does not end what was punted and costs 2.9 to 12 times as much.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/raw.h"
#include "engine/vector.h"
#include "engine/worker.h"

enum { ENTRIES = 256, FEWEST_ENTRIES = 16, COMPLETIONS_AN_ENTRY = 4 };

/* user_data that is nobody's handle: handles are greater than 2^32. */
enum { UD_IGNORED = 0, UD_WAKE = 1 };

/* In the user_data of a cancel, beside the handle of its target; slots do not come so high. */
static const uint64_t UD_CANCEL = (uint64_t)1 << 31;

/* RSRC_TAGS stands for 5.13, which has polls that go on (multishot). */
static const unsigned FEATURES = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_RSRC_TAGS;

struct uring {
	struct io_uring ring;
	int event_fd;   /* written to wake the worker; polled by the ring, never read */
	unsigned taken; /* completions that are still to be given back */
};

static struct uring *uring_of(const struct worker *worker)
{
	return worker->state;
}

static void make_room(struct uring *uring)
{
	io_uring_cq_advance(&uring->ring, uring->taken);
	uring->taken = 0;
}

/* With the queue full: the kernel takes all of it. Kernels before 5.19 refuse that (EBUSY) while completions overflow: those
 * that have been taken make room for them. */
__attribute__((cold, noinline)) static struct io_uring_sqe *get_sqe_of_full(struct uring *uring)
{
	struct io_uring_sqe *sqe;
	do
		if (io_uring_submit(&uring->ring) < 0)
			make_room(uring);
	while (!(sqe = io_uring_get_sqe(&uring->ring)));
	return sqe;
}

static inline struct io_uring_sqe *get_sqe(struct worker *worker)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring_of(worker)->ring);
	return sqe ? sqe : get_sqe_of_full(uring_of(worker));
}

/* ---- open, close */

/* Newest first; each needs what its name says: SINGLE_ISSUER and DEFER_TASKRUN 6.1, COOP_TASKRUN 5.19, SUBMIT_ALL 5.18. */
static const unsigned flag_sets[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
        0,
};

static int try_setup(struct uring *uring, unsigned entries)
{
	int error = -EINVAL;
	for (size_t i = 0; i < sizeof flag_sets / sizeof flag_sets[0] && error == -EINVAL; i++) {
		struct io_uring_params params = {.flags = flag_sets[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		                                 .cq_entries = entries * COMPLETIONS_AN_ENTRY};
		error = io_uring_queue_init_params(entries, &uring->ring, &params);
	}
	return error;
}

/* RLIMIT_MEMLOCK may have room for a smaller one only. */
static int set_up(struct uring *uring)
{
	int error = -ENOMEM;
	for (unsigned entries = ENTRIES; error == -ENOMEM && entries >= FEWEST_ENTRIES; entries /= 4)
		error = try_setup(uring, entries);
	if (error)
		return error;
	io_uring_ring_dontfork(&uring->ring);
	if ((uring->ring.features & FEATURES) == FEATURES)
		return 0;
	io_uring_queue_exit(&uring->ring);
	return -EOPNOTSUPP;
}

static void watch_event_fd(struct uring *uring, struct io_uring_sqe *sqe)
{
	io_uring_prep_poll_multishot(sqe, uring->event_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, UD_WAKE);
}

/* A filter may allow the setup and refuse the rest: one NOP there and back. */
static int try_nop(struct uring *uring)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data64(sqe, UD_IGNORED);
	int result = io_uring_submit(&uring->ring);
	if (result >= 0)
		result = io_uring_wait_cqe(&uring->ring, &cqe);
	if (result >= 0)
		io_uring_cqe_seen(&uring->ring, cqe);
	return result < 0 ? result : 0;
}

static int open_ring(struct uring *uring)
{
	int error = set_up(uring);
	if (error)
		return error;
	error = try_nop(uring);
	if (error) {
		io_uring_queue_exit(&uring->ring);
		return error;
	}
	watch_event_fd(uring, io_uring_get_sqe(&uring->ring));
	return 0;
}

static int uring_open(struct worker *worker)
{
	struct uring *uring = calloc(1, sizeof *uring);
	if (!uring)
		return -ENOMEM;
	uring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int error = uring->event_fd < 0 ? -errno : open_ring(uring);
	if (error) {
		if (uring->event_fd >= 0)
			close(uring->event_fd);
		free(uring);
		return error;
	}
	worker->state = uring;
	return 0;
}

static void uring_close(struct worker *worker)
{
	struct uring *uring = uring_of(worker);
	io_uring_queue_exit(&uring->ring);
	close(uring->event_fd);
	free(uring);
}

static void uring_abandon(struct worker *worker)
{
	struct uring *uring = uring_of(worker);
	close(uring->ring.ring_fd);
	close(uring->event_fd);
}

static void uring_ring(struct worker *worker)
{
	const uint64_t one = 1;
	RAW_3(SYS_write, uring_of(worker)->event_fd, &one, sizeof one);
}

/* ---- start, cut */

static unsigned size_of(size_t bytes)
{
	return (unsigned)(bytes < MOST_BYTES ? bytes : MOST_BYTES);
}

static void prepare_transfer(struct io_uring_sqe *sqe, struct op *op)
{
	const struct iovec *iov;
	unsigned count;
	size_t moved = op_moved(op);
	char *at = (char *)op->buf + moved;
	const uint64_t own_position = (uint64_t)-1;
	switch (op->opcode) {
	case UNSTICK_OP_READ:
		io_uring_prep_read(sqe, op->fd, at, size_of(op->len), own_position);
		break;
	case UNSTICK_OP_WRITE:
		io_uring_prep_write(sqe, op->fd, at, size_of(op->len - moved), own_position);
		break;
	case UNSTICK_OP_READV:
		io_uring_prep_readv(sqe, op->fd, op->buf, (unsigned)op->len, own_position);
		break;
	default:
		iov = vector_iov(op, &count);
		io_uring_prep_writev(sqe, op->fd, iov, count, own_position);
		break;
	}
}

/* A datagram by sendmsg() to a receiver that is named in it. Where the ring has to wait for that receiver's queue it sends an
 * empty one in the end (6.18, unix sockets: the data are taken out of the iovecs at the first try). So it does not wait; a
 * thread does. */
__attribute__((noinline)) static bool is_addressed_datagram(const struct op *op)
{
	int type = SOCK_STREAM;
	socklen_t size = sizeof type;
	if (!vector_message(op)->msg_name || (op->op_flags & MSG_DONTWAIT))
		return false;
	RAW_5(SYS_getsockopt, op->fd, SOL_SOCKET, SO_TYPE, &type, &size);
	return type != SOCK_STREAM;
}

static bool needs_thread(const struct op *op, long result)
{
	return result == -EAGAIN && op->asks_once && op->phase == OP_STARTED;
}

static void prepare_message(struct io_uring_sqe *sqe, struct op *op)
{
	switch (op->opcode) {
	case UNSTICK_OP_RECV:
		io_uring_prep_recv(sqe, op->fd, op->buf, size_of(op->len), op->op_flags);
		break;
	case UNSTICK_OP_SEND:
		io_uring_prep_send(sqe, op->fd, (char *)op->buf + op_moved(op), size_of(vector_left(op)),
		                   op->op_flags | MSG_NOSIGNAL);
		break;
	case UNSTICK_OP_RECVMSG:
		io_uring_prep_recvmsg(sqe, op->fd, op->buf, (unsigned)op->op_flags);
		break;
	default:
		op->asks_once = is_addressed_datagram(op);
		io_uring_prep_sendmsg(sqe, op->fd, vector_message(op),
		                      (unsigned)op->op_flags | MSG_NOSIGNAL | (op->asks_once ? MSG_DONTWAIT : 0));
		break;
	}
}

static void prepare(struct io_uring_sqe *sqe, struct op *op)
{
	switch (op->opcode) {
	case UNSTICK_OP_NOP:
		io_uring_prep_nop(sqe);
		break;
	case UNSTICK_OP_ACCEPT:
		io_uring_prep_accept(sqe, op->fd, NULL, NULL, op->op_flags);
		break;
	case UNSTICK_OP_CONNECT:
		io_uring_prep_connect(sqe, op->fd, op->addr, op->addr_len);
		break;
	case UNSTICK_OP_POLL:
		io_uring_prep_poll_add(sqe, op->fd, (unsigned)op->op_flags);
		break;
	case UNSTICK_OP_READ:
	case UNSTICK_OP_WRITE:
	case UNSTICK_OP_READV:
	case UNSTICK_OP_WRITEV:
		prepare_transfer(sqe, op);
		break;
	default:
		prepare_message(sqe, op);
		break;
	}
}

static void uring_start(struct worker *worker, struct op *op)
{
	struct io_uring_sqe *sqe = get_sqe(worker);
	prepare(sqe, op);
	io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)op_handle(op));
}

static void uring_cut(struct worker *worker, struct op *op)
{
	struct io_uring_sqe *sqe = get_sqe(worker);
	uint64_t handle = (uint64_t)(uintptr_t)op_handle(op);
	io_uring_prep_cancel64(sqe, handle, 0);
	io_uring_sqe_set_data64(sqe, handle | UD_CANCEL);
}

/* ---- wait */

static void take_wake(struct worker *worker, unsigned flags)
{
	struct uring *uring = uring_of(worker);
	uint64_t count;
	if (flags & IORING_CQE_F_MORE)
		return;
	RAW_3(SYS_read, uring->event_fd, &count, sizeof count); /* else the new poll would end at once */
	watch_event_fd(uring, get_sqe(worker));
}

/* EALREADY, or ENOENT of a target that has not ended: it was on its way from a poll to an io-wq thread, say. If it does not
 * end now, it is to be cut again: seen with connect() of a unix socket, which then waited for ever. */
static void take_cancel(struct worker *worker, uint64_t handle, long result)
{
	const struct unstick_op *target = (const struct unstick_op *)(uintptr_t)handle;
	op_share_handle(target);
	struct op *op = result == 0 ? NULL : op_from_handle(target);
	if (!op)
		return;
	worker_cut_failed(worker, op);
	op_drop(&worker->cache, op);
}

__attribute__((cold)) static void take_other(struct worker *worker, uint64_t user_data, long result, unsigned flags)
{
	if (user_data == UD_WAKE)
		take_wake(worker, flags);
	else if (user_data & UD_CANCEL)
		take_cancel(worker, user_data & ~UD_CANCEL, result);
}

static void take(struct worker *worker, uint64_t user_data, long result, unsigned flags)
{
	if (user_data <= UD_WAKE || (user_data & UD_CANCEL)) {
		take_other(worker, user_data, result, flags);
		return;
	}
	struct op *op = op_at_handle(user_data);
	if (needs_thread(op, result))
		worker_pass_to_thread(worker, op);
	else
		worker_returned(worker, op, result == -EAGAIN && op->asks_once ? -ECANCELED : result);
}

/* Given back to the kernel in one step, or by make_room(): each is read before its operation's callback can lead there. Those that
 * come meanwhile are for the next call. */
static void reap(struct worker *worker)
{
	struct uring *uring = uring_of(worker);
	const struct io_uring_cq *cq = &uring->ring.cq;
	unsigned head = *cq->khead, tail = io_uring_smp_load_acquire(cq->ktail);
	for (; head != tail; head++) {
		const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
		uring->taken++;
		take(worker, cqe->user_data, cqe->res, cqe->flags);
	}
	io_uring_cq_advance(&uring->ring, uring->taken);
	uring->taken = 0;
}

/* What it returns does not matter: interrupted, out of time, completions that overflowed, all lead to another look at the
 * queue, the clock and the inbox. */
static void enter(struct worker *worker, unstick_time until)
{
	struct io_uring *ring = &uring_of(worker)->ring;
	struct io_uring_cqe *cqe;
	if (until == UNSTICK_NEVER) {
		io_uring_submit_and_wait(ring, 1);
		return;
	}
	int64_t left = until ? until - worker_now(worker) : 0;
	if (left <= 0) {
		io_uring_submit_and_get_events(ring);
		return;
	}
	struct __kernel_timespec timeout = {.tv_sec = left / TIME_NS_PER_S, .tv_nsec = left % TIME_NS_PER_S};
	io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL);
}

static bool uring_has_news(const struct worker *worker)
{
	const struct io_uring *ring = &uring_of(worker)->ring;
	bool to_run = IO_URING_READ_ONCE(*ring->sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
	return to_run || io_uring_sq_ready(ring) || io_uring_cq_ready(ring);
}

static void uring_wait(struct worker *worker, unstick_time until)
{
	if (!io_uring_cq_ready(&uring_of(worker)->ring))
		enter(worker, until);
	reap(worker);
}

const struct back_end back_end_uring = {
        .name = "io_uring",
        .open = uring_open,
        .start = uring_start,
        .cut = uring_cut,
        .wait = uring_wait,
        .has_news = uring_has_news,
        .ring = uring_ring,
        .close = uring_close,
        .abandon = uring_abandon,
};
