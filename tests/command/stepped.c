/* SPDX-License-Identifier: MIT
 *
 * See stepped.h.
 */
#include "target.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stepped.h"

enum { AT_SYSTEM_CALL = SIGTRAP | 0x80 };

static pid_t start_command(const char *word)
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		setpgid(0, 0);
		signal(SIGINT, SIG_DFL);                     /* a shell's background has it ignored */
		setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* a traced process cannot look for leaks */
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(command_path(), command_path(), "wake", word, NULL);
		_exit(127);
	}
	return pid;
}

static void describe(struct step *step)
{
	struct __ptrace_syscall_info info;

	step->entry = ptrace(PTRACE_GET_SYSCALL_INFO, step->tid, sizeof(info), &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY;
	step->nr = step->entry ? info.entry.nr : 0;
	step->first = step->entry ? info.entry.args[0] : 0;
	step->number++;
}

/* The signal that the thread is to be given. */
static int signal_of(int status)
{
	int signo = WSTOPSIG(status);
	return status >> 16 != 0 || signo == AT_SYSTEM_CALL || signo == SIGTRAP || signo == SIGSTOP ? 0 : signo;
}

int command_stepped(const char *word, void (*at)(void *arg, const struct step *step), void *arg)
{
	struct step step = {.command = start_command(word)};
	int status;

	waitpid(step.command, &status, 0); /* the SIGTRAP of its exec */
	ptrace(PTRACE_SETOPTIONS, step.command, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
	ptrace(PTRACE_SYSCALL, step.command, NULL, NULL);
	/* By its process group: the caller has other children. */
	while ((step.tid = waitpid(-step.command, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (step.tid == step.command)
				break;
			continue;
		}
		if (WSTOPSIG(status) == AT_SYSTEM_CALL) {
			describe(&step);
			at(arg, &step);
		}
		ptrace(PTRACE_SYSCALL, step.tid, NULL, (long)signal_of(status));
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
