/* SPDX-License-Identifier: MIT
 *
 * See target.h.
 */
#include "target.h"

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
#include <unistd.h>

enum { MAX_ARGUMENTS = 15 };

static _Noreturn void give_up(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static const char *program(const char *variable)
{
	const char *path = getenv(variable);
	if (!path)
		give_up(variable);
	return path;
}

const char *command_path(void)
{
	return program("UNSTICK_COMMAND");
}

int user = USER_SELF;

/* In a child, before it executes. */
static void become_user(void)
{
	if (user != USER_SELF && (setgid((gid_t)user) || setuid((uid_t)user)))
		_exit(126);
}

void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

/* ---- running the command */

static size_t fill(int fd, char *buf, size_t size, size_t used)
{
	ssize_t n = read(fd, buf + used, size - 1 - used);
	if (n <= 0 || used + (size_t)n >= size - 1)
		return SIZE_MAX;
	buf[used + (size_t)n] = '\0';
	return used + (size_t)n;
}

/* What both ends give, until both are closed. */
static void collect(int out, int err, struct ran *ran)
{
	struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
	char *const bufs[2] = {ran->out, ran->err};
	size_t used[2] = {0, 0};

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 2, -1) < 0)
			continue;
		for (int i = 0; i < 2; i++) {
			if (fds[i].revents && (used[i] = fill(fds[i].fd, bufs[i], sizeof(ran->out), used[i])) == SIZE_MAX)
				fds[i].fd = -1;
		}
	}
}

void command_run(struct ran *ran, const char *first, ...)
{
	char *argv[MAX_ARGUMENTS + 2] = {(char *)(uintptr_t)command_path(), (char *)(uintptr_t)first};
	int out[2], err[2], status;
	va_list rest;

	va_start(rest, first);
	for (int i = 2; i <= MAX_ARGUMENTS && (argv[i] = va_arg(rest, char *)); i++)
		;
	va_end(rest);
	*ran = (struct ran){0};
	if (pipe(out) || pipe(err))
		give_up("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		close(out[0]), close(out[1]), close(err[0]), close(err[1]);
		become_user();
		execv(argv[0], argv);
		_exit(127);
	}
	close(out[1]), close(err[1]);
	collect(out[0], err[0], ran);
	close(out[0]), close(err[0]);
	if (waitpid(pid, &status, 0) != pid)
		give_up("waitpid");
	ran->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- targets */

/* One line without its newline; false when there is none within that time. */
static bool read_line(int fd, int timeout_ms, char *line, size_t size)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};

	for (size_t used = 0; used < size; used++) {
		if (poll(&one, 1, timeout_ms) != 1 || read(fd, line + used, 1) != 1)
			return false;
		if (line[used] == '\n') {
			line[used] = '\0';
			return true;
		}
	}
	return false;
}

bool target_start(struct target *target, const char *name, const char *way)
{
	const char *path = program("STUCK_PROGRAM");
	int in[2], out[2];
	char line[128];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		give_up("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		become_user();
		execl(path, "stuck", way ? way : name, way ? name : NULL, NULL);
		_exit(127);
	}
	close(in[0]), close(out[1]);
	*target = (struct target){.pid = pid, .in = in[1], .out = out[0]};
	if (read_line(out[0], 30000, line, sizeof(line)) &&
	    sscanf(line, "%*s %d %d %ld", &target->pid, &target->tid, &target->nr) == 3)
		return true;
	target_end(target);
	return false;
}

bool target_ended(const struct target *target, int timeout_ms, long *result)
{
	char line[64];

	return read_line(target->out, timeout_ms, line, sizeof(line)) && sscanf(line, "ended %ld", result) == 1;
}

bool target_end(struct target *target)
{
	int status;

	close(target->in);
	bool reaped = waitpid(target->pid, &status, 0) == target->pid;
	close(target->out);
	return reaped && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

const char *target_word(const struct target *target)
{
	static char word[32];
	snprintf(word, sizeof(word), "%d/%d", (int)target->pid, (int)target->tid);
	return word;
}

/* ---- /proc */

static bool read_proc(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
	char path[64];
	FILE *stream;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, file);
	stream = fopen(path, "re");
	if (!stream)
		return false;
	buf[fread(buf, 1, size - 1, stream)] = '\0';
	fclose(stream);
	return buf[0] != '\0';
}

char thread_state(pid_t pid, pid_t tid)
{
	char text[1024], *name_end;
	if (!read_proc(pid, tid, "stat", text, sizeof(text)) || !(name_end = strrchr(text, ')')))
		return '?';
	return name_end[2];
}

bool thread_in_call(pid_t pid, pid_t tid, long nr)
{
	char text[256], begin[24];
	snprintf(begin, sizeof(begin), "%ld ", nr);
	return read_proc(pid, tid, "syscall", text, sizeof(text)) && strncmp(text, begin, strlen(begin)) == 0;
}

static long status_number(pid_t pid, pid_t tid, const char *key)
{
	char text[4096], *at;
	if (!read_proc(pid, tid, "status", text, sizeof(text)) || !(at = strstr(text, key)))
		return -1;
	return strtol(at + strlen(key), NULL, 10);
}

int64_t thread_switches(pid_t pid, pid_t tid)
{
	return status_number(pid, tid, "\nvoluntary_ctxt_switches:");
}

pid_t thread_tracer(pid_t pid, pid_t tid)
{
	return (pid_t)status_number(pid, tid, "\nTracerPid:");
}

/* ---- TAP */

static unsigned number, failures;

void point(bool ok, const char *name, const char *format, ...)
{
	va_list arguments;
	printf("%sok %u - %s\n", ok ? "" : "not ", ++number, name);
	failures += !ok;
	if (!ok) {
		char text[8192], *line, *rest = text;
		va_start(arguments, format);
		vsnprintf(text, sizeof(text), format, arguments);
		va_end(arguments);
		while ((line = strsep(&rest, "\n")))
			printf("# %s\n", line);
	}
	fflush(stdout);
}

void point_skip(const char *name, const char *why)
{
	printf("ok %u - %s # SKIP %s\n", ++number, name, why);
	fflush(stdout);
}

int points_end(void)
{
	printf("1..%u\n", number);
	return failures ? 1 : 0;
}
