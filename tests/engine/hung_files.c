/* SPDX-License-Identifier: MIT
 *
 * Files whose file system does not answer: the deadlines of their operations hold all the same, sockets are not held up, the caller's memory is
 * the caller's again, what is left behind is counted and bounded, and goes when the kernel lets it go. Needs root and /dev/fuse.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "hung_fuse.h"
#include "unstick.h"

enum { READS = 64, SIZE = 4096, POISON = 0x5E };

static struct hung_fuse late;
static struct unstick_engine *engine;
static unsigned char memory[READS][SIZE];
static struct unstick_op *reads[READS];
static int direct, cached;

static void start_with(unsigned orphans)
{
	struct unstick_engine_options options = {.size = sizeof options, .files = READS, .orphans = orphans};
	if (hung_fuse_start(&late, true) < 0)
		fault_skip("%s", late.keeper.why);
	direct = open(late.direct, O_RDWR | O_CLOEXEC);
	cached = open(late.cached, O_RDWR | O_CLOEXEC);
	CHECK(direct >= 0 && cached >= 0, "open: %s", strerror(errno));
	int error = unstick_engine_new(&engine, &options);
	CHECK(error == 0, "unstick_engine_new: %d", error);
}

static struct unstick_stats stats(void)
{
	struct unstick_stats now;
	CHECK(unstick_engine_stats(engine, &now) == 0, "stats");
	return now;
}

/* ---- a ping-pong on a socket beside it, from callback to callback */

static struct pings {
	int fds[2];
	char byte;
	_Atomic unsigned long count;
	_Atomic int64_t longest_gap;
	unstick_time last;
	_Atomic bool end, ended;
} pings;

static void submit_ping(unsigned long number);

static void pong(struct unstick_op *op, long result, void *unused)
{
	(void)op;
	(void)unused;
	CHECK(result == 1, "a socket operation came to %ld", result);
	unstick_time now = unstick_now();
	if (now - pings.last > pings.longest_gap)
		pings.longest_gap = now - pings.last;
	pings.last = now;
	unsigned long number = atomic_fetch_add(&pings.count, 1) + 1;
	if (pings.end && number % 2 == 0)
		atomic_store(&pings.ended, true);
	else
		submit_ping(number);
}

static void submit_ping(unsigned long number)
{
	struct unstick_request request =
	        number % 2 ? UNSTICK_RECV(pings.fds[0], &pings.byte, 1) : UNSTICK_SEND(pings.fds[1], "p", 1);
	request.done = pong;
	CHECK(unstick_engine_submit(engine, &request, NULL) == 0, "submit of a socket operation");
}

static void start_pings(void)
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pings.fds) == 0, "socketpair");
	pings.last = unstick_now();
	submit_ping(0);
}

static void more_pings(unsigned long more)
{
	unsigned long goal = pings.count + more;
	WAIT_UNTIL(pings.count >= goal);
}

static void end_pings(void)
{
	atomic_store(&pings.end, true);
	WAIT_UNTIL(pings.ended);
}

/* ---- reads that hang */

static void begin_reads(unsigned count, unstick_time deadline)
{
	for (unsigned i = 0; i < count; i++) {
		struct unstick_request request = UNSTICK_PREAD(i % 2 ? direct : cached, memory[i], SIZE, (int64_t)i * SIZE);
		request.deadline = deadline;
		int error = unstick_engine_submit(engine, &request, &reads[i]);
		CHECK(error == 0, "submit of read %u: %d", i, error);
	}
}

static int count_entries(const char *path, bool only_hung)
{
	int count = 0;
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.' && (!only_hung || proc_in_call(0, (pid_t)atoi(entry->d_name), SYS_pread64));
	if (dir)
		closedir(dir);
	return count;
}

/* Threads that are in a read now. */
static unsigned hung(void)
{
	return (unsigned)count_entries("/proc/self/task", true);
}

/* Reads that hang in the kernel, each of them. */
static void hang_reads(unsigned count)
{
	begin_reads(count, 0);
	WAIT_UNTIL(hung() == count);
}

static void cancel_reads(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		unstick_op_cancel(reads[i]);
}

static void end_reads(unsigned count, long expected)
{
	for (unsigned i = 0; i < count; i++) {
		CHECK(unstick_op_wait(reads[i], UNSTICK_NEVER) == 0, "wait");
		long result = unstick_op_result(reads[i]);
		CHECK(result == expected, "read %u came to %ld", i, result);
		unstick_op_unref(reads[i]);
	}
	memset(memory, POISON, sizeof memory); /* ours again */
}

static void memory_is_untouched(void)
{
	for (unsigned i = 0; i < READS; i++)
		for (unsigned j = 0; j < SIZE; j++)
			CHECK(memory[i][j] == POISON, "byte %u of buffer %u was written after its read had ended: %#x", j, i,
			      memory[i][j]);
}

static void all_return_at_their_deadlines(void)
{
	start_with(READS);
	start_pings();
	more_pings(100);
	unsigned long before = pings.count;
	pings.longest_gap = 0;
	unstick_time begun = unstick_now(), deadline = unstick_after_ms(100);
	begin_reads(READS, deadline);
	end_reads(READS, -ETIMEDOUT);
	unstick_time over = unstick_now();
	unsigned long during = pings.count - before;
	int64_t gap = pings.longest_gap;
	CHECK(over >= deadline, "before the deadline");
	CHECK(during > 0, "no socket operation ended while the reads hung");
	fault_note("%lu socket operations in the %.1f ms of the reads, the longest gap %.2f ms; the last read %.2f ms after its "
	           "deadline",
	           during, (double)(over - begun) / 1e6, (double)gap / 1e6, (double)(over - deadline) / 1e6);
	more_pings(100);
	unsigned left = stats().orphans; /* a read that no thread had taken yet leaves none */
	CHECK(left > 0 && left <= READS && stats().orphans_ever == left && stats().orphan_oldest_ns > 0 &&
	              stats().expiries == READS,
	      "%u orphans, %lu ever, %lu expiries", left, stats().orphans_ever, stats().expiries);
	memory_is_untouched();
	hung_fuse_answer(&late);
	WAIT_UNTIL(stats().orphans == 0);
	memory_is_untouched();
	CHECK(stats().orphans_ever == left && stats().orphan_oldest_ns == 0, "stats afterwards");
	end_pings();
	CHECK(unstick_engine_close(engine, UNSTICK_NEVER, NULL) == 0, "close");
	memory_is_untouched();
	unstick_engine_free(engine);
}

/* Without any clock: they hang for as long as a thousand socket operations take, and then come out by a cancel. */
static void sockets_are_not_held_up(void)
{
	start_with(READS);
	start_pings();
	hang_reads(READS);
	more_pings(1000);
	for (unsigned i = 0; i < READS; i++)
		CHECK(unstick_op_result(reads[i]) == -EINPROGRESS, "read %u has ended: %ld", i, unstick_op_result(reads[i]));
	cancel_reads(READS);
	end_reads(READS, -ECANCELED);
	more_pings(100);
	end_pings();
	hung_fuse_answer(&late);
	WAIT_UNTIL(stats().orphans == 0);
	memory_is_untouched();
}

static void answers_in_time(void)
{
	start_with(READS);
	begin_reads(READS, unstick_after_ms(3600 * 1000));
	hung_fuse_answer(&late);
	for (unsigned i = 0; i < READS; i++) {
		CHECK(unstick_op_wait(reads[i], UNSTICK_NEVER) == 0 && unstick_op_result(reads[i]) == SIZE, "read %u", i);
		CHECK(memory[i][0] == HUNG_FUSE_BYTE && memory[i][SIZE - 1] == HUNG_FUSE_BYTE, "read %u has not its bytes", i);
	}
	CHECK(stats().orphans_ever == 0, "orphans");
}

/* ---- the limit */

static void above_the_limit(void)
{
	struct unstick_op *op;
	char byte;
	int fds[2];
	start_with(8);
	hang_reads(8);
	cancel_reads(8);
	end_reads(8, -ECANCELED);
	CHECK(stats().orphans == 8, "%u orphans", stats().orphans);
	struct unstick_request one_more = UNSTICK_PREAD(direct, memory[0], SIZE, 0);
	int error = unstick_engine_submit(engine, &one_more, &op);
	CHECK(error == -EAGAIN, "one more: %d", error);
	CHECK(pipe2(fds, O_CLOEXEC) == 0 && write(fds[1], "x", 1) == 1, "pipe");
	CHECK(unstick_engine_submit(engine, &UNSTICK_READ(fds[0], &byte, 1), &op) == 0, "a pipe is not concerned");
	CHECK(unstick_op_wait(op, UNSTICK_NEVER) == 0 && unstick_op_result(op) == 1, "the pipe's read");
	unstick_op_unref(op);
	hung_fuse_answer(&late);
	WAIT_UNTIL(stats().orphans == 0);
	CHECK(unstick_engine_submit(engine, &one_more, &op) == 0, "once the kernel has let go");
	CHECK(unstick_op_wait(op, UNSTICK_NEVER) == 0 && unstick_op_result(op) == SIZE, "that read: %ld", unstick_op_result(op));
	unstick_op_unref(op);
}

/* ---- the end of the engine */

static void close_says_what_is_left(void)
{
	struct unstick_left left = {0};
	start_with(READS);
	hang_reads(READS);
	CHECK(unstick_engine_close(engine, unstick_after_ms(100), &left) == -EBUSY, "close");
	CHECK(left.count == READS, "%u left", left.count);
	CHECK(left.holds_exit == 1 && left.tid > 0 && left.oldest_ns > 0 && (left.fd == direct || left.fd == cached) &&
	              left.what[0],
	      "left: holds_exit %d, tid %d, fd %d, '%s'", left.holds_exit, (int)left.tid, left.fd, left.what);
	fault_note("left: %s", left.what);
	end_reads(READS, -ECANCELED);
	CHECK(unstick_engine_close(engine, 0, &left) == -EBUSY, "once more, too early");
	hung_fuse_answer(&late);
	CHECK(unstick_engine_close(engine, UNSTICK_NEVER, &left) == 0, "once the kernel has let go");
	memory_is_untouched();
	unstick_engine_free(engine);
}

static void daemon_dies(void)
{
	start_with(READS);
	hang_reads(READS);
	CHECK(unstick_engine_close(engine, unstick_after_ms(50), NULL) == -EBUSY, "close");
	end_reads(READS, -ECANCELED);
	hung_fuse_end(&late);
	CHECK(unstick_engine_close(engine, UNSTICK_NEVER, NULL) == 0, "close after the daemon's end");
	memory_is_untouched();
	unstick_engine_free(engine);
}

static void freed_with_orphans(void)
{
	start_with(READS);
	hang_reads(READS);
	cancel_reads(READS);
	end_reads(READS, -ECANCELED);
	CHECK(unstick_engine_free(engine) == NULL, "free");
	CHECK(hung() == READS, "%u hang", hung());
	hung_fuse_answer(&late);
	WAIT_UNTIL(hung() == 0);
	memory_is_untouched();
}

/* ---- the other operations */

static long run_until(struct unstick_request request, unstick_time deadline)
{
	struct unstick_op *op;
	request.deadline = deadline;
	int error = unstick_engine_submit(engine, &request, &op);
	CHECK(error == 0, "submit: %d", error);
	CHECK(unstick_op_wait(op, UNSTICK_NEVER) == 0, "wait");
	long result = unstick_op_result(op);
	unstick_op_unref(op);
	return result;
}

static void library_memory(void)
{
	struct unstick_buffer *buffer;
	start_with(READS);
	CHECK(unstick_buffer_new(&buffer, SIZE) == 0, "buffer");
	struct unstick_request read = UNSTICK_PREAD(direct, buffer, SIZE, 0);
	read.flags = UNSTICK_BUFFER;
	CHECK(run_until(read, unstick_after_ms(20)) == -ETIMEDOUT, "read");
	unstick_buffer_unref(buffer); /* the library still has it: ASan would see the late answer's write */
	hung_fuse_answer(&late);
	WAIT_UNTIL(stats().orphans == 0);
	CHECK(unstick_buffer_new(&buffer, SIZE) == 0, "buffer");
	read.buf = buffer;
	CHECK(run_until(read, unstick_after_ms(3600 * 1000)) == SIZE, "another read");
	CHECK(((unsigned char *)unstick_buffer_data(buffer))[SIZE - 1] == HUNG_FUSE_BYTE, "its bytes");
	unstick_buffer_unref(buffer);
}

static void late_open_leaks_nothing(void)
{
	struct statx status;
	start_with(READS);
	CHECK(run_until(UNSTICK_NOP(), 0) == 0, "nop");
	int before = count_entries("/proc/self/fd", false);
	CHECK(run_until(UNSTICK_OPENAT(AT_FDCWD, late.hidden, O_RDONLY | O_CLOEXEC, 0), unstick_after_ms(20)) == -ETIMEDOUT,
	      "openat");
	memset(&status, POISON, sizeof status);
	CHECK(run_until(UNSTICK_STATX(AT_FDCWD, late.hidden, 0, STATX_BASIC_STATS, &status), unstick_after_ms(20)) == -ETIMEDOUT,
	      "statx");
	memset(late.hidden, POISON, sizeof late.hidden); /* the path is ours again, too */
	hung_fuse_answer(&late);
	WAIT_UNTIL(stats().orphans == 0);
	for (size_t i = 0; i < sizeof status; i++)
		CHECK(((unsigned char *)&status)[i] == POISON, "statx was written after its end");
	WAIT_UNTIL(count_entries("/proc/self/fd", false) <= before);
}

static void late_write(void)
{
	start_with(READS);
	memset(memory[0], 'w', SIZE);
	CHECK(run_until(UNSTICK_PWRITE(direct, memory[0], SIZE, 0), unstick_after_ms(20)) == -ETIMEDOUT, "write");
	hung_fuse_answer(&late);
	WAIT_UNTIL(stats().orphans == 0);
	CHECK(run_until(UNSTICK_PWRITE(direct, memory[0], SIZE, 0), unstick_after_ms(3600 * 1000)) == SIZE, "another write");
}

static struct fault cases[] = {
        {0, "64 reads that hang return -ETIMEDOUT, sockets go on, no byte of theirs is written afterwards",
         all_return_at_their_deadlines},
        {0, "64 reads hang, and 1,000 socket operations get through meanwhile", sockets_are_not_held_up},
        {0, "64 reads are answered in time", answers_in_time},
        {0, "as many orphans as are allowed: -EAGAIN, until the kernel lets one go", above_the_limit},
        {0, "close: -EBUSY and what is left, 0 once the kernel has let go", close_says_what_is_left},
        {0, "close: 0 once the daemon has died", daemon_dies},
        {0, "free does not wait for orphans", freed_with_orphans},
        {0, "UNSTICK_BUFFER: the library keeps it until the late answer", library_memory},
        {0, "openat and statx that hang: no fd is leaked by the late answer, nothing is written", late_open_leaks_nothing},
        {0, "a write that hangs", late_write},
};

int main(int argc, char **argv)
{
	const size_t count = sizeof cases / sizeof cases[0];
	for (size_t i = 0; i < count; i++)
		cases[i].number = (int)i + 1;
	return fault_main(argc, argv, cases, count);
}
