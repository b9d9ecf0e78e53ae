/* SPDX-License-Identifier: MIT
 *
 * Closing handles. The application knows a handle no more from when its close begins; the helper is told when no request uses the
 * file, on a channel of its own, now or as soon as there is one, and memory to ask. Until then the slot is taken.
 */
#include <errno.h>

#include "helper/client.h"
#include "helper/helper.h"

/* Under the lock. The application knows the handle no more. */
static struct handle *take_handle(int number)
{
	struct handle *handle = handle_find(number);
	if (handle)
		handle->state = HANDLE_CLOSING;
	return handle;
}

/* 0: the helper has been asked on *ret, the reference goes on with it; -EINPROGRESS: somebody else will, or need not. */
static int begin_close(struct handle *handle, struct channel **ret)
{
	struct helper *helper = handle->helper;
	int error = 0;
	if (handle->uses && helper->state == HELPER_RUNS)
		return -EINPROGRESS; /* the last use will */
	while (helper->state == HELPER_RUNS && !error && !(*ret = channel_take(helper)) && !channels_are_held_up(helper))
		error = channel_await(helper);
	if (helper->state == HELPER_RUNS && *ret) {
		(*ret)->made = handle;
		(*ret)->asked.opcode = HELPER_CLOSE;
		(*ret)->asked.at[0] = (*ret)->asked.at[1] = HELPER_NOWHERE;
		(*ret)->asked.slot = handle_slot(handle);
		return 0;
	}
	if (!handle->uses)
		channel_close_due(helper, handle);
	return error ? error : -EINPROGRESS;
}

long handle_close(int number)
{
	struct helper_message message;
	struct channel *channel = NULL;
	helper_take_lock();
	struct handle *handle = take_handle(number);
	struct helper *helper = handle ? handle->helper : NULL;
	int error = handle ? begin_close(handle, &channel) : -EBADF;
	if (handle && error)
		helper_put(helper);
	helper_drop_lock();
	if (error)
		return error == -EINPROGRESS ? 0 : error;
	struct answer answer = channel_ask(helper, channel, &message, NULL);
	answer.result = channel_end(helper, channel, &answer);
	bool is_closed = answer.result == -ECONNRESET; /* by the helper's end */
	return is_closed || answer.unsent ? 0 : answer.result;
}

void helper_close_soon(int number)
{
	helper_take_lock();
	struct handle *handle = take_handle(number);
	if (handle) {
		struct helper *helper = handle->helper;
		if (!handle->uses)
			channel_close_due(helper, handle);
		helper_put(helper);
	}
	helper_drop_lock();
}
