/* SPDX-License-Identifier: MIT
 *
 * A call from begin to result: which helper, which channel, how often. A transfer that is larger than a window is made in parts,
 * as long as each is filled, so that it comes to what one call would have. The caller's memory is touched by the calling thread
 * only, between two requests.
 */
#include "helper/client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "base/raw.h"
#include "helper/helper.h"
#include "helper/message.h"

bool helper_is_handle(int fd)
{
	return fd >= UNSTICK_HANDLE_BASE;
}

/* ---- begin */

/* Another moment may have the fd or the memory that this one has not. */
static int refuse_unknown(int error)
{
	log_line("unstick: helper: refused: this thread's rights cannot be read from /proc: %s", strerrordesc_np(-error));
	return identity_may_be_read_later(error) ? error : -EPERM;
}

/* What its handles say: 1: their helper is to make it; 0: it names none; or the error that it comes to. */
static int look_at_handles(const struct helper_call *call, struct helper **ret)
{
	*ret = NULL;
	for (unsigned i = 0; i < 2; i++) {
		struct handle *handle = call_names_handle(call, i) ? handle_find(call->fd[i]) : NULL;
		if (!call_names_handle(call, i))
			continue;
		if (!handle)
			return -EBADF;
		if (handle->helper->state != HELPER_RUNS)
			return -ESTALE;
		if (*ret && *ret != handle->helper)
			return -EXDEV;
		*ret = handle->helper;
	}
	return *ret != NULL;
}

static int begin_locked(struct helper_call *call, const struct identity *identity, bool *others)
{
	struct helper *helper;
	int by_handle = look_at_handles(call, &helper), error;
	if (by_handle < 0)
		call->known = by_handle;
	if (by_handle > 0)
		*others = !identity_equal(&helper->set->identity, identity, call->opcode == HELPER_OPEN);
	if (by_handle)
		return *others ? -EPERM : 0;
	error = set_find(identity, &call->set);
	if (error)
		return error;
	error = set_helper(call->set, RIGHT_TO_START, &helper);
	if (!error)
		helper_put(helper);
	return error;
}

/* A relative path begins where this thread is, neither where the helper is nor where the thread that makes the call is, and at this
 * moment. By way of /proc, because a walk to "." looks whether this thread may search it, for which the file system may be asked
 * (FUSE with default_permissions, NFS), and that may hang. Through the link nothing is looked up or asked, and O_PATH opens no
 * file: its close asks nothing either. */
static int open_cwd(struct helper_call *call)
{
	long fd = RAW_4(SYS_openat, AT_FDCWD, "/proc/thread-self/cwd", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0) {
		log_line("unstick: helper: the working directory cannot be opened: %s", strerrordesc_np((int)-fd));
		return (int)fd;
	}
	call->cwd = (int)fd;
	call->has_cwd = true;
	return 0;
}

int helper_call_begin(struct helper_call *call)
{
	struct identity identity;
	bool others = false;
	if (call->opcode == HELPER_CLOSE)
		return 0;
#ifndef UNSTICK_HELPER_PROGRAM
	log_line("unstick: helper: there is none: the library was built without libseccomp");
	return -EOPNOTSUPP;
#endif
	int error = identity_of_thread(&identity);
	if (error)
		return refuse_unknown(error);
	helper_take_lock();
	error = begin_locked(call, &identity, &others);
	helper_drop_lock();
	if (others)
		log_line("unstick: helper: refused: the handle was opened by a thread with other rights than this one's");
	if (!error && !call->known && call_uses_cwd(call))
		error = open_cwd(call);
	if (error)
		helper_call_end(call);
	return error;
}

void helper_call_end(struct helper_call *call)
{
	if (call->has_cwd)
		RAW_1(SYS_close, call->cwd);
	call->has_cwd = false;
	if (!call->set)
		return;
	helper_take_lock();
	set_drop(call->set);
	helper_drop_lock();
	call->set = NULL;
}

/* ---- a channel */

/* Under the lock, which is dropped meanwhile. */
static int find_right(struct helper_call *call)
{
	struct identity identity;
	helper_drop_lock();
	int error = identity_of_thread(&identity);
	helper_take_lock();
	if (identity_may_be_read_later(error))
		return error;
	call->right = !error && identity_equal(&call->set->identity, &identity, true) ? RIGHT_TO_START : NO_RIGHT_TO_START;
	return 0;
}

static int find_by_set(struct helper_call *call, struct helper **ret)
{
	int error = set_helper(call->set, call->right, ret);
	if (error != SET_NEEDS_RIGHT)
		return error;
	error = find_right(call);
	return error ? error : set_helper(call->set, call->right, ret);
}

/* Under the lock; with a reference. */
static int find_helper(struct helper_call *call, struct helper **ret)
{
	if (call->set)
		return find_by_set(call, ret);
	int error = look_at_handles(call, ret);
	if (error < 0)
		return error;
	helper_hold(*ret);
	return 0;
}

/* Under the lock. With a reference to the helper. */
static int take_channel(struct helper_call *call, struct helper **helper, struct channel **ret)
{
	for (;;) {
		int error = find_helper(call, helper);
		if (error)
			return error;
		*ret = channel_take(*helper);
		if (*ret)
			return 0;
		if ((*helper)->state == HELPER_RUNS)
			error = channel_await(*helper);
		helper_put(*helper);
		if (error)
			return error;
	}
}

/* ---- a request */

/* A channel with the request in it, and a reference to its helper. Under the lock. */
static int take_filled_channel(struct helper_call *call, size_t moved, uint32_t length, struct helper **helper,
                               struct channel **channel)
{
	int error = take_channel(call, helper, channel);
	if (error)
		return error;
	error = message_fill(call, *helper, *channel, moved, length);
	if (error) { /* it has no handle to be given back */
		(*channel)->asked.opcode = 0;
		channel_finish(*helper, *channel, error, false);
		helper_put(*helper);
	}
	return error;
}

static struct answer ask(struct helper_call *call, const struct passing *passing, size_t moved, uint32_t length)
{
	struct helper_message message;
	struct helper *helper;
	struct channel *channel;
	helper_take_lock();
	int error = take_filled_channel(call, moved, length, &helper, &channel);
	helper_drop_lock();
	if (error)
		return (struct answer){.result = error};
	message_copy_paths(call, &channel->asked, &message);
	if (call->opcode == HELPER_WRITE)
		message_copy_data(call, moved, channel->window, length, true);
	struct answer answer = channel_ask(helper, channel, &message, passing->fds);
	if (answer.result >= 0)
		answer.result = message_take_data(call, helper, channel, moved, answer.result);
	answer.result = channel_end(helper, channel, &answer);
	return answer;
}

/* ---- a call */

/* A write goes on until all has been written, a read as long as there is certainly more, or the end, without a wait. */
static bool goes_on(const struct helper_call *call, const struct answer *answer, size_t left)
{
	return left && answer->result > 0 && (call->opcode == HELPER_WRITE || (call->opcode == HELPER_READ && answer->goes_on));
}

static bool had_ended(const struct answer *answer)
{
	return answer->unsent && answer->result == -ECONNRESET;
}

/* One that had ended before the request was sent has done nothing: another is asked, or, for a handle of its own, -ESTALE. */
static struct answer ask_one_that_lives(struct helper_call *call, const struct passing *passing, size_t moved, uint32_t length)
{
	enum { MOST_TRIES = 3 };
	struct answer answer = ask(call, passing, moved, length);
	for (int tries = 1; had_ended(&answer) && call->set && tries < MOST_TRIES; tries++)
		answer = ask(call, passing, moved, length);
	if (had_ended(&answer) && !call->set)
		answer.result = -ESTALE;
	return answer;
}

static long make_parts(struct helper_call *call, const struct passing *passing)
{
	size_t moved = 0;
	struct answer answer;
	do {
		size_t left = call->length - moved;
		uint32_t length = (uint32_t)(left < HELPER_WINDOW ? left : HELPER_WINDOW);
		answer = ask_one_that_lives(call, passing, moved, length);
		bool moves = call->opcode == HELPER_READ || call->opcode == HELPER_WRITE;
		if (!moves)
			return answer.result;
		moved += answer.result > 0 ? (size_t)answer.result : 0;
	} while (goes_on(call, &answer, call->length - moved));
	return moved ? (long)moved : answer.result;
}

static int check_paths(const struct helper_call *call)
{
	for (unsigned i = 0; i < 2; i++)
		if (call->path[i] && strnlen(call->path[i], HELPER_PATH) == HELPER_PATH)
			return -ENAMETOOLONG;
	return 0;
}

long helper_call_make(struct helper_call *call)
{
	struct passing passing;
	if (call->known)
		return call->known;
	if (call->opcode == HELPER_CLOSE)
		return handle_close(call->fd[0]);
	long result = check_paths(call);
	if (result)
		return result;
	result = passing_collect(call, &passing);
	if (!result)
		result = make_parts(call, &passing);
	return result;
}
