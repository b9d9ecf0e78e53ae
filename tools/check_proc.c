/* SPDX-License-Identifier: MIT
 *
 * Checks of `unstick doctor`: what can be seen of threads, and who may trace whom.
 */
#include "finding.h"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <unstick.h>

#include "base/stream.h"
#include "inspect/task.h"
#include "targets.h"

/* ---- a thread that is blocked, and what is seen of it */

struct sleeper {
	int fd;
	_Atomic pid_t tid;
};

static void *sleep_in_read(void *arg)
{
	struct sleeper *sleeper = arg;
	char byte;

	atomic_store(&sleeper->tid, gettid());
	return (void *)(intptr_t)read(sleeper->fd, &byte, 1);
}

/* The thread ends with the process, as all that a check begins. */
static bool look_at_sleeper(struct unstick_report *report)
{
	static struct sleeper sleeper;
	const struct timespec moment = {.tv_nsec = 1000000};
	pthread_t thread;
	int fds[2];

	if (pipe(fds) != 0)
		return false;
	sleeper.fd = fds[0];
	if (pthread_create(&thread, NULL, sleep_in_read, &sleeper) != 0)
		return false;
	for (int i = 0; i < 1000 && (!sleeper.tid || task_state(0, sleeper.tid) == 'R'); i++)
		nanosleep(&moment, NULL);
	nanosleep(&moment, NULL); /* without /proc no state is seen */
	return unstick_look(0, sleeper.tid, report) == 0;
}

void check_proc_syscall(struct finding *finding)
{
	struct unstick_report report = {.nr = -1};
	bool seen = look_at_sleeper(&report);

	if (seen && report.nr == SYS_read)
		finding_ok(finding, "a thread in read() is seen in it");
	else
		finding_set(finding, LEVEL_LIMITED, "Calls end with EINTR only; unstick ps and wake see nothing.",
		            "Mount /proc; a kernel with CONFIG_HAVE_ARCH_TRACEHOOK.", "%s",
		            seen && report.why[0] ? report.why : "there is no /proc");
}

void check_proc_wchan(struct finding *finding)
{
	struct unstick_report report = {.nr = -1};

	if (look_at_sleeper(&report) && report.wait[0])
		finding_ok(finding, "a thread in read() waits in %s", report.wait);
	else
		finding_set(finding, LEVEL_LIMITED, "Some calls are left alone, since it is not seen what they wait for.",
		            "Mount /proc; a kernel with CONFIG_KALLSYMS.", "where a thread waits is not seen");
}

void check_proc_sched(struct finding *finding)
{
	struct unstick_report report = {.blocked_ns = -1};

	if (look_at_sleeper(&report) && report.blocked_ns >= 0)
		finding_ok(finding, "since when a thread is blocked is seen");
	else
		finding_set(finding, LEVEL_LIMITED, "unstick ps and watch learn that only by looking twice.",
		            "A kernel with CONFIG_SCHED_DEBUG, or Linux 6.15.", "since when a thread is blocked is not seen");
}

/* ---- processes of others */

/* The option hidepid= of /proc; 0: none. The kernel shows numbers or, since 5.8, words. */
static bool is_hidden(void)
{
	struct stream mounts;
	char line[512];
	bool hidden = false;

	if (stream_open(&mounts, "/proc/self/mounts") < 0)
		return false;
	while (stream_line(&mounts, line, sizeof(line))) {
		const char *option = strncmp(line, "proc /proc ", 11) == 0 ? strstr(line, "hidepid=") : NULL;
		if (option)
			hidden = option[8] != '0' && strncmp(option + 8, "off", 3) != 0;
	}
	stream_close(&mounts);
	return hidden;
}

/* Processes that are there, and of them those that may not be looked into. */
struct reach {
	size_t all, closed;
	pid_t first; /* of the closed ones */
};

static void try_all(struct reach *reach)
{
	struct pid_list processes = {0};
	struct task_call call;

	*reach = (struct reach){0};
	targets_all(&processes, false);
	for (size_t i = 0; i < processes.count; i++) {
		pid_t pid = processes.at[i];
		reach->all++;
		if (task_read_call(pid, pid, &call) != -EACCES || task_state(pid, pid) == 'Z')
			continue;
		if (reach->closed++ == 0)
			reach->first = pid;
	}
	pid_list_free(&processes);
}

static const char locked[] = "A security module, or the user namespace that they are in, decides: ask there.";

/* With the right to look into, and to trace, all: have others put more in the way? */
static bool reaches_all(struct finding *finding, const char *consequence)
{
	struct reach reach;

	try_all(&reach);
	if (reach.closed == 0)
		return true;
	finding_set(finding, LEVEL_LIMITED, consequence, locked, "all but %zu (PID %d%s)", reach.closed, (int)reach.first,
	            reach.closed > 1 ? ", ..." : "");
	return false;
}

void check_others(struct finding *finding)
{
	if (has_capability(CAP_SYS_PTRACE)) {
		if (reaches_all(finding, "Of those the calls are not seen."))
			finding_ok(finding, "all processes, in full");
	} else if (is_hidden())
		finding_set(finding, LEVEL_LIMITED, "Other users' processes are not seen.",
		            "Run the command as root (CAP_SYS_PTRACE), or mount /proc without hidepid.",
		            "only your own: /proc is mounted with hidepid");
	else
		finding_set(finding, LEVEL_LIMITED, "Other users' processes are seen, but not their calls.",
		            "Run the command as root (CAP_SYS_PTRACE).", "your own, in full");
}

static int try_seize(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	int error = ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0 ? 0 : errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
	return error;
}

void check_ptrace(struct finding *finding)
{
	static const char none[] = "unstick wake and run can free nothing.";
	int scope = read_setting("/proc/sys/kernel/yama/ptrace_scope"), error = try_seize();
	bool privileged = has_capability(CAP_SYS_PTRACE);

	if (scope == 3)
		finding_set(finding, LEVEL_MISSING, none, "Set kernel.yama.ptrace_scope at boot: 3 cannot be undone.",
		            "nobody may trace: kernel.yama.ptrace_scope is 3");
	else if (scope == 2 && !privileged)
		finding_set(finding, LEVEL_MISSING, none, "Run the command as root (CAP_SYS_PTRACE).",
		            "root only: kernel.yama.ptrace_scope is 2");
	else if (error)
		finding_set(finding, LEVEL_MISSING, none, "Let seccomp filters (of a container: its profile) pass ptrace.",
		            "refused (%s)%s", strerrorname_np(error), has_filter() ? ", by a seccomp filter" : "");
	else if (scope == 1 && !privileged)
		finding_set(finding, LEVEL_LIMITED, "unstick wake can free nothing; unstick run can.",
		            "Run the command as root, or sysctl kernel.yama.ptrace_scope=0.",
		            "only children: kernel.yama.ptrace_scope is 1");
	else if (!privileged)
		finding_set(finding, LEVEL_LIMITED, "unstick wake can free nothing of other users.",
		            "Run the command as root (CAP_SYS_PTRACE).", "your own processes");
	else if (reaches_all(finding, "Of those nothing can be freed."))
		finding_ok(finding, "all processes");
}
