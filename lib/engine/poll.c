/* SPDX-License-Identifier: MIT
 *
 * The poll back end: epoll, where io_uring is refused. An operation is tried at once; if it would wait, it is tried again when
 * epoll says so; what cannot be tried without waiting is passed to a thread.
 *
 * An operation that waits has its own dup of the fd, so that each has its own entry in the epoll, and so that close() by the
 * application does not end it, nor let it go on with another file that got the number: as with io_uring, it began with a file, and
 * stays with it. That is also why a write that moved a part goes on here, and not by being started anew: it keeps its dup.
 * op->poll_fd: the dup; 0: none (a dup is never 0, 1 or 2).
 *
 * All is done by the worker's thread, but for ring(). Within one batch of events no operation ends by another one's doing:
 * worker_returned() runs callbacks, these only leave notes, and the worker takes notes, starts and cuts outside of wait(). An
 * operation has one entry, so it is in a batch once at most, and what the batch points to has not ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/raw.h"
#include "engine/poll_call.h"
#include "engine/worker.h"
#include "limit/time.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

enum { BATCH = 256, FIRST_DUP = 3 };
/* Which fds are dups: a bit each, in pages that are made when needed and stay. */
enum { WORD_BITS = 64, PAGE_WORDS = 64, PAGE_BITS = WORD_BITS * PAGE_WORDS, PAGES = 256 };

struct page {
	_Atomic uint64_t word[PAGE_WORDS];
};

struct poller {
	int epoll, bell;
	bool no_pwait2;
	/* For a forked child, which must close them but may not walk what the worker was just changing. The worker sets a bit
	 * after it made the fd and clears it before it closes it, so that a child never closes an fd of another's; at worst it
	 * keeps one. */
	_Atomic(struct page *) pages[PAGES];
};

static struct poller *poller_of(const struct worker *worker)
{
	return worker->state;
}

/* ---- dups */

static struct page *page_of(struct poller *poller, int fd)
{
	unsigned i = (unsigned)fd / PAGE_BITS;
	if (i >= PAGES)
		return NULL;
	struct page *page = atomic_load(&poller->pages[i]);
	if (page)
		return page;
	page = calloc(1, sizeof *page);
	atomic_store(&poller->pages[i], page);
	return page;
}

static void note_dup(struct poller *poller, int fd, bool is_open)
{
	struct page *page = page_of(poller, fd);
	unsigned bit = (unsigned)fd % PAGE_BITS;
	uint64_t mask = UINT64_C(1) << bit % WORD_BITS;
	if (page && is_open)
		atomic_fetch_or(&page->word[bit / WORD_BITS], mask);
	else if (page)
		atomic_fetch_and(&page->word[bit / WORD_BITS], ~mask);
}

static int make_dup(struct poller *poller, struct op *op)
{
	long fd = RAW_3(SYS_fcntl, op->fd, F_DUPFD_CLOEXEC, FIRST_DUP);
	if (fd < 0)
		return (int)fd;
	op->poll_fd = (int)fd;
	note_dup(poller, op->poll_fd, true);
	return 0;
}

/* The entry goes first: the dup's close would leave it if the application's fd is still open. */
static void release(struct poller *poller, struct op *op)
{
	if (!op->poll_fd)
		return;
	RAW_4(SYS_epoll_ctl, poller->epoll, EPOLL_CTL_DEL, op->poll_fd, NULL);
	note_dup(poller, op->poll_fd, false);
	RAW_1(SYS_close, op->poll_fd);
	op->poll_fd = 0;
}

/* ---- one operation */

static void end(struct worker *worker, struct op *op, long result)
{
	release(poller_of(worker), op);
	worker_returned(worker, op, result);
}

static void pass_to_thread(struct worker *worker, struct op *op)
{
	release(poller_of(worker), op);
	worker_pass_to_thread(worker, op);
}

/* No memory for an entry, or too many, or a file that epoll does not take. That one is always ready, but not for what is asked: it
 * waits for its cut. */
static void refused(struct worker *worker, struct op *op, long error)
{
	if (op->opcode == UNSTICK_OP_POLL && error == -EPERM)
		release(poller_of(worker), op);
	else if (poll_call_can_pass(op))
		pass_to_thread(worker, op);
	else
		end(worker, op, error);
}

static void wait_for(struct worker *worker, struct op *op, unsigned events)
{
	struct poller *poller = poller_of(worker);
	struct epoll_event entry = {.events = events | EPOLLONESHOT, .data.ptr = op};
	bool is_new = !op->poll_fd;
	long error = is_new ? make_dup(poller, op) : 0;
	if (error) {
		end(worker, op, error);
		return;
	}
	error = RAW_4(SYS_epoll_ctl, poller->epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, op->poll_fd, &entry);
	if (error)
		refused(worker, op, error);
}

/* -errno, or the events that are there. */
static long look(int fd, unsigned events)
{
	struct pollfd look = {.fd = fd, .events = (short)events};
	struct timespec none = {0};
	long result = RAW_5(SYS_ppoll, &look, 1, &none, NULL, 0);
	if (result > 0 && look.revents & POLLNVAL)
		return -EBADF;
	return result > 0 ? look.revents : result;
}

/* Ready, says the file, and yet each try would wait; epoll would come back at once, for ever. */
static bool only_seems_ready(struct op *op, long *result)
{
	for (int i = 0; i < 2; i++) {
		if (look(op->poll_fd, poll_call_events(op)) <= 0)
			return false;
		*result = poll_call_try(op, op->poll_fd);
		if (*result != -EAGAIN)
			return false;
	}
	return true;
}

static void go_on(struct worker *worker, struct op *op)
{
	int fd = op->poll_fd ? op->poll_fd : op->fd;
	long result = poll_call_try(op, fd);
	bool waits = poll_call_waits(op);
	if (result == -EAGAIN && waits && op->poll_fd && poll_call_can_pass(op) && only_seems_ready(op, &result))
		result = POLL_CALL_NEEDS_THREAD;
	if (result == POLL_CALL_NEEDS_THREAD)
		pass_to_thread(worker, op);
	else if ((result == -EAGAIN && waits) || poll_call_goes_on(op, fd, result))
		wait_for(worker, op, poll_call_events(op));
	else
		end(worker, op, result);
}

/* The numbers are those of poll(); EPOLLET and its like, above them, are no events. */
static unsigned events_of(const struct op *op)
{
	return (unsigned)op->op_flags & SHRT_MAX;
}

static void start_poll(struct worker *worker, struct op *op)
{
	long result = look(op->fd, events_of(op));
	if (result)
		end(worker, op, result);
	else
		wait_for(worker, op, events_of(op));
}

/* ---- the back end */

static void poll_start(struct worker *worker, struct op *op)
{
	op->has_more = true; /* its fd, and what has moved */
	switch (op->opcode) {
	case UNSTICK_OP_NOP:
		end(worker, op, 0);
		break;
	case UNSTICK_OP_POLL:
		start_poll(worker, op);
		break;
	case UNSTICK_OP_READ:
	case UNSTICK_OP_WRITE:
	case UNSTICK_OP_READV:
	case UNSTICK_OP_WRITEV:
	case UNSTICK_OP_RECV:
	case UNSTICK_OP_SEND:
	case UNSTICK_OP_RECVMSG:
	case UNSTICK_OP_SENDMSG:
		if (!poll_call_needs_thread(op)) {
			go_on(worker, op);
			break;
		}
		/* fallthrough */
	default: /* accept and connect: readiness is no promise that they will not wait */
		pass_to_thread(worker, op);
	}
}

static void poll_cut(struct worker *worker, struct op *op)
{
	end(worker, op, -ECANCELED);
}

/* The result of epoll_wait. Filters answer an unknown call with EPERM, some of them. */
static long wait_events(struct poller *poller, struct epoll_event *events, unstick_time until)
{
	unstick_time now = until == UNSTICK_NEVER ? 0 : unstick_now();
	int64_t span = until <= now ? 0 : until - now;
	struct timespec limit = time_to_timespec(span), *at_most = until == UNSTICK_NEVER ? NULL : &limit;
	if (!poller->no_pwait2) {
		long count = RAW_6(SYS_epoll_pwait2, poller->epoll, events, BATCH, at_most, NULL, 0);
		if (count != -ENOSYS && count != -EPERM)
			return count;
		poller->no_pwait2 = true;
	}
	int64_t ms = span / TIME_NS_PER_MS + (span % TIME_NS_PER_MS != 0);
	return RAW_6(SYS_epoll_pwait, poller->epoll, events, BATCH, !at_most ? -1 : ms < INT_MAX ? ms : INT_MAX, NULL, 0);
}

static void poll_wait(struct worker *worker, unstick_time until)
{
	struct epoll_event events[BATCH];
	long count = wait_events(poller_of(worker), events, until);
	for (long i = 0; i < count; i++) {
		struct op *op = events[i].data.ptr;
		if (!op) /* the bell: edge-triggered, so there is nothing to take back */
			continue;
		if (op->opcode == UNSTICK_OP_POLL)
			end(worker, op, events[i].events & (events_of(op) | POLLERR | POLLHUP));
		else
			go_on(worker, op);
	}
}

static void poll_ring(struct worker *worker)
{
	uint64_t one = 1;
	RAW_3(SYS_write, poller_of(worker)->bell, &one, sizeof one);
}

static void close_both(struct poller *poller)
{
	if (poller->bell >= 0)
		RAW_1(SYS_close, poller->bell);
	if (poller->epoll >= 0)
		RAW_1(SYS_close, poller->epoll);
}

static void poll_close(struct worker *worker)
{
	struct poller *poller = poller_of(worker);
	worker->state = NULL;
	close_both(poller);
	for (unsigned i = 0; i < PAGES; i++)
		free(poller->pages[i]);
	free(poller);
}

static void close_dups(struct page *page, unsigned first)
{
	for (unsigned i = 0; i < PAGE_WORDS; i++)
		for (uint64_t word = page->word[i]; word; word &= word - 1)
			RAW_1(SYS_close, first + i * WORD_BITS + (unsigned)__builtin_ctzll(word));
}

static void poll_abandon(struct worker *worker)
{
	struct poller *poller = poller_of(worker);
	close_both(poller);
	for (unsigned i = 0; i < PAGES; i++)
		if (poller->pages[i])
			close_dups(poller->pages[i], i * PAGE_BITS);
}

static long make_both(struct poller *poller)
{
	struct epoll_event entry = {.events = EPOLLIN | EPOLLET};
	poller->epoll = (int)RAW_1(SYS_epoll_create1, EPOLL_CLOEXEC);
	poller->bell = (int)RAW_2(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
	long error = poller->epoll < 0 ? poller->epoll : poller->bell < 0 ? poller->bell : 0;
	return error ? error : RAW_4(SYS_epoll_ctl, poller->epoll, EPOLL_CTL_ADD, poller->bell, &entry);
}

static int poll_open(struct worker *worker)
{
	struct poller *poller = calloc(1, sizeof *poller);
	if (!poller)
		return -ENOMEM;
	long error = make_both(poller);
	if (error) {
		close_both(poller);
		free(poller);
		return (int)error;
	}
	worker->state = poller;
	return 0;
}

const struct back_end back_end_poll = {
        .name = "poll",
        .open = poll_open,
        .start = poll_start,
        .cut = poll_cut,
        .wait = poll_wait,
        .ring = poll_ring,
        .close = poll_close,
        .abandon = poll_abandon,
};
