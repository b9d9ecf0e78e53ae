/* SPDX-License-Identifier: MIT
 *
 * Files, paths, and the passing of time: operations that do not wait for a peer.
 */
#include <sys/stat.h>

#include "suite.h"

static char path[64], got[64];
static struct statx status;

static int make_file(int flags)
{
	temporary_path(path, sizeof path, "file");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	CHECK(fd >= 0, "open: %s", strerror(errno));
	return fd;
}

static void expect(const struct unstick_request *request, long expected, const char *what)
{
	long result = run(request);
	CHECK(result == expected, "%s: %ld in place of %ld", what, result, expected);
}

static void holds(int fd, const char *expected)
{
	memset(got, 0, sizeof got);
	ssize_t n = pread(fd, got, sizeof got - 1, 0);
	CHECK(n == (ssize_t)strlen(expected) && !strcmp(got, expected), "the file holds '%s', not '%s'", got, expected);
}

static void at_positions(void)
{
	int fd = make_file(0);
	expect(&UNSTICK_WRITE(fd, "hello", 5), 5, "write");
	expect(&UNSTICK_WRITE(fd, " world", 6), 6, "write at the position");
	expect(&UNSTICK_PWRITE(fd, "J", 1, 0), 1, "pwrite");
	holds(fd, "Jello world");
	CHECK(lseek(fd, 0, SEEK_CUR) == 11, "the position is %ld", (long)lseek(fd, 0, SEEK_CUR));
	expect(&UNSTICK_READ(fd, got, 8), 0, "read at the end");
	expect(&UNSTICK_PREAD(fd, got, 3, 6), 3, "pread");
	CHECK(memcmp(got, "wor", 3) == 0, "pread got '%.3s'", got);
	CHECK(lseek(fd, 2, SEEK_SET) == 2, "lseek");
	expect(&UNSTICK_READ(fd, got, 4), 4, "read at the position");
	CHECK(memcmp(got, "llo ", 4) == 0 && lseek(fd, 0, SEEK_CUR) == 6, "read got '%.4s'", got);
	expect(&UNSTICK_PREAD(fd, got, 8, 1000), 0, "pread past the end");
}

static void appended(void)
{
	int fd = make_file(O_APPEND);
	expect(&UNSTICK_WRITE(fd, "one ", 4), 4, "write");
	expect(&UNSTICK_WRITE(fd, "two ", 4), 4, "write");
	CHECK(lseek(fd, 0, SEEK_SET) == 0, "lseek");
	expect(&UNSTICK_WRITE(fd, "three", 5), 5, "write");
	holds(fd, "one two three");
}

static void in_vectors(void)
{
	int fd = make_file(0);
	char first[3], second[8];
	struct iovec out[] = {{"hel", 3}, {"", 0}, {"lo world", 8}}, in[] = {{first, 3}, {second, 8}};
	struct unstick_request at = UNSTICK_READV(fd, in, 2);
	expect(&UNSTICK_WRITEV(fd, out, 3), 11, "writev");
	holds(fd, "hello world");
	at.offset = 4;
	expect(&at, 7, "readv at an offset");
	CHECK(memcmp(first, "o w", 3) == 0 && memcmp(second, "orld", 4) == 0, "readv");
	CHECK(lseek(fd, 0, SEEK_SET) == 0, "lseek");
	expect(&UNSTICK_READV(fd, in, 2), 11, "readv");
	CHECK(memcmp(first, "hel", 3) == 0 && memcmp(second, "lo world", 8) == 0, "readv");
}

static void in_library_memory(void)
{
	int fd = make_file(0);
	struct unstick_buffer *buffer;
	CHECK(unstick_buffer_new(&buffer, 4096) == 0, "buffer");
	memcpy(unstick_buffer_data(buffer), "from a buffer", 13);
	struct unstick_request write = UNSTICK_PWRITE(fd, buffer, 13, 0), read = UNSTICK_PREAD(fd, buffer, 4096, 5);
	write.flags = read.flags = UNSTICK_BUFFER;
	expect(&write, 13, "write");
	holds(fd, "from a buffer");
	expect(&read, 8, "read");
	CHECK(memcmp(unstick_buffer_data(buffer), "a buffer", 8) == 0, "not in the buffer");
	read.len = 4097;
	struct unstick_op *op;
	CHECK(unstick_engine_submit(engine(), &read, &op) == -EINVAL, "more than the buffer has");
	CHECK(unstick_buffer_unref(buffer) == NULL && unstick_buffer_unref(NULL) == NULL, "unref");
}

static void big_file(void)
{
	enum { SIZE = 4 << 20 };
	int fd = make_file(0);
	unsigned char *out = malloc(SIZE), *in = calloc(1, SIZE);
	for (size_t i = 0; i < SIZE; i++)
		out[i] = (unsigned char)(i * 7 + i / 4093);
	expect(&UNSTICK_WRITE(fd, out, SIZE), SIZE, "write");
	expect(&UNSTICK_PREAD(fd, in, SIZE, 0), SIZE, "pread");
	CHECK(memcmp(in, out, SIZE) == 0, "other bytes");
	free(out);
	free(in);
}

static void fsync_and_statx(void)
{
	int fd = make_file(0);
	expect(&UNSTICK_WRITE(fd, "hello", 5), 5, "write");
	expect(&UNSTICK_FSYNC(fd, 0), 0, "fsync");
	expect(&UNSTICK_FSYNC(fd, 1), 0, "fdatasync");
	expect(&UNSTICK_STATX(AT_FDCWD, path, 0, STATX_SIZE, &status), 0, "statx");
	CHECK(status.stx_size == 5, "size %llu", status.stx_size);
	expect(&UNSTICK_STATX(fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_TYPE, &status), 0, "statx of an fd");
	CHECK(status.stx_size == 5 && S_ISREG(status.stx_mode), "size %llu", status.stx_size);
	expect(&UNSTICK_STATX(AT_FDCWD, "/tmp/unstick-engine-is-not-there", 0, STATX_SIZE, &status), -ENOENT, "statx of nothing");
	int fds[2];
	make_pipe(fds);
	expect(&UNSTICK_FSYNC(fds[0], 0), -EINVAL, "fsync of a pipe");
}

static void open_and_close(void)
{
	close(make_file(0));
	umask(0);
	unlink(path);
	long fd = run(&UNSTICK_OPENAT(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640));
	struct stat made;
	CHECK(fd >= 0 && fstat((int)fd, &made) == 0 && (made.st_mode & 0777) == 0640, "openat: %ld, mode %o", fd, made.st_mode);
	CHECK(fcntl((int)fd, F_GETFD) & FD_CLOEXEC, "O_CLOEXEC");
	expect(&UNSTICK_OPENAT(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, 0640), -EEXIST, "once more");
	expect(&UNSTICK_CLOSE((int)fd), 0, "close");
	CHECK(fcntl((int)fd, F_GETFD) == -1 && errno == EBADF, "it is still open");
	int dir = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = run(&UNSTICK_OPENAT(dir, path + sizeof "/tmp", O_RDONLY | O_CLOEXEC, 0));
	CHECK(fd >= 0, "relative to a directory: %ld", fd);
	expect(&UNSTICK_READ(open("/tmp", O_RDONLY | O_CLOEXEC), got, 4), -EISDIR, "read of a directory");
}

/* Nothing of it is done. */
static void past_deadline(void)
{
	int fd = make_file(0);
	expect(&UNSTICK_WRITE(fd, "hello", 5), 5, "write");
	const struct unstick_request requests[] = {
	        UNSTICK_WRITE(fd, "more", 4),
	        UNSTICK_PWRITE(fd, "X", 1, 0),
	        UNSTICK_PREAD(fd, got, 5, 0),
	        UNSTICK_FSYNC(fd, 0),
	        UNSTICK_STATX(AT_FDCWD, path, 0, STATX_SIZE, &status),
	        UNSTICK_OPENAT(AT_FDCWD, "/tmp/unstick-engine-never-made", O_CREAT | O_RDWR, 0600),
	        UNSTICK_NOP(),
	        UNSTICK_TIMEOUT(UNSTICK_NEVER),
	};
	memset(got, 'x', sizeof got);
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		struct unstick_request late = with_deadline(requests[i], unstick_now() - 1);
		CHECK(run(&late) == -ETIMEDOUT, "opcode %u", late.opcode);
	}
	CHECK(got[0] == 'x' && status.stx_size == 0, "something was read");
	CHECK(access("/tmp/unstick-engine-never-made", F_OK) != 0, "a file was made");
	holds(fd, "hello");
}

/* All but close, which is carried out all the same. */
static void late_close(void)
{
	int fd = make_file(0);
	struct unstick_request late = with_deadline(UNSTICK_CLOSE(fd), unstick_now() - 1);
	long result = run(&late);
	CHECK(result == -ETIMEDOUT || result == 0, "close: %ld", result);
	WAIT_UNTIL(fcntl(fd, F_GETFD) == -1);
}

static void with_time_to_spare(void)
{
	int fd = make_file(0);
	struct unstick_token *token = token_make(NULL);
	struct unstick_request request = with_token(UNSTICK_WRITE(fd, "hello", 5), token);
	for (int i = 0; i < 100; i++) {
		request.deadline = unstick_after_ms(3600 * 1000);
		expect(&request, 5, "write");
	}
	unstick_token_cancel(token);
	expect(&request, -ECANCELED, "the token has fired");
	unstick_token_unref(token);
	CHECK(lseek(fd, 0, SEEK_END) == 500, "it was written");
}

/* ---- timeout */

static void timeouts(void)
{
	unstick_time when = unstick_after_ms(20);
	expect(&UNSTICK_TIMEOUT(when), 0, "timeout");
	CHECK(unstick_now() >= when, "too early");
	expect(&UNSTICK_TIMEOUT(unstick_now() - 1), 0, "a moment in the past");
	struct unstick_op *op = begin(&UNSTICK_TIMEOUT(UNSTICK_NEVER));
	settle();
	CHECK(unstick_op_result(op) == -EINPROGRESS && cancelled(op) == -ECANCELED, "cancelled");
	struct unstick_request request = with_deadline(UNSTICK_TIMEOUT(UNSTICK_NEVER), unstick_after_ms(10));
	expect(&request, -ETIMEDOUT, "a deadline before its moment");
	struct unstick_token *token = token_make(NULL);
	request = with_token(UNSTICK_TIMEOUT(unstick_after_ms(3600 * 1000)), token);
	op = begin(&request);
	settle();
	unstick_token_cancel(token);
	CHECK(end_of(op) == -ECANCELED, "its token");
	unstick_token_unref(token);
}

static void fired_at(struct unstick_op *op, long result, void *when)
{
	(void)op;
	*(unstick_time *)when = result == 0 ? unstick_now() : -1;
}

/* Given in any order, they end in order and none too early. */
static void many_timeouts(void)
{
	enum { MANY = 500 };
	static unstick_time when[MANY], fired[MANY];
	struct unstick_op *ops[MANY];
	for (unsigned i = 0; i < MANY; i++) {
		when[i] = unstick_after_ns((int64_t)(i * 7919 % MANY) * 200000);
		struct unstick_request request = UNSTICK_TIMEOUT(when[i]);
		request.done = fired_at;
		request.arg = &fired[i];
		ops[i] = begin(&request);
	}
	CHECK(unstick_op_wait_all(ops, MANY, UNSTICK_NEVER) == 0, "wait_all");
	for (unsigned i = 0; i < MANY; i++)
		CHECK(fired[i] >= when[i], "number %u: %ld ns too early", i, (long)(when[i] - fired[i]));
	for (unsigned i = 0; i < MANY; i++)
		CHECK(unstick_op_result(ops[i]) == 0 && unstick_op_unref(ops[i]) == NULL, "result");
}

static const struct fault cases[] = {
        {0, "read and write at the position and at offsets", at_positions},
        {0, "write with O_APPEND", appended},
        {0, "readv and writev", in_vectors},
        {0, "UNSTICK_BUFFER: in the library's memory", in_library_memory},
        {0, "4 MiB out and in", big_file},
        {0, "fsync, statx", fsync_and_statx},
        {0, "openat, close", open_and_close},
        {0, "files and others with a deadline in the past: -ETIMEDOUT, nothing is done", past_deadline},
        {0, "a close with a deadline in the past is carried out", late_close},
        {0, "files with a token and a deadline", with_time_to_spare},
        {0, "timeout: 0 at its moment, cut short before", timeouts},
        {0, "500 timeouts: none too early", many_timeouts},
};

SUITE_PART(suite_files);
