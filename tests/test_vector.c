/* SPDX-License-Identifier: MIT
 *
 * What is left of a writev or sendmsg after a part of it has gone: the bytes from there on, whatever the lengths of the iovecs, and the
 * caller's own iovecs and header as they were.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/vector.h"

enum { MOST = 1024, BYTES = 4096 };
static char bytes[BYTES];
static struct iovec iov[MOST], as_it_was[MOST];
static struct op op;

/* Consecutive pieces of `bytes`; returns how many bytes they are. */
static size_t cut_up(const size_t *lengths, unsigned count)
{
	size_t at = 0;
	for (unsigned i = 0; i < count; i++) {
		iov[i] = (struct iovec){bytes + at, lengths[i]};
		at += lengths[i];
	}
	cr_assert_leq(at, sizeof bytes);
	memcpy(as_it_was, iov, sizeof iov);
	return at;
}

static void start_writev(unsigned count)
{
	op = (struct op){.opcode = UNSTICK_OP_WRITEV, .buf = iov, .len = count};
}

/* What is left are the bytes from `moved` to `total`, in order. */
static void assert_left(size_t moved, size_t total)
{
	unsigned count;
	const struct iovec *left = vector_iov(&op, &count);
	cr_assert_eq(vector_left(&op), total - moved, "%zu, not %zu", vector_left(&op), total - moved);
	for (unsigned i = 0; i < count; i++) {
		cr_assert(left[i].iov_len == 0 || left[i].iov_base == bytes + moved, "iovec %u, after %zu of %zu", i, moved, total);
		moved += left[i].iov_len;
	}
	cr_assert_eq(moved, total);
	cr_assert_eq(memcmp(iov, as_it_was, sizeof iov), 0, "the caller's iovecs were changed");
}

/* In two parts, at each place. */
static void assert_cuts_anywhere(const size_t *lengths, unsigned count)
{
	size_t total = cut_up(lengths, count);
	for (size_t first = 0; first < total; first++)
		for (size_t second = 0; first + second < total; second += 1 + total / 50) {
			start_writev(count);
			assert_left(0, total);
			cr_assert(vector_advance(&op, first));
			assert_left(first, total);
			cr_assert(vector_advance(&op, second));
			assert_left(first + second, total);
			cr_assert_eq(op.moved, first + second);
			vector_free(&op);
		}
}

Test(vector, cut_at_any_byte)
{
	assert_cuts_anywhere((const size_t[]){7, 1, 20, 3}, 4);
	assert_cuts_anywhere((const size_t[]){9}, 1);
}

Test(vector, iovecs_of_no_bytes_anywhere)
{
	assert_cuts_anywhere((const size_t[]){0, 0, 5, 0, 1, 0, 0, 6, 0}, 9);
	assert_cuts_anywhere((const size_t[]){4, 0}, 2);
}

/* Next to go is never an iovec of no bytes: writev() of it would come to 0, and never end. */
Test(vector, what_is_left_begins_with_bytes)
{
	unsigned count;
	size_t total = cut_up((const size_t[]){3, 0, 0, 2, 0, 1}, 6);
	for (size_t moved = 1; moved < total; moved++) {
		start_writev(6);
		cr_assert(vector_advance(&op, moved));
		cr_assert_gt(vector_iov(&op, &count)->iov_len, 0u, "after %zu", moved);
		vector_free(&op);
	}
}

Test(vector, as_many_iovecs_as_there_may_be)
{
	size_t lengths[MOST], moved = 0;
	for (unsigned i = 0; i < MOST; i++)
		lengths[i] = i % 5;
	size_t total = cut_up(lengths, MOST);
	start_writev(MOST);
	for (size_t step = 1; moved + step < total; step = step % 13 + 1) {
		cr_assert(vector_advance(&op, step));
		moved += step;
		assert_left(moved, total);
	}
	vector_free(&op);
	cr_assert_null(op.vector);
	vector_free(&op);
}

Test(vector, all_has_gone)
{
	unsigned count;
	size_t total = cut_up((const size_t[]){3, 0, 2, 0}, 4);
	start_writev(4);
	cr_assert(vector_advance(&op, 3));
	cr_assert(vector_advance(&op, total - 3));
	cr_assert_eq(vector_left(&op), 0);
	vector_iov(&op, &count);
	cr_assert_eq(count, 0);
	vector_free(&op);
}

Test(vector, a_plain_write_needs_no_copy)
{
	op = (struct op){.opcode = UNSTICK_OP_SEND, .buf = bytes, .len = 100};
	cr_assert_eq(vector_left(&op), 100);
	cr_assert(vector_advance(&op, 30));
	cr_assert(vector_advance(&op, 1));
	cr_assert_eq(vector_left(&op), 69);
	cr_assert_null(op.vector);
}

/* ---- messages */

static struct msghdr message_to(char *name, char *control, unsigned count)
{
	return (struct msghdr){.msg_name = name,
	                       .msg_namelen = 4,
	                       .msg_control = control,
	                       .msg_controllen = 16,
	                       .msg_iov = iov,
	                       .msg_iovlen = count,
	                       .msg_flags = 5};
}

Test(vector, the_rest_of_a_message_has_its_name_and_no_ancillary_data)
{
	char name[4] = "abc", control[16] = {0};
	size_t total = cut_up((const size_t[]){10, 0, 10, 10}, 4);
	struct msghdr mine = message_to(name, control, 4), before = mine;
	op = (struct op){.opcode = UNSTICK_OP_SENDMSG, .buf = &mine, .len = 1};
	cr_assert_eq(vector_message(&op), &mine, "the first time it is the caller's own, with all that it has");
	assert_left(0, total);
	cr_assert(vector_advance(&op, 12));
	const struct msghdr *rest = vector_message(&op);
	cr_assert(rest != &mine && rest->msg_name == name && rest->msg_namelen == 4 && rest->msg_flags == 5);
	cr_assert(!rest->msg_control && rest->msg_controllen == 0, "fds would be sent twice");
	cr_assert(rest->msg_iov == op.vector && rest->msg_iovlen == 2, "%zu iovecs", rest->msg_iovlen);
	assert_left(12, total);
	cr_assert_eq(memcmp(&mine, &before, sizeof mine), 0, "the caller's header was changed");
	cr_assert(vector_advance(&op, 8));
	cr_assert_eq(vector_message(&op)->msg_iovlen, 1);
	assert_left(20, total);
	vector_free(&op);
	cr_assert_eq(vector_message(&op), &mine);
}
