/* SPDX-License-Identifier: MIT
 *
 * Memory is short (fault 35): the n-th allocation of the process fails, for each n that there is, while an engine is opened and does all that it
 * can: each step says -ENOMEM or -EAGAIN, or comes to the right result; nothing hangs, nothing leaks, and with memory all is well again. And
 * a cancel, a deadline, the wait for a result need none: they work when no allocation succeeds at all.
 * As tests/faults/memory.c, which has the technique: this program's malloc(3) is in front of the C library's.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/failing_malloc.h"
#include "../faults/fault.h"
#include "unstick.h"

/* ---- what an engine does. A step that fails for want of memory is over; what has begun must end, and rightly. */

enum { FILE_BYTES = 3000, BIG = 1 << 20 };

static struct {
	struct unstick_engine *engine;
	struct unstick_token *token;
	int sockets[2], pipe[2], file;
	char path[64];
} at;

static const char text[FILE_BYTES] = "what is written, is read";
static char big[BIG];

static bool is_short(long error)
{
	return error == -ENOMEM || error == -EAGAIN;
}

static struct unstick_op *begin(const char *step, const struct unstick_request *request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(at.engine, request, &op);
	CHECK(error == 0 || is_short(error), "%s: submit: %d", step, error);
	CHECK((op != NULL) == (error == 0), "%s: ret", step);
	return op;
}

/* Its result, or -ENOMEM, -EAGAIN. */
static long end_of(const char *step, struct unstick_op *op)
{
	if (!op)
		return -ENOMEM;
	fault_waiting_for("the end of %s", step);
	int error = unstick_op_wait(op, UNSTICK_NEVER);
	fault_waiting_for("%s", "");
	CHECK(error == 0, "%s: wait: %d", step, error);
	long result = unstick_op_result(op);
	unstick_op_unref(op);
	return result;
}

static bool ends(const char *step, const struct unstick_request *request, long expected)
{
	long result = end_of(step, begin(step, request));
	CHECK(result == expected || is_short(result), "%s: %ld in place of %ld", step, result, expected);
	return result == expected;
}

/* A wait that is cut short: by its own handle, a deadline, a token. */
static void use_cuts(const char *step, struct unstick_request request)
{
	struct unstick_op *op = begin(step, &request);
	CHECK(!op || unstick_op_cancel(op) == 0, "%s: cancel", step);
	long result = end_of(step, op);
	CHECK(result == -ECANCELED || is_short(result), "%s, cancelled: %ld", step, result);
	request.deadline = unstick_after_ms(2);
	ends(step, &request, -ETIMEDOUT);
	request.deadline = 0;
	if (unstick_token_new(&at.token, NULL) != 0)
		return;
	request.token = at.token;
	op = begin(step, &request);
	unstick_token_cancel(at.token);
	result = end_of(step, op);
	CHECK(result == -ECANCELED || is_short(result), "%s, token: %ld", step, result);
	ends(step, &request, -ECANCELED);
	at.token = unstick_token_unref(at.token);
}

static void use_stream(void)
{
	char bytes[8] = "";
	struct iovec two[2] = {{bytes, 2}, {bytes + 2, 4}};
	struct msghdr msg = {.msg_iov = two, .msg_iovlen = 2};
	const struct unstick_request gives[] = {UNSTICK_WRITE(at.sockets[1], text, 6), UNSTICK_SEND(at.sockets[1], text, 6),
	                                        UNSTICK_WRITEV(at.sockets[1], two, 2), UNSTICK_SENDMSG(at.sockets[1], &msg, 0)};
	const struct unstick_request takes[] = {UNSTICK_READV(at.sockets[0], two, 2), UNSTICK_RECVMSG(at.sockets[0], &msg, 0),
	                                        UNSTICK_READ(at.sockets[0], bytes, 8), UNSTICK_RECV(at.sockets[0], bytes, 8)};
	for (int i = 0; i < 4; i++) {
		memcpy(bytes, text, 6);
		if (!ends("a write", &gives[i], 6))
			continue;
		memset(bytes, 0, sizeof bytes);
		while (!ends("a read", &takes[i], 6))
			; /* it is short once at most */
		CHECK(memcmp(bytes, text, 6) == 0, "other bytes came");
	}
}

/* More than the socket holds: it goes on, and needs memory for what is left, or reports the part. */
static void use_big_writev(void)
{
	struct iovec three[3] = {{big, BIG / 2}, {big, 0}, {big, BIG / 2}};
	struct unstick_op *op = begin("a big writev", &UNSTICK_WRITEV(at.sockets[1], three, 3));
	struct pollfd more = {.fd = at.sockets[0], .events = POLLIN};
	long came = 0, n;
	bool over = !op;
	while (!over || poll(&more, 1, 0) > 0) {
		over = over || unstick_op_result(op) != -EINPROGRESS;
		n = recv(at.sockets[0], big, BIG, MSG_DONTWAIT);
		came += n > 0 ? n : 0;
		if (n < 0)
			fault_pause();
	}
	long result = end_of("a big writev", op);
	CHECK(result == came || (is_short(result) && !came), "%ld, and %ld came", result, came);
}

/* The splice waits on a thread, and a signal ends it. */
static void use_network(void)
{
	struct unstick_request splice = UNSTICK_SPLICE(at.pipe[0], 10, 0);
	splice.fd2 = at.sockets[1];
	splice.offset2 = -1;
	use_stream();
	use_big_writev();
	use_cuts("recv", UNSTICK_RECV(at.sockets[0], big, 1));
	use_cuts("a read of a pipe", UNSTICK_READ(at.pipe[0], big, 1));
	use_cuts("poll", UNSTICK_POLL(at.pipe[0], POLLIN));
	use_cuts("timeout", UNSTICK_TIMEOUT(unstick_after_ms(3600000)));
	use_cuts("splice", splice);
	ends("nop", &UNSTICK_NOP(), 0);
}

static void use_files(void)
{
	char back[FILE_BYTES];
	struct iovec two[2] = {{back, 1000}, {back + 1000, FILE_BYTES - 1000}};
	struct statx found;
	struct unstick_buffer *buffer = NULL;
	long fd = end_of("openat", begin("openat", &UNSTICK_OPENAT(AT_FDCWD, at.path, O_RDWR | O_CLOEXEC, 0)));
	CHECK(fd >= 0 || is_short(fd), "openat: %ld", fd);
	if (fd >= 0 && !ends("close", &UNSTICK_CLOSE((int)fd), 0))
		close((int)fd);
	if (ends("pwrite", &UNSTICK_PWRITE(at.file, text, FILE_BYTES, 0), FILE_BYTES)) {
		memset(back, 1, sizeof back);
		struct unstick_request readv = UNSTICK_READV(at.file, two, 2);
		readv.offset = 0;
		CHECK(!ends("preadv", &readv, FILE_BYTES) || !memcmp(back, text, FILE_BYTES), "other bytes");
	}
	CHECK(!ends("statx", &UNSTICK_STATX(at.file, "", AT_EMPTY_PATH, STATX_SIZE, &found), 0) || found.stx_size <= FILE_BYTES,
	      "statx");
	ends("fsync", &UNSTICK_FSYNC(at.file, 1), 0);
	if (unstick_buffer_new(&buffer, FILE_BYTES) == 0) {
		struct unstick_request read = UNSTICK_PREAD(at.file, buffer, FILE_BYTES, FILE_BYTES);
		read.flags = UNSTICK_BUFFER;
		ends("pread into a buffer", &read, 0);
	}
	unstick_buffer_unref(buffer);
}

static int count_threads(void)
{
	struct stat self;
	CHECK(stat("/proc/self/task", &self) == 0, "/proc/self/task");
	return (int)self.st_nlink - 2;
}

/* One thread a kind, so that each time needs as many. */
static void use_engine(bool must_work)
{
	struct unstick_engine_options options = {.size = sizeof options, .files = 1, .blocking = 1};
	int error = unstick_engine_new(&at.engine, &options);
	CHECK(error == 0 || (!must_work && is_short(error)), "unstick_engine_new: %d", error);
	if (error)
		return;
	use_network();
	use_files();
	CHECK(unstick_engine_close(at.engine, UNSTICK_NEVER, NULL) == 0, "close");
	at.engine = unstick_engine_free(at.engine);
}

static int count_fds(void)
{
	int count = 0;
	for (int fd = 0; fd < 200; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* In a process of its own. `warm`: all has been used before, so that what fails is what each use needs; and then it may leave nothing behind. */
_Noreturn static void try_with_failure(long n, bool warm)
{
	for (int i = 0; warm && i < 2; i++)
		use_engine(true);
	int fds = count_fds();
	WAIT_UNTIL(count_threads() <= 2); /* ours, and the library's for tokens */
	allocator_watch(n);
	use_engine(false);
	bool reached = allocator_calls >= n;
	WAIT_UNTIL(count_threads() <= 2);
	allocator_rest();
	if (warm && allocator_live > 0)
		_exit(4);
	CHECK(count_fds() == fds, "%d fds more", count_fds() - fds);
	use_engine(true); /* and with memory all is well again */
	_exit(reached ? 2 : 3);
}

static void make_objects(void)
{
	snprintf(at.path, sizeof at.path, "/tmp/unstick-memory-%d", (int)getpid());
	fault_remove_later(at.path);
	at.file = open(at.path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK(at.file >= 0 && pipe2(at.pipe, O_CLOEXEC) == 0, "%s", strerror(errno));
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, at.sockets) == 0, "%s", strerror(errno));
}

static void each_fails(bool warm)
{
	long n = 0, leaks = 0; /* one more thread at the same time keeps a block more, so once is no leak */
	int status = 0;
	allocator_need();
	make_objects();
	do {
		n += leaks == 0;
		pid_t pid = fork();
		if (pid == 0)
			try_with_failure(n, warm);
		fault_waiting_for("the child with failure %ld", n);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "failure %ld: status %x", n, (unsigned)status);
		CHECK(WEXITSTATUS(status) >= 2 && WEXITSTATUS(status) <= 4, "failure %ld", n);
		leaks = WEXITSTATUS(status) == 4 ? leaks + 1 : 0;
		CHECK(leaks < 8, "failure %ld always leaves blocks behind", n);
	} while (WEXITSTATUS(status) != 3);
	fault_note("%ld allocations", n - 1);
	CHECK(n > 20, "hardly anything was allocated");
}

static void first_use(void)
{
	each_fails(false);
}

static void later_use(void)
{
	each_fails(true);
}

/* ---- without any memory */

enum { KINDS = 5 };

static void begin_each(struct unstick_op *ops[KINDS], unstick_time deadline)
{
	struct unstick_request requests[KINDS] = {UNSTICK_RECV(at.sockets[0], big, 1), UNSTICK_READ(at.pipe[0], big, 1),
	                                          UNSTICK_POLL(at.pipe[0], POLLIN), UNSTICK_TIMEOUT(unstick_after_ms(3600000)),
	                                          UNSTICK_SPLICE(at.pipe[0], 10, 0)};
	requests[4].fd2 = at.sockets[1];
	requests[4].offset2 = -1;
	for (int i = 0; i < KINDS; i++) {
		requests[i].deadline = deadline;
		ops[i] = begin("an operation", &requests[i]);
		CHECK(ops[i], "submit");
	}
}

static long in_call_count(long nr)
{
	long count = 0;
	DIR *tasks = opendir("/proc/self/task");
	CHECK(tasks != NULL, "/proc/self/task");
	for (const struct dirent *entry; (entry = readdir(tasks));)
		count += atoi(entry->d_name) > 0 && proc_in_call(0, atoi(entry->d_name), nr);
	closedir(tasks);
	return count;
}

static void cut_without_memory(bool by_deadline)
{
	struct unstick_op *ops[KINDS];
	allocator_need();
	make_objects();
	CHECK(unstick_engine_new(&at.engine, NULL) == 0, "unstick_engine_new");
	begin_each(ops, by_deadline ? unstick_after_ms(100) : 0);
	WAIT_UNTIL(in_call_count(SYS_splice) == 1 || unstick_op_result(ops[4]) != -EINPROGRESS);
	allocator_watch(-1);
	for (int i = 0; i < KINDS && !by_deadline; i++)
		CHECK(unstick_op_cancel(ops[i]) == 0, "cancel");
	for (int i = 0; i < KINDS; i++) {
		fault_waiting_for("operation %d", i);
		CHECK(unstick_op_wait(ops[i], UNSTICK_NEVER) == 0, "wait");
		long result = unstick_op_result(ops[i]);
		CHECK(result == (by_deadline ? -ETIMEDOUT : -ECANCELED), "operation %d: %ld", i, result);
		unstick_op_unref(ops[i]);
	}
	fault_waiting_for("close");
	CHECK(unstick_engine_close(at.engine, UNSTICK_NEVER, NULL) == 0, "close");
	allocator_rest();
	unstick_engine_free(at.engine);
}

static void cancel(void)
{
	cut_without_memory(false);
}

static void expire(void)
{
	cut_without_memory(true);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {35, "each allocation of an engine's first use fails once: an error or the right result, and all works afterwards",
	         first_use},
	        {35, "each allocation of a later use fails once: the same, and nothing leaks", later_use},
	        {35, "cancels of operations of each kind, and close, work without memory", cancel},
	        {35, "the deadlines of operations of each kind, and close, work without memory", expire},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
