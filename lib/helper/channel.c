/* SPDX-License-Identifier: MIT
 *
 * Requests on channels, and what becomes of handles when a reply comes, in time or late.
 *
 *     FREE -> BUSY -> FREE           its reply came, or its helper is lost
 *               `---> STUCK -> FREE  its caller was cut; its reply came later
 *
 * One request is outstanding on a channel at most, and its id is its own, so a late reply cannot be taken for another request's;
 * and the channel's window is not used again before, so that what the kernel writes late, it writes where nobody looks.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/raw.h"
#include "helper/helper.h"
#include "limit/time.h"
#include "wake/sleep.h"

static const unstick_time HELD_UP = 100 * (unstick_time)TIME_NS_PER_MS;
static const int64_t LOOK_AGAIN_MS = 5; /* for late replies, while no channel is free */

/* ---- messages */

union control {
	char bytes[CMSG_SPACE(2 * sizeof(int))];
	struct cmsghdr align;
};

static void add_fds(struct msghdr *head, union control *control, const int *fds, unsigned count)
{
	if (!count)
		return;
	head->msg_control = control->bytes;
	head->msg_controllen = CMSG_SPACE(count * sizeof(int));
	struct cmsghdr *rights = CMSG_FIRSTHDR(head);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
}

/* 0; -ECONNRESET: nobody is there to read it; else it was not sent. A channel has room for a message: it carries one at a time. */
static long send_message(int fd, struct helper_message *message, const int *fds)
{
	union control control;
	size_t size = helper_message_size(&message->request);
	struct iovec part = {.iov_base = message, .iov_len = size};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	add_fds(&head, &control, fds, helper_request_fds(&message->request));
	long n;
	do
		n = RAW_3(SYS_sendmsg, fd, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n == -EINTR);
	if (n == -EPIPE || n == -ENOTCONN)
		return -ECONNRESET;
	return n < 0 ? n : n == (long)size ? 0 : -ECONNRESET;
}

/* What recvmsg() gave, judged: 0: a valid reply; -ECONNRESET, -EPROTO. */
static int judge(const struct channel *channel, const struct helper_reply *reply, long n, int flags)
{
	if (n <= 0)
		return -ECONNRESET;
	bool whole = !(flags & (MSG_TRUNC | MSG_CTRUNC));
	return whole && helper_reply_is_valid(reply, (size_t)n, &channel->asked) ? 0 : -EPROTO;
}

/* ---- handles */

/* With a channel that is free: the reply is nobody's to wait for. False: it could not be sent. */
static bool ask_to_close(struct helper *helper, struct channel *channel, const struct handle *handle)
{
	struct helper_message message;
	message.request = (struct helper_request){.version = HELPER_VERSION,
	                                          .opcode = HELPER_CLOSE,
	                                          .id = ++helper->last_id,
	                                          .at = {HELPER_NOWHERE, HELPER_NOWHERE},
	                                          .slot = handle_slot(handle)};
	late_expect(helper);
	long error = send_message(channel->fd, &message, NULL);
	if (error == -ECONNRESET)
		helper_lose(helper, NEWS_ENDED);
	if (error)
		return false;
	channel->state = CHANNEL_STUCK;
	channel->since = unstick_now();
	channel->asked = message.request;
	return true;
}

static struct channel *find_free(struct helper *helper)
{
	for (unsigned i = 0; helper->state == HELPER_RUNS && i < HELPER_CHANNELS; i++)
		if (helper->channel[i].state == CHANNEL_FREE)
			return &helper->channel[i];
	return NULL;
}

static void make_due(struct helper *helper, struct handle *handle)
{
	if (helper->state != HELPER_RUNS) { /* its end has closed it */
		handle_free(handle);
		return;
	}
	handle->next = helper->due;
	helper->due = handle;
}

bool channels_close_due(struct helper *helper)
{
	struct channel *channel;
	while (helper->due && (channel = find_free(helper))) {
		struct handle *handle = helper->due;
		helper->due = handle->next;
		if (!ask_to_close(helper, channel, handle)) {
			make_due(helper, handle);
			return false;
		}
		channel->made = handle;
	}
	return true;
}

void channel_close_due(struct helper *helper, struct handle *handle)
{
	make_due(helper, handle);
	channels_close_due(helper);
}

static void drop_use(struct helper *helper, struct handle *handle)
{
	if (handle && --handle->uses == 0 && handle->state == HANDLE_CLOSING)
		channel_close_due(helper, handle);
}

static void end_open(struct helper *helper, struct handle *handle, long result, bool late)
{
	if (result < 0) {
		handle_free(handle);
	} else if (late) {
		handle->state = HANDLE_CLOSING;
		channel_close_due(helper, handle);
	} else {
		handle->state = HANDLE_OPEN;
		helper_hold(helper);
	}
}

void channel_finish(struct helper *helper, struct channel *channel, long result, bool late)
{
	const struct channel was = *channel;
	channel->state = CHANNEL_FREE;
	channel->made = channel->used[0] = channel->used[1] = NULL;
	if (was.asked.opcode == HELPER_OPEN)
		end_open(helper, was.made, result, late);
	else if (was.made)
		handle_free(was.made);
	for (unsigned i = 0; i < 2; i++)
		drop_use(helper, was.used[i]);
	channels_close_due(helper);
	atomic_fetch_add(&helper->freed, 1);
	futex_wake(&helper->freed, INT_MAX);
}

void channel_leave(struct helper *helper, struct channel *channel)
{
	channel->state = CHANNEL_STUCK;
	late_expect(helper);
}

/* ---- taking one */

/* A reply that came after its caller had gone. */
static void look_at_late_reply(struct helper *helper, struct channel *channel)
{
	struct helper_reply reply;
	struct iovec part = {.iov_base = &reply, .iov_len = sizeof reply};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	long n = RAW_3(SYS_recvmsg, channel->fd, &head, MSG_DONTWAIT);
	if (n == -EAGAIN || n == -EINTR)
		return;
	int error = judge(channel, &reply, n, head.msg_flags);
	if (error)
		helper_lose(helper, error == -EPROTO ? NEWS_MALFORMED : NEWS_ENDED);
	else
		channel_finish(helper, channel, (long)reply.result, true);
}

void channels_look(struct helper *helper)
{
	for (unsigned i = 0; helper->state == HELPER_RUNS && i < HELPER_CHANNELS; i++)
		if (helper->channel[i].state == CHANNEL_STUCK)
			look_at_late_reply(helper, &helper->channel[i]);
}

struct channel *channel_take(struct helper *helper)
{
	channels_look(helper);
	struct channel *channel = find_free(helper);
	if (!channel)
		return NULL;
	channel->state = CHANNEL_BUSY;
	channel->since = unstick_now();
	channel->asked = (struct helper_request){.version = HELPER_VERSION, .id = ++helper->last_id};
	return channel;
}

int channel_await(struct helper *helper)
{
	uint32_t seen = atomic_load(&helper->freed);
	helper_drop_lock();
	int error = sleep_on(&helper->freed, seen, unstick_after_ms(LOOK_AGAIN_MS));
	helper_take_lock();
	return error;
}

bool channels_are_held_up(const struct helper *helper)
{
	unstick_time latest = 0;
	bool all_stuck = true;
	for (unsigned i = 0; i < HELPER_CHANNELS; i++) {
		const struct channel *channel = &helper->channel[i];
		if (channel->state == CHANNEL_FREE)
			return false;
		all_stuck = all_stuck && channel->state == CHANNEL_STUCK;
		latest = channel->since > latest ? channel->since : latest;
	}
	return all_stuck || unstick_now() - latest > HELD_UP;
}

/* ---- asking */

static struct answer lost(struct helper *helper, int error)
{
	helper_take_lock();
	helper_lose(helper, error == -EPROTO ? NEWS_MALFORMED : NEWS_ENDED);
	helper_drop_lock();
	return (struct answer){.result = error};
}

/* Sent, it is outstanding: what ends the wait but a reply is a cut, or the end of the helper. */
static struct answer await_reply(struct helper *helper, struct channel *channel)
{
	struct helper_reply reply;
	struct iovec part = {.iov_base = &reply, .iov_len = sizeof reply};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	long n;
	do
		n = unstick_recvmsg(channel->fd, &head, 0);
	while (n == -EINTR);
	if (n == -ECANCELED || n == -ETIMEDOUT)
		return (struct answer){.result = n, .cut = true};
	int error = judge(channel, &reply, n, head.msg_flags);
	if (error)
		return lost(helper, error);
	return (struct answer){.result = (long)reply.result, .goes_on = reply.flags & HELPER_GOES_ON};
}

struct answer channel_ask(struct helper *helper, struct channel *channel, struct helper_message *message, const int *passed)
{
	message->request = channel->asked;
	long error = send_message(channel->fd, message, passed);
	if (error == -ECONNRESET) {
		struct answer answer = lost(helper, -ECONNRESET);
		answer.unsent = true;
		return answer;
	}
	return error ? (struct answer){.result = error, .unsent = true} : await_reply(helper, channel);
}

/* An open's handle is good from when the channel is finished on, under the same lock. */
long channel_end(struct helper *helper, struct channel *channel, const struct answer *answer)
{
	struct handle *made = channel->made;
	long result = answer->result;
	bool opens = channel->asked.opcode == HELPER_OPEN && result >= 0;
	bool is_due = channel->asked.opcode == HELPER_CLOSE && answer->unsent;
	helper_take_lock();
	if (is_due)
		channel->made = NULL;
	if (answer->cut)
		channel_leave(helper, channel);
	else
		channel_finish(helper, channel, result, false);
	if (is_due)
		channel_close_due(helper, made);
	if (opens)
		result = handle_number(made);
	helper_put(helper);
	helper_drop_lock();
	return result;
}
