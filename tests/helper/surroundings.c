/* SPDX-License-Identifier: MIT
 *
 * What an application does around a helper without knowing of it: waits for any child, ignores SIGCHLD, ends the thread that started it,
 * forks, has no fds left, has no helper installed.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "isolated.h"

static struct unstick_request open_null(void)
{
	return isolated(UNSTICK_OPENAT(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0));
}

static int handle_of_null(void)
{
	struct unstick_request request = open_null();
	long handle = run(&request);
	CHECK(handle >= UNSTICK_HANDLE_BASE, "open: %ld", handle);
	return (int)handle;
}

static void use(int handle)
{
	CHECK(run(&UNSTICK_WRITE(handle, "x", 1)) == 1, "write");
}

static void kill_and_go_on(void)
{
	pid_t pid = helper_pid();
	CHECK(kill(pid, SIGKILL) == 0, "kill");
	struct unstick_request request = open_null();
	long handle = run(&request);
	while (handle == -ECONNRESET) /* it reached the one that was dying */
		handle = run(&request);
	CHECK(handle >= UNSTICK_HANDLE_BASE && helper_pid() != pid, "another one: %ld", handle);
	WAIT_UNTIL(process_is_gone(pid));
	use((int)handle);
}

/* ---- children */

static _Atomic bool ends;
static _Atomic unsigned seen, no_child;

static void *wait_for_any(void *unused)
{
	while (!atomic_load(&ends)) {
		pid_t pid = waitpid(-1, NULL, 0);
		atomic_fetch_add(&seen, pid > 0);
		atomic_fetch_add(&no_child, pid < 0 && errno == ECHILD);
		fault_pause();
	}
	return unused;
}

static void any_child(void)
{
	pthread_t thread;
	log_keep();
	CHECK(pthread_create(&thread, NULL, wait_for_any, NULL) == 0, "pthread_create");
	use(handle_of_null());
	kill_and_go_on();
	WAIT_UNTIL(no_child > 2);
	atomic_store(&ends, true);
	pthread_join(thread, NULL);
	CHECK(seen == 0, "%u children were seen", seen);
}

static void ignored_sigchld(void)
{
	log_keep();
	signal(SIGCHLD, SIG_IGN);
	use(handle_of_null());
	kill_and_go_on();
}

static _Atomic unsigned told;

static void count_sigchld(int sig)
{
	(void)sig;
	atomic_fetch_add(&told, 1);
}

static void no_sigchld(void)
{
	log_keep();
	signal(SIGCHLD, count_sigchld);
	use(handle_of_null());
	kill_and_go_on();
	CHECK(told == 0, "%u SIGCHLDs", told);
}

/* ---- threads and forks */

static void *start_and_end(void *handle)
{
	*(int *)handle = handle_of_null();
	return NULL;
}

static void starter_ends(void)
{
	pthread_t thread;
	int handle = 0;
	log_keep();
	CHECK(pthread_create(&thread, NULL, start_and_end, &handle) == 0 && pthread_join(thread, NULL) == 0, "a thread");
	use(handle);
	CHECK(!process_is_gone(helper_pid()), "it has ended with its thread");
	use(handle);
}

static int in_child(int handle, pid_t parents)
{
	struct unstick_engine *own;
	struct unstick_op *op;
	struct unstick_request write = UNSTICK_WRITE(handle, "x", 1), open = open_null();
	if (unstick_engine_new(&own, NULL))
		return 1;
	int error = unstick_engine_submit(own, &write, &op);
	if (!error) {
		if (unstick_op_wait(op, UNSTICK_NEVER))
			return 2;
		error = (int)unstick_op_result(op);
	}
	if (error != -ESTALE && error != -EOWNERDEAD && error != -EBADF)
		return 3;
	if (unstick_engine_submit(own, &open, &op) || unstick_op_wait(op, UNSTICK_NEVER))
		return 4;
	if (unstick_op_result(op) < UNSTICK_HANDLE_BASE)
		return 5;
	return helper_pid() == parents ? 6 : 0;
}

static void forks(void)
{
	int status;
	log_keep();
	int handle = handle_of_null();
	use(handle);
	pid_t helper = helper_pid(), pid = fork();
	if (pid == 0)
		_exit(in_child(handle, helper));
	WAIT_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "in the child: %#x", status);
	use(handle);
	CHECK(helper_pid() == helper && !process_is_gone(helper), "the parent's goes on");
}

/* A program that is started gets no fd of ours. */
static void execs(void)
{
	int status, pair[2];
	char text[4096] = "";
	log_keep();
	use(handle_of_null());
	CHECK(pipe(pair) == 0, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(pair[1], 1);
		close(pair[0]);
		close(pair[1]);
		execl("/bin/sh", "sh", "-c", "ls -l /proc/$$/fd", NULL);
		_exit(1);
	}
	close(pair[1]);
	for (ssize_t n, at = 0; (n = read(pair[0], text + at, sizeof text - 1 - (size_t)at)) > 0;)
		at += n;
	WAIT_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "ls");
	CHECK(!strstr(text, "socket:") && !strstr(text, "memfd"), "it has: %s", text);
}

/* ---- what is missing */

static void no_program(void)
{
	log_keep();
	setenv("UNSTICK_HELPER", "/nonexistent/helper", 1);
	CHECK(refused(open_null()) == -ENOENT, "not -ENOENT");
	const char *line = log_find("was not started");
	CHECK(line && strstr(line, "/nonexistent/helper") && strstr(line, "set UNSTICK_HELPER"), "%s", line ? line : "no line");
	CHECK(run(&UNSTICK_NOP()) == 0, "the engine goes on");
}

static void no_right_to_run(void)
{
	char path[96];
	log_keep();
	temporary_path(path, sizeof path, "helper");
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && close(fd) == 0, "%s", path);
	setenv("UNSTICK_HELPER", path, 1);
	CHECK(refused(open_null()) == -EACCES, "not -EACCES");
	CHECK(log_find("was not started"), "no line");
}

static void another_program(void)
{
	log_keep();
	setenv("UNSTICK_HELPER", "/bin/true", 1);
	CHECK(refused(open_null()) == -EPROTO, "not -EPROTO");
	CHECK(log_find("did not get ready"), "no line");
}

static void no_fds(void)
{
	rlim_t all = all_fds();
	log_keep();
	CHECK(run(&UNSTICK_NOP()) == 0, "a NOP");
	settle();
	unsigned fds = fds_count(0);
	limit_fds(fds + 12);
	CHECK(refused(open_null()) == -EMFILE, "not -EMFILE");
	CHECK(log_find("sockets and memory could not be made"), "no line");
	limit_fds(all);
	CHECK(fds_count(0) == fds, "%u fds, %u before", fds_count(0), fds);
	use(handle_of_null());
}

/* Each number of fds from none up, until there are enough: rights that could not be read are not taken for others. */
static void short_of_fds(void)
{
	struct unstick_request request = open_null();
	struct unstick_op *op = NULL;
	int error = -EMFILE;
	rlim_t all = all_fds();
	log_keep();
	CHECK(run(&UNSTICK_NOP()) == 0, "a NOP");
	settle();
	for (rlim_t most = next_fd(); error; most++) {
		limit_fds(most);
		error = unstick_engine_submit(engine(), &request, &op);
		limit_fds(all);
		CHECK(error == 0 || error == -EMFILE, "with %lu fds: %d: %s", (unsigned long)most, error, log_find("helper"));
	}
	long handle = end_of(op);
	CHECK(handle >= UNSTICK_HANDLE_BASE, "open: %ld", handle);
	CHECK(log_find("rights cannot be read from /proc: Too many open files"), "no line");
	use((int)handle);
}

/* The second one was taken when there was a helper, waits for the thread that the first one has, and is to start another helper. */
static void no_fds_for_the_next(void)
{
	const struct unstick_engine_options options = {.size = sizeof options, .blocking = 1};
	rlim_t all = all_fds();
	struct statx status;
	char path[96];
	log_keep();
	engine_with(&options);
	temporary_path(path, sizeof path, "fifo");
	CHECK(mkfifo(path, 0600) == 0, "mkfifo");
	struct unstick_request first = isolated(UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
	struct unstick_request second = isolated(UNSTICK_STATX(AT_FDCWD, "/", 0, STATX_BASIC_STATS, &status));
	struct unstick_op *hangs = begin(&first);
	settle();
	struct unstick_op *waits = begin(&second);
	limit_fds(fds_count(0) + 12);
	CHECK(kill(helper_pid(), SIGKILL) == 0, "kill");
	long result = end_of(hangs), next = end_of(waits);
	CHECK(result == -ECONNRESET && next == -EMFILE, "%ld, %ld", result, next);
	limit_fds(all);
	use(handle_of_null());
}

/* The helper's limit is the hard one of the process that starts it. */
static void no_fds_in_the_helper(void)
{
	struct rlimit limit;
	int handles[80];
	unsigned count = 0;
	long handle;
	log_keep();
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = limit.rlim_max = 64;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0 && chdir("/") == 0, "setrlimit");
	while (count < 80 && (handle = run_isolated(open_null())) >= UNSTICK_HANDLE_BASE)
		handles[count++] = (int)handle;
	CHECK(count > 20 && count < 80 && handle == -EMFILE, "after %u handles: %ld", count, handle);
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "nothing", 0)) == -EMFILE, "a request that an fd comes with");
	use(handles[0]);
	CHECK(run(&UNSTICK_CLOSE(handles[1])) == 0, "close");
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "nothing", 0)) == -ENOENT, "with room for one fd");
	CHECK(run_isolated(UNSTICK_RENAMEAT(AT_FDCWD, "nothing", AT_FDCWD, "other", 0)) == -EMFILE, "and of two");
	CHECK(run_isolated(open_null()) >= UNSTICK_HANDLE_BASE, "the room is there still");
	CHECK(log_count("started") == 1, "the helper has gone on");
}

static bool has_reader(int writer)
{
	struct pollfd fd = {.fd = writer, .events = POLLOUT};
	return poll(&fd, 1, 0) >= 0 && !(fd.revents & POLLERR);
}

/* The application asks for nothing more. */
static void late_open(void)
{
	char path[96];
	temporary_path(path, sizeof path, "fifo");
	CHECK(mkfifo(path, 0600) == 0, "mkfifo");
	struct unstick_request request = isolated(UNSTICK_OPENAT(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0));
	struct unstick_op *op = begin(&request);
	settle();
	CHECK(cancelled(op) == -ECANCELED, "the open");
	int writer;
	WAIT_UNTIL((writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0);
	WAIT_UNTIL(!has_reader(writer));
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "an application that waits for any child never sees it", any_child},
	        {2, "an ignored SIGCHLD does not disturb it", ignored_sigchld},
	        {3, "no SIGCHLD tells of its end", no_sigchld},
	        {4, "it outlives the thread that started it", starter_ends},
	        {5, "in a forked child its handles are stale, another helper can be had, the parent's goes on", forks},
	        {6, "programs that are started get none of its fds", execs},
	        {7, "no program: -ENOENT, and a line that names it", no_program},
	        {8, "a program that may not be run: -EACCES", no_right_to_run},
	        {9, "a program that is no helper: -EPROTO", another_program},
	        {10, "no fds left: -EMFILE, none leaks, later it works", no_fds},
	        {11, "no fds left for one in the place of one that has ended: -EMFILE", no_fds_for_the_next},
	        {12, "however few fds there are: -EMFILE, until there are enough", short_of_fds},
	        {13, "no fds left in the helper: -EMFILE, and it goes on", no_fds_in_the_helper},
	        {14, "a file whose open came to something late is closed", late_open},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
