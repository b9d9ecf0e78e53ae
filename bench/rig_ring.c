/* SPDX-License-Identifier: MIT
 *
 * A bare ring (rig_ring.h), and the drives on it.
 */
#include "rig_ring.h"

#include "os.h"
#include "rig_drive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ring_open(struct io_uring *ring, unsigned entries)
{
	static const unsigned flags[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0};
	int error = -EINVAL;
	for (size_t i = 0; error == -EINVAL && i < sizeof(flags) / sizeof(flags[0]); i++)
		error = io_uring_queue_init(entries, ring, flags[i]);
	if (error < 0)
		die("io_uring_queue_init", strerror(-error),
		    "raise ulimit -l, or name with --only benchmarks that need no io_uring of their own");
}

struct io_uring_sqe *ring_sqe(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	if (!sqe)
		die("io_uring", "the submission queue is full", "please report it");
	return sqe;
}

void ring_submit_and_wait(struct io_uring *ring, unsigned count)
{
	int error = io_uring_submit_and_wait(ring, count);
	if (error < 0 && error != -EINTR)
		die_errno("io_uring_submit_and_wait", -error);
}

/* ---- drives ---- */

enum { OPERATION, LINKED_TIMEOUT };

struct raw {
	struct io_uring ring;
	struct __kernel_timespec span;
	unsigned next;
};

static void raw_open(struct drive *drive)
{
	struct raw *raw = os_alloc(1, sizeof(*raw));
	raw->span = (struct __kernel_timespec){.tv_sec = DRIVE_DEADLINE_MS / 1000};
	ring_open(&raw->ring, 4 * LOAD_CYCLE);
	drive->state = raw;
}

static void prepare(struct load *load, unsigned n, struct io_uring_sqe *sqe)
{
	unsigned pair = n % LOAD_CYCLE / 2;
	if (load->kind == LOAD_NOP)
		io_uring_prep_nop(sqe);
	else if (load->kind == LOAD_PIPE && load_writes(n))
		io_uring_prep_write(sqe, load->to[pair], load->out, LOAD_MESSAGE, (uint64_t)-1);
	else if (load->kind == LOAD_PIPE)
		io_uring_prep_read(sqe, load->from[pair], load->in[pair], LOAD_MESSAGE, (uint64_t)-1);
	else if (load_writes(n))
		io_uring_prep_send(sqe, load->to[pair], load->out, LOAD_MESSAGE, MSG_NOSIGNAL);
	else
		io_uring_prep_recv(sqe, load->from[pair], load->in[pair], LOAD_MESSAGE, 0);
	io_uring_sqe_set_data64(sqe, OPERATION);
}

static void put(struct drive *drive, struct raw *raw)
{
	struct io_uring_sqe *sqe = ring_sqe(&raw->ring);
	prepare(&drive->load, raw->next++, sqe);
	if (!drive->way->deadlines)
		return;
	sqe->flags |= IOSQE_IO_LINK;
	sqe = ring_sqe(&raw->ring);
	io_uring_prep_link_timeout(sqe, &raw->span, 0);
	io_uring_sqe_set_data64(sqe, LINKED_TIMEOUT);
}

static unsigned reap(struct drive *drive, struct raw *raw)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;
	io_uring_for_each_cqe(&raw->ring, head, cqe)
	{
		if (io_uring_cqe_get_data64(cqe) == OPERATION)
			drive_check(drive, cqe->res);
		count++;
	}
	io_uring_cq_advance(&raw->ring, count);
	return count;
}

static void raw_run(struct drive *drive, unsigned operations)
{
	struct raw *raw = drive->state;
	unsigned completions = drive->way->deadlines ? 2 * drive->batch : drive->batch;
	for (unsigned done = 0; done < operations; done += drive->batch) {
		for (unsigned i = 0; i < drive->batch; i++)
			put(drive, raw);
		for (unsigned reaped = 0; reaped < completions; reaped += reap(drive, raw))
			ring_submit_and_wait(&raw->ring, completions - reaped);
	}
}

static void raw_close(struct drive *drive)
{
	struct raw *raw = drive->state;
	io_uring_queue_exit(&raw->ring);
	free(raw);
}

const struct drive_way drive_raw = {.open = raw_open, .run = raw_run, .close = raw_close};
const struct drive_way drive_raw_linked = {.deadlines = true, .open = raw_open, .run = raw_run, .close = raw_close};
