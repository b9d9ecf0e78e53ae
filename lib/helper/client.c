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
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/raw.h"
#include "helper/helper.h"
#include "wake/sleep.h"

static const int64_t LOOK_AGAIN_MS = 5; /* for late replies, while no channel is free */

bool helper_is_handle(int fd)
{
	return fd >= UNSTICK_HANDLE_BASE;
}

/* A path that begins at the root does not begin at fd[which]. */
static bool uses_fd(const struct helper_call *call, unsigned which)
{
	bool has_file = which == 0 && !call->path[0];
	return has_file || (call->path[which] && call->path[which][0] != '/');
}

static bool names_handle(const struct helper_call *call, unsigned which)
{
	return uses_fd(call, which) && helper_is_handle(call->fd[which]);
}

/* ---- begin */

static int refuse_unknown(int error)
{
	log_line("unstick: helper: refused: this thread's rights cannot be read from /proc: %s", strerrordesc_np(-error));
	return -EPERM;
}

/* What its handles say: 1: their helper is to make it; 0: it names none; or the error that it comes to. */
static int look_at_handles(const struct helper_call *call, struct helper **ret)
{
	*ret = NULL;
	for (unsigned i = 0; i < 2; i++) {
		struct handle *handle = names_handle(call, i) ? handle_find(call->fd[i]) : NULL;
		if (!names_handle(call, i))
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
	error = set_helper(call->set, true, &helper);
	if (!error)
		helper_put(helper);
	return error;
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
	if (error)
		helper_call_end(call);
	return error;
}

void helper_call_end(struct helper_call *call)
{
	if (!call->set)
		return;
	helper_take_lock();
	set_drop(call->set);
	helper_drop_lock();
	call->set = NULL;
}

/* ---- a channel */

/* The rights with which this thread would start another helper. */
static bool has_rights_of(const struct helper_set *set)
{
	struct identity identity;
	return identity_of_thread(&identity) == 0 && identity_equal(&set->identity, &identity, true);
}

/* Under the lock; with a reference. */
static int find_helper(const struct helper_call *call, bool may_start, struct helper **ret)
{
	if (call->set)
		return set_helper(call->set, may_start, ret);
	int error = look_at_handles(call, ret);
	if (error < 0)
		return error;
	helper_hold(*ret);
	return 0;
}

/* Sleeps until one may be free. Under the lock, which is dropped meanwhile. */
static int await_channel(struct helper *helper)
{
	uint32_t seen = atomic_load(&helper->freed);
	helper_drop_lock();
	int error = sleep_on(&helper->freed, seen, unstick_after_ms(LOOK_AGAIN_MS));
	helper_take_lock();
	return error;
}

/* Under the lock. With a reference to the helper. */
static int take_channel(const struct helper_call *call, bool may_start, struct helper **helper, struct channel **ret)
{
	for (;;) {
		int error = find_helper(call, may_start, helper);
		if (error)
			return error;
		*ret = channel_take(*helper);
		if (*ret)
			return 0;
		if ((*helper)->state == HELPER_RUNS)
			error = await_channel(*helper);
		helper_put(*helper);
		if (error)
			return error;
	}
}

/* ---- a request */

struct passing {
	int fds[2];
	unsigned count;
	int cwd; /* ours, to be closed; -1: none */
};

/* A relative path begins where this process is, not where the helper is. No file is opened by O_PATH. */
static int open_cwd(struct passing *passing)
{
	if (passing->cwd < 0)
		passing->cwd = (int)RAW_3(SYS_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return passing->cwd;
}

static int collect_fds(const struct helper_call *call, struct passing *passing)
{
	*passing = (struct passing){.cwd = -1};
	for (unsigned i = 0; i < 2; i++) {
		if (!uses_fd(call, i) || names_handle(call, i))
			continue;
		int fd = call->fd[i] == AT_FDCWD && call->path[i] ? open_cwd(passing) : call->fd[i];
		if (fd < 0)
			return call->fd[i] == AT_FDCWD && call->path[i] ? fd : -EBADF;
		passing->fds[passing->count++] = fd;
	}
	return 0;
}

static void name_fds(const struct helper_call *call, struct channel *channel)
{
	for (unsigned i = 0; i < 2; i++) {
		channel->used[i] = names_handle(call, i) ? handle_find(call->fd[i]) : NULL;
		if (channel->used[i])
			channel->used[i]->uses++;
		channel->asked.at[i] = channel->used[i]   ? (int32_t)handle_slot(channel->used[i])
		                       : uses_fd(call, i) ? HELPER_PASSED
		                                          : HELPER_NOWHERE;
	}
}

static int fill(const struct helper_call *call, struct helper *helper, struct channel *channel, size_t moved, uint32_t length)
{
	struct helper_request *asked = &channel->asked;
	name_fds(call, channel);
	asked->opcode = call->opcode;
	asked->flags = call->flags;
	asked->mode = call->mode;
	asked->length = length;
	asked->offset = call->offset >= 0 ? call->offset + (int64_t)moved : -1;
	for (unsigned i = 0; i < 2; i++)
		asked->path_size[i] = call->path[i] ? (uint32_t)strlen(call->path[i]) + 1 : 0;
	if (call->opcode != HELPER_OPEN)
		return 0;
	channel->made = handle_new(helper);
	if (!channel->made)
		return -EMFILE;
	asked->slot = handle_slot(channel->made);
	return 0;
}

static void copy_paths(const struct helper_call *call, const struct helper_request *asked, struct helper_message *message)
{
	for (unsigned i = 0; i < 2; i++)
		if (call->path[i])
			memcpy(message->paths + (i ? asked->path_size[0] : 0), call->path[i], asked->path_size[i]);
}

/* Between the window and the caller's memory, from its byte `from` on. */
static void copy_data(const struct helper_call *call, size_t from, unsigned char *window, size_t size, bool into_window)
{
	for (const struct iovec *iov = call->iov; size; iov++) {
		size_t skipped = from < iov->iov_len ? from : iov->iov_len, part = iov->iov_len - skipped;
		unsigned char *memory = (unsigned char *)iov->iov_base + skipped;
		from -= skipped;
		part = part < size ? part : size;
		if (part)
			memcpy(into_window ? window : memory, into_window ? memory : window, part);
		window += part;
		size -= part;
	}
}

/* What the helper has put into the window, which is not believed. */
static long take_data(const struct helper_call *call, struct helper *helper, const struct channel *channel, size_t moved,
                      long result)
{
	size_t size = call->opcode == HELPER_STATX ? sizeof(struct statx) : call->opcode == HELPER_WRITE ? 0 : (size_t)result;
	if (call->iov)
		copy_data(call, moved, channel->window, size, false);
	if (call->opcode != HELPER_READDIR || helper_entries_are_valid(call->iov->iov_base, size))
		return result;
	helper_take_lock();
	helper_lose(helper, NEWS_MALFORMED);
	helper_drop_lock();
	return -EPROTO;
}

/* An open's handle is good from when the channel is finished on, under the same lock. */
static long finish(struct helper *helper, struct channel *channel, const struct answer *answer, long result)
{
	struct handle *made = channel->made;
	bool opens = channel->asked.opcode == HELPER_OPEN && result >= 0;
	helper_take_lock();
	if (answer->cut)
		channel_leave(helper, channel);
	else
		channel_finish(helper, channel, result, false);
	if (opens)
		result = handle_number(made);
	helper_put(helper);
	helper_drop_lock();
	return result;
}

/* A channel with the request in it, and a reference to its helper. Under the lock. */
static int take_filled_channel(const struct helper_call *call, bool may_start, size_t moved, uint32_t length,
                               struct helper **helper, struct channel **channel)
{
	int error = take_channel(call, may_start, helper, channel);
	if (error)
		return error;
	error = fill(call, *helper, *channel, moved, length);
	if (error) { /* it has no handle to be given back */
		(*channel)->asked.opcode = 0;
		channel_finish(*helper, *channel, error, false);
		helper_put(*helper);
	}
	return error;
}

static struct answer ask(const struct helper_call *call, const struct passing *passing, bool may_start, size_t moved,
                         uint32_t length)
{
	struct helper_message message;
	struct helper *helper;
	struct channel *channel;
	helper_take_lock();
	int error = take_filled_channel(call, may_start, moved, length, &helper, &channel);
	helper_drop_lock();
	if (error)
		return (struct answer){.result = error};
	copy_paths(call, &channel->asked, &message);
	if (call->opcode == HELPER_WRITE)
		copy_data(call, moved, channel->window, length, true);
	struct answer answer = channel_ask(helper, channel, &message, passing->fds);
	if (answer.result >= 0)
		answer.result = take_data(call, helper, channel, moved, answer.result);
	answer.result = finish(helper, channel, &answer, answer.result);
	return answer;
}

/* ---- a call */

/* A write goes on until all has been written, a read as long as there is certainly more, or the end, without a wait. */
static bool goes_on(const struct helper_call *call, const struct answer *answer, size_t left)
{
	return left && answer->result > 0 && (call->opcode == HELPER_WRITE || (call->opcode == HELPER_READ && answer->goes_on));
}

/* One that had ended before the request was sent has done nothing: another is asked, or, for a handle of its own, -ESTALE. */
static struct answer ask_one_that_lives(const struct helper_call *call, const struct passing *passing, bool may_start, size_t moved,
                                        uint32_t length)
{
	enum { MOST_TRIES = 3 };
	struct answer answer = ask(call, passing, may_start, moved, length);
	for (int tries = 1; answer.unsent && call->set && tries < MOST_TRIES; tries++)
		answer = ask(call, passing, may_start, moved, length);
	if (answer.unsent && !call->set)
		answer.result = -ESTALE;
	return answer;
}

static long make_parts(const struct helper_call *call, const struct passing *passing, bool may_start)
{
	size_t moved = 0;
	struct answer answer;
	do {
		size_t left = call->length - moved;
		uint32_t length = (uint32_t)(left < HELPER_WINDOW ? left : HELPER_WINDOW);
		answer = ask_one_that_lives(call, passing, may_start, moved, length);
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
	while (helper->state == HELPER_RUNS && !error && !(*ret = channel_take(helper)))
		error = helper->state == HELPER_RUNS ? await_channel(helper) : 0;
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

static long make_close(int number)
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
	answer.result = finish(helper, channel, &answer, answer.result);
	return answer.result == -ECONNRESET ? 0 : answer.result; /* its end has closed it */
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

long helper_call_make(struct helper_call *call)
{
	struct passing passing;
	if (call->known)
		return call->known;
	if (call->opcode == HELPER_CLOSE)
		return make_close(call->fd[0]);
	long result = check_paths(call);
	if (result)
		return result;
	result = collect_fds(call, &passing);
	if (!result)
		result = make_parts(call, &passing, call->set && has_rights_of(call->set));
	if (passing.cwd >= 0)
		close(passing.cwd);
	return result;
}
