/* SPDX-License-Identifier: MIT
 *
 * `unstick wake` ended by a signal at each of its own system calls, before the call and after it, in whichever of its threads: the
 * thread that it was about to free runs on, untraced, in its old call or with the new error, every time; and its old call still works.
 * The test traces the command, counts the stops at its system calls, and sends the signal at the n-th, for n = 1, 2, ... until the command
 * comes to its end before that.
 *
 * usage: wake_killed [SITUATION]
 *
 * The races: a signal for the thread arrives just before the command's PTRACE_INTERRUPT, so that the command finds it stopped at the
 * delivery of that signal; it must arrive, whatever becomes of the command.
 */
#include "target.h"

#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct plan {
	const char *name, *situation;
	int signo;         /* to the command */
	bool signal_first; /* a SIGUSR2 to the thread before it is interrupted */
};

static const struct plan plans[] = {
        {"read, SIGKILL at each system call", "pipe-read", SIGKILL, false},
        {"poll, SIGKILL at each system call", "poll", SIGKILL, false},
        {"nanosleep, SIGKILL at each system call", "nanosleep", SIGKILL, false},
        {"read and a signal for the thread, SIGKILL at each system call", "pipe-read", SIGKILL, true},
        {"read, SIGINT at each system call", "pipe-read", SIGINT, false},
        {"read and a signal for the thread, SIGINT at each system call", "pipe-read", SIGINT, true},
};

/* One run of the command. */
struct run {
	const struct plan *plan;
	const struct target *target;
	unsigned stops, last; /* at system calls: so far, and that at which it gets the signal */
	bool sent;            /* the thread has been sent its signal */
	bool over;
};

static pid_t start_command(const struct target *target)
{
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		if (!freopen("/dev/null", "w", stderr))
			_exit(127);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl(command_path(), command_path(), "wake", target_word(target), NULL);
		_exit(127);
	}
	return pid;
}

static bool is_about_to_interrupt(pid_t tid)
{
	struct __ptrace_syscall_info info;
	return ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY &&
	       info.entry.nr == SYS_ptrace && info.entry.args[0] == PTRACE_INTERRUPT;
}

/* The signal is on its way, or already what the thread is stopped at. */
static void send_signal(struct run *run)
{
	const struct target *target = run->target;
	run->sent = true;
	syscall(SYS_tgkill, target->pid, target->tid, SIGUSR2);
	if (!COMES_TRUE(thread_state(target->pid, target->tid) == 't'))
		point(false, run->plan->name, "the thread did not come to the delivery of its signal");
}

static void at_system_call(struct run *run, pid_t command, pid_t tid)
{
	if (run->plan->signal_first && !run->sent && is_about_to_interrupt(tid))
		send_signal(run);
	if (++run->stops == run->last)
		kill(command, run->plan->signo);
}

/* Lets the stopped thread of the command go on. */
static void go_on(struct run *run, pid_t command, pid_t tid, int status)
{
	int signo = 0;

	if (WSTOPSIG(status) == (SIGTRAP | 0x80))
		at_system_call(run, command, tid);
	else if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP)
		signo = WSTOPSIG(status);
	ptrace(run->stops < run->last ? PTRACE_SYSCALL : PTRACE_CONT, tid, NULL, (long)signo);
}

/* To its end. Whether it was sent the signal. */
static bool run_command(struct run *run)
{
	pid_t command = start_command(run->target), tid;
	int status;

	waitpid(command, &status, 0); /* the SIGTRAP of its exec */
	ptrace(PTRACE_SETOPTIONS, command, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
	ptrace(PTRACE_SYSCALL, command, NULL, NULL);
	/* Not the target, which is a child of this process too. */
	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status))
			go_on(run, command, tid, status);
		else if (tid == command)
			return run->stops >= run->last;
	}
	return false;
}

enum fate { STILL, FREED, WRONG };

/* What has become of the thread: its old call, which may show as restart_syscall, or a result that it may have. */
static enum fate fate_of(const struct run *run, long *result)
{
	const struct target *target = run->target;
	bool still = !run->sent && COMES_TRUE(thread_tracer(target->pid, target->tid) <= 0) && !target_ended(target, 0, result) &&
	             COMES_TRUE(thread_in_call(target->pid, target->tid, target->nr) ||
	                        thread_in_call(target->pid, target->tid, SYS_restart_syscall) || target_ended(target, 0, result));
	if (still && *result == 0)
		return STILL;
	if (*result == 0 && !target_ended(target, 5000, result))
		return WRONG;
	return *result == -ECANCELED || (run->sent && *result == -EINTR) ? FREED : WRONG;
}

static void check(const struct plan *plan)
{
	unsigned counts[3] = {0, 0, 0}, n;
	struct target target;
	bool alive = false, well = true;

	for (n = 1;; n++) {
		struct run run = {.plan = plan, .target = &target, .last = n};
		long result = 0;
		if (!alive && !target_start(&target, plan->situation, NULL))
			break;
		alive = true;
		bool cut = run_command(&run);
		enum fate fate = fate_of(&run, &result);
		counts[fate]++;
		if (fate == WRONG)
			printf("# at stop %u: result %ld, state %c, tracer %d\n", n, result, thread_state(target.pid, target.tid),
			       (int)thread_tracer(target.pid, target.tid));
		if (fate != STILL)
			alive = false, well = target_end(&target) && well;
		if (!cut || fate == WRONG)
			break;
	}
	if (alive)
		well = target_end(&target) && well;
	printf("# %u system call stops: %u still in the old call, %u out of it\n", n, counts[STILL], counts[FREED]);
	point(well && counts[WRONG] == 0 && counts[STILL] > 50 && counts[FREED] > 0, plan->name, "undone %d, %u wrong", well,
	      counts[WRONG]);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		if (argc < 2 || strcmp(argv[1], plans[i].situation) == 0)
			check(&plans[i]);
	}
	return points_end();
}
