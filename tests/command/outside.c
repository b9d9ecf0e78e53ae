/* SPDX-License-Identifier: MIT
 *
 * See outside.h.
 */
#include "outside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUN_MS = 30000, START_MS = 20000 };

static struct {
	unsigned count, failed;
} tap;

/* ---- TAP */

bool tap_case(bool passed, const char *detail, const char *format, ...)
{
	va_list arguments;

	printf("%sok %u - ", passed ? "" : "not ", ++tap.count);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	tap.failed += !passed;
	for (const char *line = detail; !passed && line && *line; line += strcspn(line, "\n"), line += *line == '\n')
		printf("# %.*s\n", (int)strcspn(line, "\n"), line);
	fflush(stdout);
	return passed;
}

void tap_skip(const char *why, const char *format, ...)
{
	va_list arguments;

	printf("ok %u - ", ++tap.count);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf(" # SKIP %s\n", why);
	fflush(stdout);
}

int tap_end(void)
{
	printf("1..%u\n", tap.count);
	return tap.failed ? 1 : 0;
}

/* ---- a program */

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(2);
}

static const char *path_from(const char *variable)
{
	const char *path = getenv(variable);

	if (!path) {
		printf("Bail out! %s is not set: run the tests with meson test\n", variable);
		exit(2);
	}
	return path;
}

const char *command_path(void)
{
	return path_from("UNSTICK_COMMAND");
}

const char *stuck_path(void)
{
	return path_from("UNSTICK_STUCK");
}

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void become(int uid)
{
	if (uid != RAN_AS_SELF && (setgid((gid_t)uid) || setuid((uid_t)uid)))
		_exit(126);
}

/* The child has `fds` as its stdin, stdout and stderr, and ends with this process. */
static pid_t start(const char *const argv[], int uid, const int fds[3])
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	for (int i = 0; i < 3; i++) {
		if (dup2(fds[i], i) < 0)
			_exit(126);
	}
	become(uid);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execvp(argv[0], (char *const *)argv);
	_exit(127);
}

/* Reads both until both have ended, or the time is up. */
static bool drain(struct ran *ran, int out, int err)
{
	struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
	char *bufs[2] = {ran->out, ran->err};
	size_t lengths[2] = {0}, sizes[2] = {sizeof(ran->out), sizeof(ran->err)};
	long end = now_ms() + RUN_MS, left;

	while ((fds[0].fd >= 0 || fds[1].fd >= 0) && (left = end - now_ms()) > 0) {
		poll(fds, 2, (int)left);
		for (int i = 0; i < 2; i++) {
			char spill[4096];
			bool full = lengths[i] + 1 == sizes[i];
			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			ssize_t n = full ? read(fds[i].fd, spill, sizeof(spill))
			                 : read(fds[i].fd, bufs[i] + lengths[i], sizes[i] - 1 - lengths[i]);
			if (n <= 0)
				fds[i].fd = -1;
			else if (!full)
				lengths[i] += (size_t)n;
		}
	}
	ran->out[lengths[0]] = ran->err[lengths[1]] = '\0';
	return fds[0].fd < 0 && fds[1].fd < 0;
}

void run(struct ran *ret, int uid, const char *const argv[])
{
	int out[2], err[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		die("pipe");
	pid_t pid = start(argv, uid, (int[]){null, out[1], err[1]});
	close(null);
	close(out[1]);
	close(err[1]);
	bool ended = drain(ret, out[0], err[0]);
	close(out[0]);
	close(err[0]);
	if (!ended)
		kill(pid, SIGKILL);
	if (waitpid(pid, &ret->status, 0) != pid || !ended)
		ret->status = -1;
}

bool ran_exited_with(const struct ran *ran, int code)
{
	return ran->status >= 0 && WIFEXITED(ran->status) && WEXITSTATUS(ran->status) == code;
}

/* ---- a process with a stuck thread */

static bool read_line(int fd, int timeout_ms, char *line, size_t size)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	long end = now_ms() + timeout_ms, left;
	size_t length = 0;

	while ((left = end - now_ms()) > 0 && poll(&one, 1, (int)left) > 0) {
		char c;
		if (read(fd, &c, 1) != 1)
			return false;
		if (c == '\n') {
			line[length] = '\0';
			return true;
		}
		if (length + 1 < size)
			line[length++] = c;
	}
	return false;
}

bool victim_start(struct victim *victim, const char *name, int uid, char *why, size_t size)
{
	int in[2], out[2];
	char line[256], found[64];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe");
	victim->pid = start((const char *const[]){stuck_path(), name, NULL}, uid, (int[]){in[0], out[1], out[1]});
	close(in[0]);
	close(out[1]);
	victim->in = in[1];
	victim->out = out[0];
	if (read_line(victim->out, START_MS, line, sizeof(line)) && sscanf(line, "%63s %*d %d", found, &victim->tid) == 2 &&
	    strcmp(found, name) == 0)
		return true;
	snprintf(why, size, "%.100s", line);
	victim_end(victim);
	return false;
}

bool victim_says(struct victim *victim, int timeout_ms, char *line, size_t size)
{
	return read_line(victim->out, timeout_ms, line, size);
}

void victim_end(struct victim *victim)
{
	char line[256];

	close(victim->in);
	while (read_line(victim->out, START_MS, line, sizeof(line)))
		;
	close(victim->out);
	kill(victim->pid, SIGKILL); /* it has ended, or hangs */
	waitpid(victim->pid, NULL, 0);
	victim->pid = 0;
}

/* ---- looks */

static bool read_proc(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n > 0;
}

char thread_state(pid_t pid, pid_t tid)
{
	char buf[512];
	const char *at = read_proc(pid, tid, "stat", buf, sizeof(buf)) ? strrchr(buf, ')') : NULL;

	return at && at[1] ? at[2] : '?';
}

long thread_switches(pid_t pid, pid_t tid)
{
	static const char key[] = "\nvoluntary_ctxt_switches:";
	char buf[4096];
	const char *at = read_proc(pid, tid, "status", buf, sizeof(buf)) ? strstr(buf, key) : NULL;

	return at ? strtol(at + sizeof(key) - 1, NULL, 10) : -1;
}
