/* SPDX-License-Identifier: MIT
 *
 * A helper that answers rubbish, or not at all: the request says so, the helper is killed, nothing of what it said is taken, and the next
 * one is served by another.
 */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "isolated.h"

static char bytes[8192], link_path[96];

static void start_with(const char *lie)
{
	char self[128], target[160];
	log_keep();
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CHECK(n > 0, "/proc/self/exe");
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(target, sizeof target, "%s/helper_fake", self);
	char name[40];
	snprintf(name, sizeof name, "lie=%s", lie);
	temporary_path(link_path, sizeof link_path, name);
	CHECK(symlink(target, link_path) == 0, "symlink: %s", strerror(errno));
	CHECK(setenv("UNSTICK_HELPER", link_path, 1) == 0, "setenv");
}

static struct unstick_request an_open(void)
{
	return isolated(UNSTICK_OPENAT(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0));
}

static struct unstick_request request_on(int handle, const char *lie)
{
	if (!strcmp(lie, "entries"))
		return UNSTICK_READDIR(handle, bytes, sizeof bytes);
	return UNSTICK_READ(handle, bytes, sizeof bytes);
}

static void wait_for_end(pid_t pid)
{
	WAIT_UNTIL(process_is_gone(pid));
}

/* What comes after a good open. */
static void lies_about(const char *lie, long expected)
{
	start_with(lie);
	struct unstick_request open = an_open();
	long handle = run(&open);
	CHECK(handle >= UNSTICK_HANDLE_BASE, "the open: %ld: %s", handle, log_find("helper"));
	pid_t pid = helper_pid();
	struct unstick_request request = request_on((int)handle, lie);
	long result = run(&request);
	if (!strcmp(lie, "twice"))
		result = run(&request);
	CHECK(result == expected, "%s: %ld in place of %ld", lie, result, expected);
	wait_for_end(pid);
	CHECK(run(&request) == -ESTALE && run(&UNSTICK_CLOSE((int)handle)) == 0, "its handle afterwards");
	CHECK(run(&request) == -EBADF, "and closed");
	CHECK(log_find(expected == -EPROTO ? "has sent what is no reply" : "has ended"), "no line says so");
	unsetenv("UNSTICK_HELPER");
	CHECK(setenv("UNSTICK_HELPER", getenv("UNSTICK_HELPER_TRUE"), 1) == 0, "setenv");
	long good = run(&open);
	CHECK(good >= UNSTICK_HANDLE_BASE && run(&UNSTICK_WRITE((int)good, bytes, 1)) == 1, "the next one: %ld", good);
}

static void refuses_start(const char *lie, long expected)
{
	start_with(lie);
	unsigned fds = (settle(), run(&UNSTICK_NOP()), fds_count(0));
	CHECK(refused(an_open()) == expected, "%s", log_find("helper"));
	CHECK(log_find("did not get ready"), "no line says so: %s", log_find("helper"));
	WAIT_UNTIL((stats_now().helpers == 0 && fds_count(0) == fds));
	CHECK(setenv("UNSTICK_HELPER", getenv("UNSTICK_HELPER_TRUE"), 1) == 0, "setenv");
	struct unstick_request open = an_open();
	CHECK(run(&open) >= UNSTICK_HANDLE_BASE, "the next one");
}

static void open_with_an_fd_number(void)
{
	start_with("at-once");
	struct unstick_request open = an_open();
	CHECK(run(&open) == -EPROTO, "a number that is no answer");
}

/* A read that is told to go on with a part of a part: it does not. */
static void goes_on(void)
{
	start_with("goes-on");
	struct unstick_request open = an_open();
	long handle = run(&open);
	long result = run_within(UNSTICK_READ((int)handle, bytes, sizeof bytes), 5000);
	CHECK(result >= 1 && result <= (long)sizeof bytes, "read: %ld", result);
}

/* ---- a start that is cut short while another thread waits for it */

static void *submit_in_scope(void *token)
{
	struct unstick_scope scope;
	CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	CHECK(refused(an_open()) == -ECANCELED, "the start was not cut short");
	CHECK(unstick_scope_end(&scope) == -ECANCELED, "unstick_scope_end");
	return NULL;
}

static _Atomic pid_t waiter;

static void *submit_uncut(void *unused)
{
	atomic_store(&waiter, gettid());
	struct unstick_request open = an_open();
	CHECK(run(&open) >= UNSTICK_HANDLE_BASE, "it was told of another's cut");
	return unused;
}

static void cut_start(void)
{
	pthread_t first, second;
	struct unstick_token *token = token_make(NULL);
	start_with("no-hello");
	CHECK(run(&UNSTICK_NOP()) == 0, "the engine");
	CHECK(pthread_create(&first, NULL, submit_in_scope, token) == 0, "pthread_create");
	WAIT_UNTIL(stats_now().helpers == 1);
	CHECK(pthread_create(&second, NULL, submit_uncut, NULL) == 0, "pthread_create");
	WAIT_UNTIL(waiter && proc_in_call(getpid(), waiter, SYS_futex));
	CHECK(setenv("UNSTICK_HELPER", getenv("UNSTICK_HELPER_TRUE"), 1) == 0, "setenv");
	unstick_token_cancel(token);
	pthread_join(first, NULL);
	pthread_join(second, NULL);
}

/* Whether it is found to have ended by the look at its rights, or by the first request, is a matter of luck. */
static void ends_when_ready(void)
{
	enum { STARTS = 100 };
	start_with("hello-and-exits");
	for (int i = 0; i < STARTS; i++) {
		struct unstick_op *op;
		struct unstick_request open = an_open();
		int error = unstick_engine_submit(engine(), &open, &op);
		CHECK(error == 0 || error == -EPROTO || error == -EAGAIN, "%d: %s", error, log_find("refused"));
		if (error == 0)
			(void)end_of(op);
	}
	CHECK(setenv("UNSTICK_HELPER", getenv("UNSTICK_HELPER_TRUE"), 1) == 0, "setenv");
	struct unstick_request open = an_open();
	CHECK(run(&open) >= UNSTICK_HANDLE_BASE, "%s", log_find("refused"));
}

#define LIES(X)                              \
	X(short, "short", -EPROTO)           \
	X(empty, "empty", -EPROTO)           \
	X(long, "long", -EPROTO)             \
	X(id, "id", -EPROTO)                 \
	X(version, "version", -EPROTO)       \
	X(flags, "flags", -EPROTO)           \
	X(count, "count", -EPROTO)           \
	X(huge, "huge", -EPROTO)             \
	X(errno, "errno", -EPROTO)           \
	X(fd, "fd", -EPROTO)                 \
	X(twice, "twice", -EPROTO)           \
	X(entries, "entries", -EPROTO)       \
	X(hangs_up, "hangs-up", -ECONNRESET) \
	X(dies, "dies", -ECONNRESET)
#define STARTS(X)                            \
	X(version, "hello-version", -EPROTO) \
	X(id, "hello-id", -EPROTO)           \
	X(short, "hello-short", -EPROTO)     \
	X(error, "hello-error", -ENOSYS)     \
	X(exits, "exits", -EPROTO)           \
	X(no_hello, "no-hello", -EPROTO)

#define LIE(name, lie, error)           \
	static void lie_##name##_(void) \
	{                               \
		lies_about(lie, error); \
	}
#define START(name, lie, error)            \
	static void start_##name##_(void)  \
	{                                  \
		refuses_start(lie, error); \
	}
LIES(LIE)
STARTS(START)

static struct fault cases[] = {
#define LIE_CASE(name, lie, error) {0, "a reply that lies: " lie, lie_##name##_},
#define START_CASE(name, lie, error) {0, "a start that lies: " lie, start_##name##_},
        LIES(LIE_CASE) STARTS(START_CASE){0, "a reply to an open with a number that would be an fd", open_with_an_fd_number},
        {0, "a read that is told to go on for ever ends", goes_on},
        {0, "a start that is cut short is no error of another thread that waits for it", cut_start},
        {0, "a helper that ends as soon as it is ready is not taken for one with other rights", ends_when_ready},
};

int main(int argc, char **argv)
{
	const size_t count = sizeof cases / sizeof cases[0];
	for (size_t i = 0; i < count; i++)
		cases[i].number = (int)i + 1;
	setenv("UNSTICK_HELPER_TRUE", getenv("UNSTICK_HELPER") ? getenv("UNSTICK_HELPER") : "", 1);
	return fault_main(argc, argv, cases, count);
}
