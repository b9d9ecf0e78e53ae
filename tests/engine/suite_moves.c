/* SPDX-License-Identifier: MIT
 *
 * How much is moved: all of it, a part when cut short, and whose it is when several wait on one fd.
 */
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "suite.h"

enum { MIB = 1 << 20 };

static unsigned char big[MIB];

static void number_bytes(void)
{
	for (size_t i = 0; i < MIB; i++)
		big[i] = (unsigned char)(i * 31 + i / 251);
}

/* Reads `size` bytes in portions, slowly, and compares them. */
static void read_slowly(int fd, size_t size)
{
	unsigned char part[3000];
	size_t place = 0;
	while (place < size) {
		size_t want = size - place < sizeof part ? size - place : sizeof part;
		ssize_t n = read(fd, part, want);
		CHECK(n > 0 && memcmp(part, big + place, (size_t)n) == 0, "at byte %zu: %zd", place, n);
		place += (size_t)n;
		sched_yield();
	}
}

static void moves_all(const struct unstick_request *request, int reader)
{
	struct unstick_op *op = begin(request);
	settle(); /* it is full now */
	CHECK(unstick_op_result(op) == -EINPROGRESS, "ended before there was room: %ld", unstick_op_result(op));
	read_slowly(reader, MIB);
	long result = end_of(op);
	CHECK(result == MIB, "result %ld", result);
	CHECK(is_empty(reader), "more than that");
}

static void all_by_write(void)
{
	int fds[2];
	number_bytes();
	make_pipe(fds);
	moves_all(&UNSTICK_WRITE(fds[1], big, MIB), fds[0]);
}

static void all_by_write_to_nonblocking(void)
{
	int fds[2];
	number_bytes();
	make_pipe(fds);
	set_nonblock(fds[1], true);
	moves_all(&UNSTICK_WRITE(fds[1], big, MIB), fds[0]);
}

static void in_parts(struct iovec parts[7])
{
	static const size_t ends[] = {0, 1, 65536, 65536, 100000, 700000, 700001, MIB};
	for (int i = 0; i < 7; i++)
		parts[i] = (struct iovec){big + ends[i], ends[i + 1] - ends[i]};
}

static void all_by_writev(void)
{
	int fds[2];
	struct iovec parts[7], before[7];
	number_bytes();
	make_pipe(fds);
	in_parts(parts);
	memcpy(before, parts, sizeof parts);
	moves_all(&UNSTICK_WRITEV(fds[1], parts, 7), fds[0]);
	CHECK(memcmp(before, parts, sizeof parts) == 0, "the caller's iovecs were changed");
}

static void all_by_send(void)
{
	int fds[2];
	number_bytes();
	make_tcp(fds);
	int small = 65536; /* else a loopback may take it all at once */
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	moves_all(&UNSTICK_SEND(fds[1], big, MIB), fds[0]);
}

static void all_by_sendmsg(void)
{
	int fds[2];
	struct iovec parts[7], before[7];
	number_bytes();
	make_unix(fds);
	in_parts(parts);
	memcpy(before, parts, sizeof parts);
	struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 7};
	moves_all(&UNSTICK_SENDMSG(fds[1], &msg, 0), fds[0]);
	CHECK(memcmp(before, parts, sizeof parts) == 0 && msg.msg_iovlen == 7, "the caller's iovecs were changed");
}

/* ---- cut short part-way */

/* What has gone through so far lies in the pipe, `held` says how much; the result must be the same. */
static void reports_part(const struct unstick_request *request, int reader, bool by_deadline)
{
	int held;
	struct unstick_request cut = *request;
	if (by_deadline)
		cut.deadline = unstick_after_ms(50);
	struct unstick_op *op = begin(&cut);
	if (!by_deadline)
		settle();
	long result = by_deadline ? end_of(op) : cancelled(op);
	CHECK(ioctl(reader, FIONREAD, &held) == 0, "FIONREAD");
	CHECK(result > 0 && result < MIB && result == held, "result %ld, %d bytes are in the pipe", result, held);
	read_slowly(reader, (size_t)held);
	CHECK(is_empty(reader), "more than it said");
}

static void part_of_write(void)
{
	int fds[2];
	number_bytes();
	make_pipe(fds);
	reports_part(&UNSTICK_WRITE(fds[1], big, MIB), fds[0], false);
}

static void part_of_write_at_deadline(void)
{
	int fds[2];
	number_bytes();
	make_pipe(fds);
	reports_part(&UNSTICK_WRITE(fds[1], big, MIB), fds[0], true);
}

static void part_of_send(void)
{
	int fds[2];
	number_bytes();
	make_unix(fds);
	reports_part(&UNSTICK_SEND(fds[1], big, MIB), fds[0], false);
}

static void part_of_writev(void)
{
	int fds[2];
	struct iovec parts[7];
	number_bytes();
	make_pipe(fds);
	in_parts(parts);
	reports_part(&UNSTICK_WRITEV(fds[1], parts, 7), fds[0], false);
}

/* It is on its second portion when it is cut. */
static void later_part_of_write(void)
{
	int fds[2];
	number_bytes();
	make_pipe(fds);
	struct unstick_op *op = begin(&UNSTICK_WRITE(fds[1], big, MIB));
	settle();
	read_slowly(fds[0], 20000);
	settle();
	long result = cancelled(op);
	CHECK(result > 20000 && result < MIB, "result %ld", result);
	unsigned char *rest = malloc((size_t)result);
	size_t place = 20000;
	for (ssize_t n; place < (size_t)result && (n = read(fds[0], rest + place, (size_t)result - place)) > 0;)
		place += (size_t)n;
	CHECK(memcmp(rest + 20000, big + 20000, (size_t)result - 20000) == 0 && is_empty(fds[0]),
	      "other bytes, or more than it said");
	free(rest);
}

static struct unstick_request wait_all_request(int fd, void *bytes, size_t size)
{
	struct unstick_request request = UNSTICK_RECV(fd, bytes, size);
	request.op_flags = MSG_WAITALL;
	return request;
}

static void wait_all_waits_for_all(void)
{
	int fds[2];
	char got[8] = "";
	make_unix(fds);
	struct unstick_request request = wait_all_request(fds[0], got, 8);
	struct unstick_op *op = begin(&request);
	put(fds[1], "abc");
	settle();
	CHECK(unstick_op_result(op) == -EINPROGRESS, "MSG_WAITALL did not wait for all: %ld", unstick_op_result(op));
	put(fds[1], "defgh");
	CHECK(end_of(op) == 8 && memcmp(got, "abcdefgh", 8) == 0, "got '%.8s'", got);
}

static void wait_all_cut(void (*make)(int fds[2]), bool by_deadline)
{
	int fds[2];
	char got[8] = "";
	make(fds);
	struct unstick_request request = wait_all_request(fds[0], got, 8);
	put(fds[1], "abc");
	if (by_deadline)
		request.deadline = unstick_after_ms(50);
	struct unstick_op *op = begin(&request);
	if (!by_deadline)
		settle();
	long result = by_deadline ? end_of(op) : cancelled(op);
	CHECK(result == 3 && memcmp(got, "abc", 3) == 0, "result %ld, '%.8s'", result, got);
	CHECK(is_empty(fds[0]), "the bytes are still there");
}

static void wait_all_cancelled(void)
{
	wait_all_cut(make_unix, false);
}

static void wait_all_expired(void)
{
	wait_all_cut(make_unix, true);
}

static void wait_all_cancelled_tcp(void)
{
	wait_all_cut(make_tcp, false);
}

static void wait_all_and_end(void)
{
	int fds[2];
	char got[8] = "";
	make_unix(fds);
	struct unstick_request request = wait_all_request(fds[0], got, 8);
	struct unstick_op *op = begin(&request);
	put(fds[1], "abc");
	settle();
	close(fds[1]);
	long result = end_of(op);
	CHECK(result == 3 && memcmp(got, "abc", 3) == 0, "result %ld", result);
}

/* ---- several on one fd */

static void two_recvs(void)
{
	int fds[2];
	char first[1], second[1];
	make_unix(fds);
	struct unstick_op *ops[] = {begin(&UNSTICK_RECV(fds[0], first, 1)), begin(&UNSTICK_RECV(fds[0], second, 1))};
	settle();
	put(fds[1], "x");
	int index = unstick_op_wait_any(ops, 2, UNSTICK_NEVER);
	CHECK(index == 0 || index == 1, "wait_any: %d", index);
	settle();
	CHECK(unstick_op_result(ops[!index]) == -EINPROGRESS, "one byte ended both");
	put(fds[1], "y");
	CHECK(end_of(ops[0]) == 1 && end_of(ops[1]) == 1, "results");
	CHECK(first[0] + second[0] == 'x' + 'y', "got '%c' and '%c'", first[0], second[0]);
}

/* The one that goes takes nothing from the one that stays. */
static void one_of_two_recvs_is_cancelled(void)
{
	int fds[2];
	char first[8], second[8];
	make_unix(fds);
	struct unstick_op *one = begin(&UNSTICK_RECV(fds[0], first, 8)), *other = begin(&UNSTICK_RECV(fds[0], second, 8));
	settle();
	CHECK(cancelled(one) == -ECANCELED, "cancel");
	settle();
	CHECK(unstick_op_result(other) == -EINPROGRESS, "the other one ended too");
	put(fds[1], "abc");
	CHECK(end_of(other) == 3 && memcmp(second, "abc", 3) == 0, "the other one");
}

static void recv_and_send(void)
{
	int fds[2];
	char got[8], mine[] = "mine";
	make_unix(fds);
	size_t filled = fill(fds[0]);
	struct unstick_op *in = begin(&UNSTICK_RECV(fds[0], got, 8)), *out = begin(&UNSTICK_SEND(fds[0], mine, 4));
	settle();
	CHECK(unstick_op_result(in) == -EINPROGRESS && unstick_op_result(out) == -EINPROGRESS, "both wait");
	put(fds[1], "yours");
	CHECK(end_of(in) == 5 && memcmp(got, "yours", 5) == 0, "recv");
	CHECK(unstick_op_result(out) == -EINPROGRESS, "the send waits on");
	while (filled > 0) {
		ssize_t n = read(fds[1], big, filled < MIB ? filled : MIB);
		CHECK(n > 0, "drain");
		filled -= (size_t)n;
	}
	CHECK(end_of(out) == 4 && read(fds[1], big, 8) == 4 && memcmp(big, "mine", 4) == 0, "send");
}

static void closed_fd(void)
{
	int fds[2];
	char got[8];
	make_unix(fds);
	struct unstick_op *op = begin(&UNSTICK_RECV(fds[0], got, 8));
	settle();
	close(fds[0]);
	settle();
	CHECK(unstick_op_result(op) == -EINPROGRESS, "close() ended it: %ld", unstick_op_result(op));
	put(fds[1], "abc");
	CHECK(end_of(op) == 3 && memcmp(got, "abc", 3) == 0, "what came later");
}

/* The number means another socket now; the operation stays with the first. */
static void reused_fd(void)
{
	int fds[2], others[2];
	char got[8], own[8];
	make_unix(fds);
	make_unix(others);
	struct unstick_op *op = begin(&UNSTICK_RECV(fds[0], got, 8));
	settle();
	CHECK(dup2(others[0], fds[0]) == fds[0], "dup2");
	struct unstick_op *second = begin(&UNSTICK_RECV(fds[0], own, 8));
	settle();
	put(others[1], "new");
	CHECK(end_of(second) == 3 && memcmp(own, "new", 3) == 0, "the second one");
	CHECK(unstick_op_result(op) == -EINPROGRESS, "the first got the other socket's data");
	put(fds[1], "first");
	CHECK(end_of(op) == 5 && memcmp(got, "first", 5) == 0, "the first one");
}

static const struct fault cases[] = {
        {0, "a write of 1 MiB to a pipe with a slow reader moves all", all_by_write},
        {0, "a write of 1 MiB to a pipe with O_NONBLOCK moves all", all_by_write_to_nonblocking},
        {0, "a writev of 1 MiB in seven parts, one empty, moves all and leaves the iovecs alone", all_by_writev},
        {0, "a send of 1 MiB to a slow TCP peer moves all", all_by_send},
        {0, "a sendmsg of 1 MiB in seven parts moves all and leaves the msghdr alone", all_by_sendmsg},
        {0, "a write that is cancelled part-way reports what it moved", part_of_write},
        {0, "a write whose deadline passes part-way reports what it moved", part_of_write_at_deadline},
        {0, "a send that is cancelled part-way reports what it moved", part_of_send},
        {0, "a writev that is cancelled part-way reports what it moved", part_of_writev},
        {0, "a write that is cancelled in its second portion reports both", later_part_of_write},
        {0, "MSG_WAITALL waits for all", wait_all_waits_for_all},
        {0, "MSG_WAITALL: cancelled with a part, the count", wait_all_cancelled},
        {0, "MSG_WAITALL: deadline with a part, the count", wait_all_expired},
        {0, "MSG_WAITALL on TCP: cancelled with a part, the count", wait_all_cancelled_tcp},
        {0, "MSG_WAITALL: the end comes after a part, the count", wait_all_and_end},
        {0, "two recvs wait on one fd: each gets its own", two_recvs},
        {0, "two recvs wait on one fd: one is cancelled, the other gets the data", one_of_two_recvs_is_cancelled},
        {0, "a recv and a send wait on one fd", recv_and_send},
        {0, "close(fd) does not end a recv that waits: it gets what is sent later", closed_fd},
        {0, "an fd number that means something else now: the recv stays with the socket it began on", reused_fd},
};

SUITE_PART(suite_moves);
