/* SPDX-License-Identifier: MIT
 *
 * Fuzzes the application's end of the helper's protocol: what a hostile helper may answer. The real client makes calls of every kind on a
 * helper that is a socket and a window; the input says which calls, what is in the window, and what the answers are. A call must come
 * to a result that its kind can have, write nothing but the bytes that it says, and give back all that it took: handles, channels,
 * references.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "helper/client.h"
#include "helper/helper.h"
#include "unstick.h"

enum { MEMORY = 4096, CANARY = 0x5A, MOST_HANDLES = 8 };

/* A step of the input. */
struct step {
	uint8_t opcode, how, length, window;
	struct helper_reply reply; /* how & TRUE_ID: its id is the request's */
};
enum { TRUE_ID = 1, TWO_ANSWERS = 2, SHORT_ANSWER = 4, TRUE_RESULT = 8 };

#define MUST(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))

static unsigned char window[HELPER_WINDOW], memory[MEMORY + 64];
static struct helper_set set;
static struct helper helper;
static int far_end, far_ends[HELPER_CHANNELS];
static int handles[MOST_HANDLES];
static unsigned handle_count;

static void make_helper(void)
{
	memset(&set, 0, sizeof set);
	memset(&helper, 0, sizeof helper);
	helper.set = &set;
	helper.state = HELPER_RUNS;
	helper.refs = 1; /* the fuzzer's: it frees nothing */
	helper.pidfd = helper.control = -1;
	set.current = &helper;
	set.refs = 1;
	for (unsigned i = 0; i < HELPER_CHANNELS; i++) {
		int pair[2];
		MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
		helper.channel[i].fd = pair[0];
		helper.channel[i].window = window;
		far_ends[i] = pair[1];
	}
}

static struct channel *next_channel(void)
{
	for (unsigned i = 0; i < HELPER_CHANNELS; i++)
		if (helper.channel[i].state == CHANNEL_FREE) {
			far_end = far_ends[i];
			return &helper.channel[i];
		}
	return NULL;
}

/* The answer lies there before the request comes. */
static void prepare_answer(const struct step *step)
{
	struct helper_reply reply = step->reply;
	if (step->how & TRUE_ID) {
		reply.version = HELPER_VERSION;
		reply.id = helper.last_id + 1;
	}
	if (step->how & TRUE_RESULT) {
		reply.flags &= HELPER_GOES_ON;
		reply.result = reply.result % (MEMORY + 64);
	}
	size_t size = sizeof reply - (step->how & SHORT_ANSWER ? 3 : 0);
	for (int i = 0; i < (step->how & TWO_ANSWERS ? 2 : 1); i++)
		MUST(send(far_end, &reply, size, MSG_DONTWAIT) == (ssize_t)size);
	/* A transfer goes on after a part: it must not wait for what nobody will send. */
	reply = (struct helper_reply){.version = HELPER_VERSION, .id = helper.last_id + 2, .result = -EIO};
	if (step->opcode == HELPER_READ || step->opcode == HELPER_WRITE)
		MUST(send(far_end, &reply, sizeof reply, MSG_DONTWAIT) == (ssize_t)sizeof reply);
	memset(window, step->window, 8192);
}

static void fill_call(const struct step *step, struct helper_call *call)
{
	size_t size = (size_t)step->length * 16;
	bool has_file = step->opcode == HELPER_READ || step->opcode == HELPER_WRITE || step->opcode == HELPER_READDIR ||
	                step->opcode == HELPER_FSYNC;
	*call = (struct helper_call){.opcode = step->opcode, .fd = {-1, -1}, .offset = -1};
	if (step->opcode == HELPER_STATX)
		size = sizeof(struct statx);
	if (has_file)
		call->fd[0] = handle_count ? handles[step->window % handle_count] : 0;
	else
		call->path[0] = "/a";
	if (step->opcode == HELPER_RENAME)
		call->path[1] = "/b";
	if (has_file || step->opcode == HELPER_STATX) {
		call->one = (struct iovec){memory, size};
		call->iov = &call->one;
	}
	call->length = has_file && step->opcode != HELPER_FSYNC ? size : 0;
	call->set = has_file && handle_count ? NULL : &set;
}

static void check_memory(const struct step *step, long result, size_t size)
{
	bool reads = step->opcode == HELPER_READ || step->opcode == HELPER_READDIR;
	size_t written = step->opcode == HELPER_STATX && result >= 0 ? sizeof(struct statx)
	                 : reads && result > 0                       ? (size_t)result
	                                                             : 0;
	if (step->opcode == HELPER_READDIR && result == -EPROTO)
		written = size; /* entries that cannot be walked were copied before they were looked at */
	for (size_t i = written; i < sizeof memory; i++)
		MUST(memory[i] == CANARY);
}

static void make_call(const struct step *step)
{
	struct helper_call call;
	fill_call(step, &call);
	memset(memory, CANARY, sizeof memory);
	long result = helper_call_make(&call);
	MUST(result >= -4095);
	if (step->opcode == HELPER_OPEN && result >= 0) {
		MUST(result >= UNSTICK_HANDLE_BASE && result <= INT32_MAX && handle_count < MOST_HANDLES);
		handles[handle_count++] = (int)result;
	} else {
		MUST(result <= (long)call.length);
	}
	check_memory(step, result, call.length);
}

static void close_one(void)
{
	struct helper_call call = {.opcode = HELPER_CLOSE,
	                           .fd = {handle_count ? handles[--handle_count] : UNSTICK_HANDLE_BASE, -1}};
	long result = helper_call_make(&call);
	MUST(result <= 0 && result >= -4095);
}

/* The requests, and answers that were not asked for, unless these are what the step is about. */
static void drain(const struct step *step)
{
	struct helper_message message;
	for (unsigned i = 0; i < HELPER_CHANNELS; i++) {
		while (recv(far_ends[i], &message, sizeof message, MSG_DONTWAIT) > 0)
			;
		while (!(step->how & TWO_ANSWERS) && helper.channel[i].state == CHANNEL_FREE &&
		       recv(helper.channel[i].fd, &message, sizeof message, MSG_DONTWAIT) > 0)
			;
	}
}

/* All that is open is closed; a helper that has gone lets go of all. */
static void end(void)
{
	helper_take_lock();
	helper_lose(&helper, NEWS_ENDED);
	helper_drop_lock();
	while (handle_count)
		helper_close_soon(handles[--handle_count]);
	MUST(helper.refs == 1 && !helper.due);
	for (unsigned i = 0; i < HELPER_CHANNELS; i++) {
		MUST(helper.channel[i].state == CHANNEL_FREE && !helper.channel[i].made && !helper.channel[i].used[0]);
		close(helper.channel[i].fd);
		close(far_ends[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;
	make_helper();
	for (; size >= sizeof step && helper.state == HELPER_RUNS; data += sizeof step, size -= sizeof step) {
		memcpy(&step, data, sizeof step);
		step.opcode = step.opcode % HELPER_LAST + 1;
		if (!next_channel() || (step.opcode == HELPER_OPEN && handle_count == MOST_HANDLES))
			break;
		prepare_answer(&step);
		if (step.opcode == HELPER_CLOSE)
			close_one();
		else
			make_call(&step);
		drain(&step);
	}
	end();
	return 0;
}

size_t fuzz_seed(unsigned which, uint8_t *to)
{
	struct step step = {.opcode = (uint8_t)(which % HELPER_LAST), .how = TRUE_ID | TRUE_RESULT, .length = 4};
	memcpy(to, &step, sizeof step);
	return sizeof step;
}
