/* SPDX-License-Identifier: MIT
 *
 * See child.h.
 */
#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "command.h"
#include "course.h"

/* What the command is to have as this process had it. */
struct inherited {
	sigset_t mask;
	struct sigaction pipe, child, ttin, ttou;
};

static void ignore(int signal, struct sigaction *before)
{
	const struct sigaction action = {.sa_handler = SIG_IGN};
	sigaction(signal, &action, before);
}

/* A message to a closed pipe or, from the background, to a terminal must not end or stop this process. With SIGCHLD ignored there
 * would be no status. */
static void change_dispositions(struct inherited *inherited)
{
	const struct sigaction action = {.sa_handler = SIG_DFL};

	ignore(SIGPIPE, &inherited->pipe);
	ignore(SIGTTIN, &inherited->ttin);
	ignore(SIGTTOU, &inherited->ttou);
	sigaction(SIGCHLD, &action, &inherited->child);
}

static void restore(const struct inherited *inherited)
{
	sigaction(SIGPIPE, &inherited->pipe, NULL);
	sigaction(SIGTTIN, &inherited->ttin, NULL);
	sigaction(SIGTTOU, &inherited->ttou, NULL);
	sigaction(SIGCHLD, &inherited->child, NULL);
	sigprocmask(SIG_SETMASK, &inherited->mask, NULL);
}

/* One that is ignored is not passed on: the command ignores it as well. */
static int open_signals(int chosen, sigset_t *before)
{
	const int passed[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, chosen};
	struct sigaction now;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
		if (sigaction(passed[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, passed[i]);
	sigprocmask(SIG_BLOCK, &set, before);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static _Noreturn void become(char **argv, const struct inherited *inherited)
{
	restore(inherited);
	execvp(argv[0], argv);
	int error = errno;
	complain("%s: cannot be run: %s%s", argv[0], strerrordesc_np(error),
	         error == ENOENT ? ": look at its name and at PATH" : "");
	_exit(error == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_RUNNABLE);
}

bool child_start(struct child *child, char **argv, int chosen)
{
	struct inherited inherited;

	change_dispositions(&inherited);
	child->signals = open_signals(chosen, &inherited.mask);
	fflush(NULL);
	child->pid = fork();
	if (child->pid == 0)
		become(argv, &inherited);
	child->pidfd = child->pid > 0 ? pidfd_open(child->pid, 0) : -1;
	if (child->pidfd >= 0 && child->signals >= 0)
		return true;
	complain("%s: was not started: %s", argv[0], strerrordesc_np(errno));
	if (child->pid > 0)
		kill(child->pid, SIGKILL);
	return false;
}

/* The shell that started us is to see what it would have seen of the command, but a second core file is of no use. */
void child_end_likewise(int signal)
{
	const struct rlimit none = {0, 0};
	const struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t set;

	if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0)
		return;
	sigaction(signal, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	raise(signal);
}
