/* SPDX-License-Identifier: MIT
 *
 * usage: copy-with-deadline SECONDS SOURCE DESTINATION
 *
 * Copies a file, in SECONDS or not at all. Each call that may hang (open, read, write, fsync, close: think of a network mount
 * whose server is gone) is an operation of the engine, with one deadline for all and one token, which SIGINT cancels. Four
 * chunks are on their way at a time. The destination must not exist, so what is removed after a failure was made here.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unstick.h>

enum { CHUNKS = 4, CHUNK = 256 * 1024 };

static struct unstick_engine *engine;
static struct unstick_token *stop;
static unstick_time deadline;

struct chunk {
	int64_t offset, end;           /* of the file: what is still to be read, or written */
	size_t full;                   /* bytes in the buffer that are to be written */
	struct unstick_buffer *buffer; /* the library's: the kernel may write to it even after the deadline */
	struct unstick_op *op;         /* reads or writes it; NULL: nothing to do */
};

struct copy {
	const char *paths[2]; /* source, destination */
	int fds[2];
	int64_t next; /* where the next chunk begins */
	bool end_seen;
	struct chunk chunks[CHUNKS];
};

static void on_interrupt(int signal)
{
	(void)signal;
	unstick_token_cancel(stop);
}

static bool succeeded(const char *what, const char *path, long result)
{
	if (result >= 0)
		return true;
	const char *why = result == -ETIMEDOUT ? "the time is over" : result == -ECANCELED ? "interrupted" : strerror((int)-result);
	fprintf(stderr, "copy-with-deadline: cannot %s %s: %s\n", what, path, why);
	return false;
}

/* ---- Operations ---- */

static int begin(struct unstick_request request, struct unstick_op **ret)
{
	request.deadline = deadline;
	request.token = stop;
	return unstick_engine_submit(engine, &request, ret);
}

/* The wait has no limit of its own: the operation ends at its deadline. */
static long finish(struct unstick_op *op)
{
	long result = unstick_op_wait(op, UNSTICK_NEVER);

	if (result == 0)
		result = unstick_op_result(op);
	unstick_op_unref(op);
	return result;
}

static long run(struct unstick_request request)
{
	struct unstick_op *op;
	int error = begin(request, &op);

	return error < 0 ? error : finish(op);
}

/* ---- The data ---- */

/* Begins what comes next for the chunk: its write, its read, or that of a new stretch of the file. */
static bool go_on(struct copy *copy, struct chunk *chunk)
{
	struct unstick_request request;

	if (chunk->offset == chunk->end) {
		if (copy->end_seen)
			return true;
		chunk->offset = copy->next;
		chunk->end = copy->next += CHUNK;
	}
	if (chunk->full > 0)
		request = UNSTICK_PWRITE(copy->fds[1], chunk->buffer, chunk->full, chunk->offset);
	else
		request = UNSTICK_PREAD(copy->fds[0], chunk->buffer, (size_t)(chunk->end - chunk->offset), chunk->offset);
	request.flags = UNSTICK_FILE | UNSTICK_BUFFER;
	return succeeded("go on with", copy->paths[chunk->full > 0], begin(request, &chunk->op));
}

/* Waits for what the chunk is doing. A write that stopped half-way (no space, no time) tells how much it has written; the rest is
 * read and written again, and that write tells why. */
static bool step(struct copy *copy, struct chunk *chunk)
{
	bool wrote = chunk->full > 0;
	long result = finish(chunk->op);

	chunk->op = NULL;
	if (!succeeded(wrote ? "write" : "read", copy->paths[wrote], result))
		return false;
	if (!wrote && result == 0) {
		copy->end_seen = true;
		return true;
	}
	chunk->offset += wrote ? result : 0;
	chunk->full = wrote ? 0 : (size_t)result;
	return go_on(copy, chunk);
}

static bool copy_data(struct copy *copy)
{
	bool good = true, busy = true;

	for (int i = 0; i < CHUNKS && good; i++)
		good = succeeded("copy", copy->paths[0], unstick_buffer_new(&copy->chunks[i].buffer, CHUNK)) &&
		       go_on(copy, &copy->chunks[i]);
	while (good && busy) {
		busy = false;
		for (int i = 0; i < CHUNKS && good; i++) {
			if (copy->chunks[i].op) {
				busy = true;
				good = step(copy, &copy->chunks[i]);
			}
		}
	}
	/* After a failure some are still under way: engine_close() cancels them. A reference less ends nothing. */
	for (int i = 0; i < CHUNKS; i++) {
		unstick_op_unref(copy->chunks[i].op);
		unstick_buffer_unref(copy->chunks[i].buffer);
	}
	return good;
}

static bool copy_file(struct copy *copy)
{
	const char *from = copy->paths[0], *to = copy->paths[1];

	copy->fds[0] = (int)run(UNSTICK_OPENAT(AT_FDCWD, from, O_RDONLY | O_CLOEXEC, 0));
	if (!succeeded("open", from, copy->fds[0]))
		return false;
	copy->fds[1] = (int)run(UNSTICK_OPENAT(AT_FDCWD, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
	if (!succeeded("create", to, copy->fds[1]))
		return false;
	bool good = copy_data(copy) && succeeded("flush", to, run(UNSTICK_FSYNC(copy->fds[1], 0))) &&
	            succeeded("close", to, run(UNSTICK_CLOSE(copy->fds[1])));
	if (!good && unlink(to) < 0) /* no operation of the engine: where the mount hangs, this hangs too */
		fprintf(stderr, "copy-with-deadline: cannot remove %s, which is incomplete: %m\n", to);
	return good; /* fds that are still open are left to exit(): operations may be using them */
}

int main(int argc, char *argv[])
{
	struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
	double seconds = argc == 4 ? atof(argv[1]) : 0;
	struct unstick_left left;

	if (!(seconds > 0 && seconds < 1e9)) {
		fprintf(stderr, "usage: copy-with-deadline SECONDS SOURCE DESTINATION\n");
		return 2;
	}
	deadline = unstick_after_ms((int64_t)(seconds * 1000));
	if (!succeeded("make", "a token", unstick_token_new(&stop, NULL)) ||
	    !succeeded("start", "the engine", unstick_engine_new(&engine, NULL)))
		return 1;
	sigaction(SIGINT, &action, NULL);

	struct copy copy = {.paths = {argv[2], argv[3]}};
	bool good = copy_file(&copy);
	if (unstick_engine_close(engine, unstick_after_ms(1000), &left) == -EBUSY)
		fprintf(stderr, "copy-with-deadline: left behind: %s%s\n", left.what,
		        left.holds_exit ? "; the process cannot end before the kernel lets it go" : "");
	unstick_engine_free(engine);
	return good ? 0 : 1; /* the token stays: the handler may still come */
}
