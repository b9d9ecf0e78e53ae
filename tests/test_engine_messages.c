/* SPDX-License-Identifier: MIT
 *
 * What the likeliest misuses of the engine are answered with: the error, and the exact words in the log. Each line says what failed, on what, why,
 * and what to do; a misuse has one line. What a correct program may meet for each of many operations has one line an engine.
 * Without helpers.h: its `struct worker` is not the engine's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unstick.h"

/* ---- what the log callback got */

enum { LINES = 16 };
static char lines[LINES][512];
static _Atomic unsigned line_count;

static void keep_line(void *arg, const char *message)
{
	unsigned at = atomic_fetch_add(&line_count, 1);
	if (arg == lines && at < LINES)
		snprintf(lines[at], sizeof lines[at], "%s", message);
}

static void start_log(void)
{
	struct unstick_options options = {.size = sizeof options, .log = keep_line, .log_arg = lines};
	int error = unstick_init(&options);
	cr_assert(error == 0 || error == -EALREADY, "unstick_init: %d", error);
}

/* The lines about the back end are not these tests'. */
static struct unstick_engine *engine_make(unsigned orphans)
{
	struct unstick_engine_options options = {.size = sizeof options, .orphans = orphans};
	struct unstick_engine *engine;
	start_log();
	cr_assert_eq(unstick_engine_new(&engine, &options), 0);
	line_count = 0;
	return engine;
}

static void assert_told(const char *line)
{
	cr_assert_eq(line_count, 1, "%u lines for: %s", line_count, line);
	cr_assert_str_eq(lines[0], line);
	line_count = 0;
}

static void assert_silent(const char *after)
{
	cr_assert_eq(line_count, 0, "after %s: %s", after, lines[0]);
}

/* ---- refused requests */

struct refused {
	struct unstick_request request;
	int error;
	bool no_handle;
	const char *line;
};

static char byte;
static struct unstick_buffer *buffer;

#define REQUEST(...) .request = {.size = sizeof(struct unstick_request), __VA_ARGS__}

static struct iovec endless[2] = {{.iov_len = SIZE_MAX - 10}, {.iov_len = 20}};
static long no_buffer[8];

static const struct refused refused_requests[] = {
        {.request = {.opcode = UNSTICK_OP_RECV, .fd = 5},
         .error = -EINVAL,
         .line = "unstick: submit: size 0 is not that of struct unstick_request: make it with UNSTICK_READ() or its like"},
        {REQUEST(.opcode = 0, .fd = 5), .error = -EINVAL,
         .line = "unstick: submit: opcode 0 is not known to this version of the library: take one of enum unstick_opcode"},
        {REQUEST(.opcode = UNSTICK_OP_RENAMEAT + 1), .error = -EINVAL,
         .line = "unstick: submit: opcode 22 is not known to this version of the library: take one of enum unstick_opcode"},
        {REQUEST(.opcode = UNSTICK_OP_SEND, .fd = 7, .flags = UNSTICK_NETWORK | 1u << 31), .error = -EINVAL,
         .line = "unstick: submit: send on fd 7: flag 0x80000000 is not known to this version of the library: leave it out"},
        {REQUEST(.opcode = UNSTICK_OP_READ, .fd = -1, .flags = UNSTICK_NETWORK | UNSTICK_FILE), .error = -EINVAL,
         .line = "unstick: submit: read on fd -1: UNSTICK_NETWORK and UNSTICK_FILE: an fd is one of them: give one, or neither"},
        {REQUEST(.opcode = UNSTICK_OP_TIMEOUT, .fd = -1), .error = -EINVAL, .no_handle = true,
         .line = "unstick: submit: timeout: neither handle nor callback: nobody would learn its result: give ret, or set done"},
        {REQUEST(.opcode = UNSTICK_OP_WRITEV, .fd = 5, .len = 1025), .error = -EINVAL,
         .line = "unstick: submit: writev on fd 5: 1025 iovecs: 1024 is the most: make several requests of it"},
        {REQUEST(.opcode = UNSTICK_OP_WRITE, .fd = 5, .buf = &byte, .len = 1, .offset = -5), .error = -EINVAL,
         .line = "unstick: submit: write on fd 5: offset -5 is negative: give one from 0, or -1 for the file's own position"},
        {REQUEST(.opcode = UNSTICK_OP_SPLICE, .fd = 5, .len = 1, .offset2 = -2), .error = -EINVAL,
         .line = "unstick: submit: splice on fd 5: offset2 -2 is negative: give one from 0, or -1 for the file's own position"},
        {REQUEST(.opcode = UNSTICK_OP_WRITE, .fd = 5, .buf = &byte, .len = SIZE_MAX), .error = -EINVAL,
         .line = "unstick: submit: write on fd 5: length 18446744073709551615 is more than a result can tell: is it a negative "
                 "number, from a call that failed?"},
        {REQUEST(.opcode = UNSTICK_OP_RECV, .fd = 5, .flags = UNSTICK_BUFFER), .error = -EINVAL,
         .line = "unstick: submit: recv on fd 5: UNSTICK_BUFFER: only read and write take a buffer: leave the flag out"},
        {REQUEST(.opcode = UNSTICK_OP_READV, .fd = 5, .flags = UNSTICK_BUFFER), .error = -EINVAL,
         .line = "unstick: submit: readv on fd 5: UNSTICK_BUFFER: only read and write take a buffer: leave the flag out"},
        {REQUEST(.opcode = UNSTICK_OP_READ, .fd = 5, .len = 1, .flags = UNSTICK_BUFFER), .error = -EINVAL,
         .line = "unstick: submit: read on fd 5: UNSTICK_BUFFER: buf is NULL: give what unstick_buffer_new() made"},
        {REQUEST(.opcode = UNSTICK_OP_SENDMSG, .fd = 5, .len = 1), .error = -EINVAL,
         .line = "unstick: submit: sendmsg on fd 5: buf is NULL: give the memory that it is to work on"},
        {REQUEST(.opcode = UNSTICK_OP_OPENAT, .fd = AT_FDCWD), .error = -EINVAL,
         .line = "unstick: submit: openat: addr is NULL: give the path, or the address"},
        {REQUEST(.opcode = UNSTICK_OP_WRITEV, .fd = 5, .buf = endless, .len = 2), .error = -EINVAL,
         .line = "unstick: submit: writev on fd 5: its iovecs come to more bytes than a result can tell: make several requests of "
                 "it"},
        {REQUEST(.opcode = UNSTICK_OP_WRITE, .fd = 5, .buf = no_buffer, .len = 1, .flags = UNSTICK_BUFFER), .error = -EINVAL,
         .line = "unstick: submit: write on fd 5: UNSTICK_BUFFER: buf is no buffer: give what unstick_buffer_new() made, not its "
                 "data"},
        {REQUEST(.opcode = UNSTICK_OP_RECV, .fd = 5, .flags = UNSTICK_ISOLATE), .error = -EOPNOTSUPP,
         .line = "unstick: submit: recv on fd 5: UNSTICK_ISOLATE: a helper does file operations only: leave the flag out"},
        {REQUEST(.opcode = UNSTICK_OP_RECV, .fd = UNSTICK_HANDLE_BASE), .error = -EOPNOTSUPP,
         .line = "unstick: submit: recv on fd 1073741824: the handle is a helper's, which does file operations only: open an fd "
                 "for this"},
        {REQUEST(.opcode = UNSTICK_OP_CLOSE, .fd = 5, .flags = UNSTICK_ISOLATE), .error = -EINVAL,
         .line = "unstick: submit: close on fd 5: UNSTICK_ISOLATE: the fd is this process's, and closed here: leave the flag out"},
        {REQUEST(.opcode = UNSTICK_OP_RENAMEAT, .fd = 5, .addr = "a"), .error = -EINVAL,
         .line = "unstick: submit: renameat on fd 5: buf is NULL: give the new path"},
};

Test(engine_messages, refused_requests_are_explained)
{
	struct unstick_engine *engine = engine_make(0);
	for (size_t i = 0; i < sizeof refused_requests / sizeof refused_requests[0]; i++) {
		const struct refused *refused = &refused_requests[i];
		struct unstick_op *op = (void *)&byte;
		cr_assert_eq(unstick_engine_submit(engine, &refused->request, refused->no_handle ? NULL : &op), refused->error,
		             "%s", refused->line);
		cr_assert_eq((void *)op, &byte);
		assert_told(refused->line);
	}
	unstick_engine_free(engine);
}

Test(engine_messages, a_buffer_that_is_too_small_is_told_with_both_sizes)
{
	struct unstick_engine *engine = engine_make(0);
	struct unstick_op *op;
	cr_assert_eq(unstick_buffer_new(&buffer, 4096), 0);
	struct unstick_request request = UNSTICK_WRITE(6, buffer, 4097);
	request.flags = UNSTICK_BUFFER;
	cr_assert_eq(unstick_engine_submit(engine, &request, &op), -EINVAL);
	assert_told("unstick: submit: write on fd 6: UNSTICK_BUFFER: 4097 bytes, and the buffer has 4096: make a larger one, or "
	            "ask for "
	            "less");
	unstick_buffer_unref(buffer);
	unstick_engine_free(engine);
}

Test(engine_messages, each_opcode_has_a_name)
{
	static const char *const names[] = {"nop",
	                                    "read on fd 3",
	                                    "write on fd 3",
	                                    "readv on fd 3",
	                                    "writev on fd 3",
	                                    "recv on fd 3",
	                                    "send on fd 3",
	                                    "recvmsg on fd 3",
	                                    "sendmsg on fd 3",
	                                    "accept on fd 3",
	                                    "connect on fd 3",
	                                    "poll on fd 3",
	                                    "openat on fd 3",
	                                    "close on fd 3",
	                                    "fsync on fd 3",
	                                    "statx on fd 3",
	                                    "splice on fd 3",
	                                    "timeout",
	                                    "readdir on fd 3",
	                                    "unlinkat on fd 3",
	                                    "renameat on fd 3"};
	struct unstick_engine *engine = engine_make(0);
	for (unsigned opcode = UNSTICK_OP_NOP; opcode <= UNSTICK_OP_RENAMEAT; opcode++) {
		struct unstick_request request = {.size = sizeof request, .opcode = opcode, .fd = 3, .flags = 1u << 20};
		struct unstick_op *op;
		char line[200];
		snprintf(line, sizeof line,
		         "unstick: submit: %s: flag 0x100000 is not known to this version of the library: leave it out",
		         names[opcode - 1]);
		cr_assert_eq(unstick_engine_submit(engine, &request, &op), -EINVAL);
		assert_told(line);
	}
	unstick_engine_free(engine);
}

Test(engine_messages, null_is_named)
{
	struct unstick_engine *engine = engine_make(0);
	struct unstick_op *op;
	struct unstick_request nop = UNSTICK_NOP();
	cr_assert_eq(unstick_engine_new(NULL, NULL), -EINVAL);
	assert_told("unstick: engine: ret is NULL");
	cr_assert_eq(unstick_engine_submit(NULL, &nop, &op), -EINVAL);
	assert_told("unstick: submit: engine is NULL");
	cr_assert_eq(unstick_engine_submit(engine, NULL, &op), -EINVAL);
	assert_told("unstick: submit: request is NULL");
	cr_assert_eq(unstick_engine_submit_many(NULL, &nop, 1, &op), -EINVAL);
	assert_told("unstick: submit_many: engine is NULL");
	cr_assert_eq(unstick_engine_submit_many(engine, NULL, 1, &op), -EINVAL);
	assert_told("unstick: submit_many: requests is NULL");
	cr_assert_eq(unstick_engine_close(NULL, 0, NULL), -EINVAL);
	assert_told("unstick: close: engine is NULL");
	unstick_engine_free(engine);
}

/* ---- refused engines */

struct refused_engine {
	struct unstick_engine_options options;
	const char *line;
};

#define OPTIONS(...)                                                       \
	{                                                                  \
		.size = sizeof(struct unstick_engine_options), __VA_ARGS__ \
	}

static const struct refused_engine refused_engines[] = {
        {{.size = 3}, "unstick: engine: size 3 is not that of struct unstick_engine_options: set it to sizeof"},
        {OPTIONS(.flags = 2), "unstick: engine: flag 0x2 is not known to this version of the library: leave it out"},
        {OPTIONS(.back_end = -1), "unstick: engine: options.back_end is -1: take UNSTICK_ENGINE_AUTO, _URING or _POLL"},
        {OPTIONS(.back_end = 3), "unstick: engine: options.back_end is 3: take UNSTICK_ENGINE_AUTO, _URING or _POLL"},
        {OPTIONS(.workers = 257), "unstick: engine: options.workers is 257: 256 is the most"},
        {OPTIONS(.files = 65537), "unstick: engine: options.files is 65537: 65536 is the most"},
        {OPTIONS(.blocking = UINT_MAX), "unstick: engine: options.blocking is 4294967295: 65536 is the most"},
};

Test(engine_messages, refused_options_are_explained)
{
	start_log();
	for (size_t i = 0; i < sizeof refused_engines / sizeof refused_engines[0]; i++) {
		struct unstick_engine *engine = (void *)&byte;
		cr_assert_eq(unstick_engine_new(&engine, &refused_engines[i].options), -EINVAL, "%s", refused_engines[i].line);
		cr_assert_eq((void *)engine, &byte);
		assert_told(refused_engines[i].line);
	}
}

Test(engine_messages, a_back_end_in_the_environment_that_does_not_exist_is_named)
{
	struct unstick_engine *engine;
	start_log();
	setenv("UNSTICK_ENGINE", "epoll", 1);
	cr_assert_eq(unstick_engine_new(&engine, NULL), -EINVAL);
	assert_told("unstick: engine: UNSTICK_ENGINE=epoll: not a back end: set it to uring, poll or auto, or unset it");
}

Test(engine_messages, the_choice_of_poll_is_told)
{
	struct unstick_engine_options options = {.size = sizeof options, .back_end = UNSTICK_ENGINE_POLL, .workers = 2};
	struct unstick_engine *engine;
	start_log();
	cr_assert_eq(unstick_engine_new(&engine, &options), 0);
	assert_told("unstick: engine: poll, 2 worker(s): io_uring not wanted");
	unstick_engine_free(engine);
	assert_silent("free");
}

/* ---- in a callback */

static struct unstick_op *handle;
static int results[5];

static void misuse(struct unstick_op *op, long result, void *arg)
{
	struct unstick_op *none = NULL, *mine[] = {none, op};
	struct unstick_engine *engine = arg;
	(void)result;
	results[0] = unstick_op_wait(op, UNSTICK_NEVER);
	results[1] = unstick_op_wait_any(mine, 2, UNSTICK_NEVER);
	results[2] = unstick_op_wait_all(mine, 2, UNSTICK_NEVER);
	results[3] = unstick_engine_close(engine, UNSTICK_NEVER, NULL);
	results[4] = unstick_engine_free(engine) == engine;
}

#define WAITS_FOR_ITSELF                                                                                                       \
	"unstick: wait: called on the worker that runs the operation: it would wait for itself: use its callback, or wait in " \
	"another thread"

#define CLOSES_ITSELF \
	"unstick: close: called in a callback of the engine's own: it would wait for itself: call it in another thread"
#define FREES_ITSELF \
	"unstick: engine: freed in a callback of its own: it would wait for itself, so it is not: free it in another thread"

Test(engine_messages, what_would_wait_for_itself_in_a_callback_is_refused_with_the_way_out)
{
	static const char *const expected[] = {WAITS_FOR_ITSELF, WAITS_FOR_ITSELF, WAITS_FOR_ITSELF, CLOSES_ITSELF, FREES_ITSELF};
	struct unstick_engine *engine = engine_make(0);
	struct unstick_request nop = UNSTICK_NOP();
	nop.done = misuse;
	nop.arg = engine;
	cr_assert_eq(unstick_engine_submit(engine, &nop, &handle), 0);
	cr_assert_eq(unstick_op_wait(handle, UNSTICK_NEVER), 0);
	unstick_op_unref(handle);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(results[i], -EDEADLK, "%d: %d", i, results[i]);
	cr_assert(results[4], "free did not return its argument");
	cr_assert_eq(line_count, 5);
	for (int i = 0; i < 5; i++)
		cr_assert_str_eq(lines[i], expected[i]);
	unstick_engine_free(engine);
}

/* ---- too late */

Test(engine_messages, a_wait_for_what_has_gone_is_explained)
{
	struct unstick_engine *engine = engine_make(0);
	struct unstick_op *op;
	cr_assert_eq(unstick_engine_submit(engine, &UNSTICK_NOP(), &op), 0);
	cr_assert_eq(unstick_op_wait(op, UNSTICK_NEVER), 0);
	unstick_op_unref(op);
	assert_silent("a proper operation");
	unstick_engine_free(engine);
	cr_assert_eq(unstick_op_wait(op, UNSTICK_NEVER), -ESTALE);
	assert_told("unstick: wait: the operation has gone with its last reference, or was never begun: unref it after the wait, "
	            "not before");
	cr_assert_eq(unstick_op_wait_any(&op, 1, UNSTICK_NEVER), -ESTALE);
	assert_told("unstick: wait: the operation has gone with its last reference, or was never begun: unref it after the wait, "
	            "not before");
	cr_assert_eq(unstick_op_cancel(op), 0);
	cr_assert_eq(unstick_op_result(op), -ESTALE);
	unstick_op_unref(op);
	assert_silent("functions that may be called in a signal handler");
}

Test(engine_messages, submitting_to_an_engine_that_closes_is_told_once)
{
	struct unstick_op *op;
	for (int i = 0; i < 2; i++) {
		struct unstick_engine *engine = engine_make(0);
		cr_assert_eq(unstick_engine_close(engine, UNSTICK_NEVER, NULL), 0);
		assert_silent("close");
		for (int j = 0; j < 100; j++)
			cr_assert_eq(unstick_engine_submit(engine, &UNSTICK_NOP(), &op), -ESHUTDOWN);
		assert_told("unstick: submit: the engine is being closed, it takes no more: submit before unstick_engine_close()");
		unstick_engine_free(engine);
	}
}

/* ---- not ours */

static int misuse_in_child(struct unstick_engine *engine)
{
	struct unstick_op *op;
	for (int i = 0; i < 100; i++)
		if (unstick_engine_submit(engine, &UNSTICK_NOP(), &op) != -EOWNERDEAD)
			return 1;
	if (unstick_engine_close(engine, 0, NULL) != -EOWNERDEAD)
		return 2;
	if (line_count != 1 ||
	    strcmp(lines[0], "unstick: submit: the engine is the parent process's: in a forked child make another with "
	                     "unstick_engine_new()") != 0)
		return 3;
	return unstick_engine_free(engine) == NULL && line_count == 1 ? 0 : 4;
}

Test(engine_messages, the_engine_of_a_parent_is_told_once)
{
	struct unstick_engine *engine = engine_make(0);
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		alarm(30);
		_exit(misuse_in_child(engine));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "%x", (unsigned)status);
	cr_assert_eq(unstick_engine_free(engine), NULL);
	assert_silent("the child");
}

/* ---- what hangs */

static unsigned count_lines(const char *line)
{
	unsigned count = 0;
	for (unsigned i = 0; i < line_count && i < LINES; i++)
		count += strcmp(lines[i], line) == 0;
	return count;
}

/* Without our signal the open of a FIFO cannot be ended: it is left behind. */
Test(engine_messages, too_many_orphans_are_told_once)
{
	char dir[] = "/tmp/unstick-messages-XXXXXX", path[64];
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/fifo", dir);
	cr_assert_eq(mkfifo(path, 0600), 0);
	struct unstick_engine *engine = engine_make(1);
	struct unstick_op *op;
	struct unstick_stats stats;
	struct unstick_left left;
	struct unstick_request request = UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY, 0);
	signal(unstick_signal(), SIG_IGN);
	for (stats.orphans = 0; !stats.orphans;) { /* the deadline may have come before the open */
		request.deadline = unstick_after_ms(5);
		cr_assert_eq(unstick_engine_submit(engine, &request, &op), 0);
		cr_assert_eq(unstick_op_wait(op, UNSTICK_NEVER), 0);
		cr_assert_eq(unstick_op_result(op), -ETIMEDOUT);
		unstick_op_unref(op);
		cr_assert_eq(unstick_engine_stats(engine, &stats), 0);
	}
	for (int i = 0; i < 100; i++)
		cr_assert_eq(unstick_engine_submit(engine, &request, &op), -EAGAIN);
	cr_assert_eq(
	        count_lines("unstick: submit: as many operations are left behind as options.orphans allows, so none that needs a "
	                    "thread is taken: see to the file system that hangs"),
	        1);
	cr_assert_eq(unstick_engine_close(engine, 0, &left), -EBUSY);
	char line[300], *after = lines[line_count - 1];
	snprintf(line, sizeof line,
	         "unstick: engine: close: 1 operation(s) have not ended; the oldest: openat of %s (fd -100) in thread %d, for ",
	         path, (int)left.tid);
	cr_assert_eq(strncmp(after, line, strlen(line)), 0, "%s", after);
	close(open(path, O_WRONLY));
	cr_assert_eq(unstick_engine_close(engine, UNSTICK_NEVER, NULL), 0);
	unstick_engine_free(engine);
	unlink(path);
	rmdir(dir);
}
