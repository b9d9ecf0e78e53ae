/* SPDX-License-Identifier: MIT */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 100, SECONDS = 60, END = 0 };

struct answer {
	int error;
	char why[sizeof(((struct keeper *)0)->why)];
};

/* ---- in the keeper */

static bool has_sigkill(const char *status, const char *key)
{
	const char *line = strstr(status, key);
	return line != NULL && (strtoull(line + strlen(key), NULL, 16) >> (SIGKILL - 1) & 1) != 0;
}

/* Ended, or about to: a main thread that hangs itself cannot become a zombie, but shows the signal that is to end it. */
static bool is_ending(pid_t test)
{
	char path[40], status[4096];
	if (getppid() != test)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)test);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT && access("/proc/self", F_OK) == 0;
	ssize_t n = read(fd, status, sizeof(status) - 1);
	close(fd);
	status[n > 0 ? n : 0] = '\0';
	return n <= 0 || strstr(status, "\nState:\tZ") != NULL || strstr(status, "\nState:\tX") != NULL ||
	       has_sigkill(status, "\nSigPnd:") || has_sigkill(status, "\nShdPnd:");
}

static time_t seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void keep(const struct keeper_work *work, void *arg, int line, pid_t test)
{
	struct pollfd ready[] = {{.fd = line, .events = POLLIN}, {.fd = work->fd ? work->fd(arg) : -1, .events = POLLIN}};
	const time_t begun = seconds();
	char order;
	while (!is_ending(test) && seconds() - begun < SECONDS) {
		if (poll(ready, 2, LOOK_MS) <= 0)
			continue;
		if (ready[1].revents != 0)
			work->serve(arg);
		if (ready[0].revents == 0)
			continue;
		if (read(line, &order, 1) != 1 || order == END)
			return;
		if (work->obey != NULL)
			work->obey(arg, order);
	}
}

_Noreturn static void be_keeper(const struct keeper_work *work, void *arg, int line, pid_t test)
{
	struct answer answer = {.why = ""};
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	answer.error = work->make(arg, answer.why, sizeof(answer.why));
	bool told = send(line, &answer, sizeof(answer), MSG_NOSIGNAL) == (ssize_t)sizeof(answer);
	if (answer.error == 0 && told)
		keep(work, arg, line, test);
	if (work->undo != NULL)
		work->undo(arg);
	_exit(0);
}

/* ---- in the test */

static void reap(struct keeper *keeper)
{
	close(keeper->line);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	keeper->pid = 0;
}

int keeper_start(struct keeper *keeper, const struct keeper_work *work, void *arg)
{
	struct answer answer = {.error = -EIO, .why = "the keeper died"};
	const pid_t test = getpid();
	ssize_t n;
	int line[2];
	*keeper = (struct keeper){.pid = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) < 0 || (keeper->pid = fork()) < 0) {
		snprintf(keeper->why, sizeof(keeper->why), "no socket or process for the keeper: %s", strerror(errno));
		return -EAGAIN;
	}
	if (keeper->pid == 0) {
		close(line[0]);
		be_keeper(work, arg, line[1], test);
	}
	close(line[1]);
	keeper->line = line[0];
	do
		n = recv(keeper->line, &answer, sizeof(answer), 0);
	while (n < 0 && errno == EINTR);
	if (answer.error != 0)
		reap(keeper);
	snprintf(keeper->why, sizeof(keeper->why), "%s", answer.why);
	return answer.error;
}

void keeper_order(struct keeper *keeper, char order)
{
	ssize_t n = send(keeper->line, &order, 1, MSG_NOSIGNAL);
	(void)n; /* it may have ended, its minute being over: what it kept has come out, and shows that */
}

void keeper_end(struct keeper *keeper)
{
	if (keeper->pid <= 0)
		return;
	keeper_order(keeper, END); /* a close is not enough: a child of the test may have the socket, too */
	reap(keeper);
}

int keeper_enter_namespace(char *why, size_t size)
{
	static pid_t entered;
	if (entered == getpid())
		return 0;
	if (geteuid() != 0) {
		snprintf(why, size, "needs root, to mount");
		return -EPERM;
	}
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
		entered = getpid();
		return 0;
	}
	int error = -errno;
	snprintf(why, size, "no mount namespace: %s", strerror(errno));
	return error;
}
