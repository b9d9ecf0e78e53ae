/* SPDX-License-Identifier: MIT */
#include "suite.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <termios.h>

static struct unstick_engine *the_engine;

struct unstick_engine *engine_with(const struct unstick_engine_options *options)
{
	int error = unstick_engine_new(&the_engine, options);
	CHECK(error == 0, "unstick_engine_new: %d", error);
	return the_engine;
}

struct unstick_engine *engine(void)
{
	return the_engine ? the_engine : engine_with(NULL);
}

bool engine_is_poll(void)
{
	struct unstick_stats stats;
	CHECK(unstick_engine_stats(engine(), &stats) == 0, "stats");
	return strcmp(stats.back_end, "poll") == 0;
}

struct unstick_op *begin(const struct unstick_request *request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(engine(), request, &op);
	CHECK(error == 0 && op != NULL, "submit of opcode %u: %d", request->opcode, error);
	return op;
}

long end_of(struct unstick_op *op)
{
	int error = unstick_op_wait(op, UNSTICK_NEVER);
	CHECK(error == 0, "unstick_op_wait: %d", error);
	long result = unstick_op_result(op);
	CHECK(unstick_op_unref(op) == NULL, "unref");
	return result;
}

long run(const struct unstick_request *request)
{
	return end_of(begin(request));
}

long cancelled(struct unstick_op *op)
{
	CHECK(unstick_op_cancel(op) == 0, "cancel");
	return end_of(op);
}

/* ---- the library's threads */

/* -1: it is not asleep. Else how often it has slept. */
static long sleeps_of(pid_t tid)
{
	char status[4096];
	if (!proc_read(0, tid, "status", status, sizeof status))
		return -1;
	const char *state = strstr(status, "\nState:"), *count = strstr(status, "\nvoluntary_ctxt_switches:");
	if (!state || !count || !strchr(state, 'S') || state[8] != 'S')
		return -1;
	return strtol(strchr(count, ':') + 1, NULL, 10);
}

static long sleeps_of_all(void)
{
	long sum = 0;
	DIR *tasks = opendir("/proc/self/task");
	CHECK(tasks != NULL, "/proc/self/task");
	for (const struct dirent *entry; sum >= 0 && (entry = readdir(tasks));) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		long sleeps = tid == 0 || tid == gettid() ? 0 : sleeps_of(tid);
		sum = sleeps < 0 ? -1 : sum + sleeps;
	}
	closedir(tasks);
	return sum;
}

void settle(void)
{
	long before, now = -1;
	fault_waiting_for("the library's threads to sleep");
	do {
		before = now;
		now = sleeps_of_all();
	} while (now < 0 || now != before);
	fault_waiting_for("%s", "");
}

struct unstick_token *token_make(struct unstick_token *parent)
{
	struct unstick_token *token;
	CHECK(unstick_token_new(&token, parent) == 0, "token");
	return token;
}

void count_call(struct unstick_op *op, long result, void *argument)
{
	struct calls *calls = argument;
	atomic_store(&calls->result, result);
	atomic_store(&calls->op, op);
	atomic_store(&calls->tid, gettid());
	atomic_fetch_add(&calls->count, 1);
}

/* ---- fds */

void make_pipe(int fds[2])
{
	CHECK(pipe2(fds, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
}

void make_unix(int fds[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair: %s", strerror(errno));
}

int listen_tcp(struct sockaddr_storage *address, socklen_t *size, int backlog)
{
	struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*size = sizeof *address;
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0 && listen(fd, backlog) == 0 &&
	              getsockname(fd, (struct sockaddr *)address, size) == 0,
	      "listen: %s", strerror(errno));
	return fd;
}

void make_tcp(int fds[2])
{
	struct sockaddr_storage address;
	socklen_t size;
	int listener = listen_tcp(&address, &size, 1);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fds[1], (struct sockaddr *)&address, size) == 0, "connect: %s", strerror(errno));
	fds[0] = accept(listener, NULL, NULL);
	CHECK(fds[0] >= 0, "accept: %s", strerror(errno));
	close(listener);
}

static int bind_udp(struct sockaddr_in *address)
{
	socklen_t size = sizeof *address;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)address, size) == 0 && getsockname(fd, (struct sockaddr *)address, &size) == 0,
	      "udp: %s", strerror(errno));
	return fd;
}

void make_udp(int fds[2])
{
	struct sockaddr_in addresses[2];
	for (int i = 0; i < 2; i++)
		fds[i] = bind_udp(&addresses[i]);
	for (int i = 0; i < 2; i++)
		CHECK(connect(fds[i], (struct sockaddr *)&addresses[!i], sizeof addresses[0]) == 0, "udp connect");
}

void make_pty(int fds[2])
{
	struct termios raw;
	fds[1] = posix_openpt(O_RDWR | O_NOCTTY);
	if (fds[1] < 0 || grantpt(fds[1]) != 0 || unlockpt(fds[1]) != 0)
		fault_skip("no pseudo terminal here: %s", strerror(errno));
	fds[0] = open(ptsname(fds[1]), O_RDWR | O_NOCTTY);
	CHECK(fds[0] >= 0 && tcgetattr(fds[0], &raw) == 0, "pty: %s", strerror(errno));
	cfmakeraw(&raw);
	CHECK(tcsetattr(fds[0], TCSANOW, &raw) == 0, "raw");
}

void set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);
	CHECK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0, "F_SETFL");
}

size_t fill(int fd)
{
	static const char zeros[4096];
	size_t filled = 0;
	set_nonblock(fd, true);
	for (size_t chunk = sizeof zeros; chunk > 0; chunk /= 64)
		for (ssize_t n; (n = write(fd, zeros, chunk)) > 0;)
			filled += (size_t)n;
	CHECK(errno == EAGAIN, "fill: %s", strerror(errno));
	set_nonblock(fd, false);
	return filled;
}

void put(int fd, const char *text)
{
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write: %s", strerror(errno));
}

bool is_empty(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	return poll(&one, 1, 0) == 0;
}

void temporary_path(char *path, size_t size, const char *name)
{
	char dir[] = "/tmp/unstick-engine-XXXXXX";
	CHECK(mkdtemp(dir) != NULL, "mkdtemp: %s", strerror(errno));
	snprintf(path, size, "%s/%s", dir, name);
	fault_remove_later(path);
	fault_remove_later(dir);
}
