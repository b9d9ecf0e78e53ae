/* SPDX-License-Identifier: MIT
 *
 * Whom `unstick wake` refuses, or frees, for what only a look from outside knows: another tracer, a stopped process, a call that goes on
 * after a stop, missing rights, 32-bit calls.
 */
#include "target.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* The command says `why`; the thread has not been moved. */
static void refused(const struct target *target, const char *why, const char *name)
{
	char state = thread_state(target->pid, target->tid);
	int64_t switches = thread_switches(target->pid, target->tid);
	struct ran ran;

	command_run(&ran, "wake", target_word(target), NULL);
	point(ran.status == 1 && strstr(ran.err, why) && thread_state(target->pid, target->tid) == state &&
	              thread_switches(target->pid, target->tid) == switches,
	      name, "%d, state %c\n%s%s", ran.status, thread_state(target->pid, target->tid), ran.out, ran.err);
}

static void traced(void)
{
	struct target target;
	char by[64];

	if (!target_start(&target, "pipe-read", NULL))
		return;
	snprintf(by, sizeof(by), "traced by wake_refusals (%d)", (int)getpid());
	ptrace(PTRACE_SEIZE, target.tid, NULL, NULL);
	refused(&target, by, "another tracer is named");
	target_end(&target);
}

static void stopped(void)
{
	struct target target;

	if (!target_start(&target, "pipe-read", NULL))
		return;
	kill(target.pid, SIGSTOP);
	COMES_TRUE(thread_state(target.pid, target.tid) == 'T');
	refused(&target, "stopped", "a stopped process is left stopped");
	kill(target.pid, SIGCONT);
	target_end(&target);
}

static void continued(const char *situation, int error, const char *why, const char *name)
{
	struct target target;
	struct ran ran;
	long result = 0;

	if (!target_start(&target, situation, NULL))
		return;
	kill(target.pid, SIGSTOP);
	COMES_TRUE(thread_state(target.pid, target.tid) == 'T');
	kill(target.pid, SIGCONT);
	COMES_TRUE(thread_in_call(target.pid, target.tid, SYS_restart_syscall) && thread_state(target.pid, target.tid) == 'S');
	if (!error) {
		refused(&target, why, name);
	} else {
		command_run(&ran, "wake", target_word(&target), NULL);
		point(ran.status == 0 && target_ended(&target, 5000, &result) && result == -error, name, "%d, ended %ld\n%s%s",
		      ran.status, result, ran.out, ran.err);
	}
	kill(target.pid, SIGKILL);
	target_end(&target);
}

/* ---- rights */

static void without_rights(void)
{
	struct target target;
	struct ran ran;

	if (geteuid() != 0) {
		point_skip("an ordinary user is told what right is missing", "needs root, to become an ordinary user");
		return;
	}
	if (!target_start(&target, "pipe-read", NULL))
		return;
	pid_t pid = fork();
	if (pid == 0) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			_exit(2);
		command_run(&ran, "wake", target_word(&target), NULL);
		printf("# %s", ran.err);
		fflush(stdout);
		_exit(ran.status == 127 ? 77 : ran.status == 1 && strstr(ran.err, "CAP_SYS_PTRACE") ? 0 : 1);
	}
	int status;
	waitpid(pid, &status, 0);
	if (WEXITSTATUS(status) == 77)
		point_skip("an ordinary user is told what right is missing", "nobody may not run the build");
	else
		point(WEXITSTATUS(status) == 0 && thread_in_call(target.pid, target.tid, SYS_read),
		      "an ordinary user is told what right is missing", "status %d", WEXITSTATUS(status));
	target_end(&target);
}

/* ---- 32 bits */

/* 7 is waitpid() there, and poll() here. */
static pid_t start_int80(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		long result;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
		}
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(7), "b"(-1), "c"(0), "d"(0) : "memory", "r8", "r9", "r10", "r11");
		_exit(result == -ENOSYS ? 77 : 1);
	}
	return pid;
}

static void int80(void)
{
	const char *name = "a 32-bit call of a 64-bit program goes on";
	struct ran ran;
	pid_t pid = start_int80();
	const struct target target = {.pid = pid, .tid = pid};
	int status;

	if (!COMES_TRUE(thread_in_call(pid, pid, 7) || waitpid(pid, &status, WNOHANG) == pid) || !thread_in_call(pid, pid, 7)) {
		point_skip(name, "this kernel has no 32-bit calls");
		return;
	}
	command_run(&ran, "wake", target_word(&target), NULL);
	point(ran.status == 1 && strstr(ran.err, "32-bit") &&
	              COMES_TRUE(thread_in_call(pid, pid, 7) && thread_state(pid, pid) == 'S'),
	      name, "%d\n%s%s", ran.status, ran.out, ran.err);
	end_process(pid);
}

/* The least ELF file for i386: its header, one segment, and: pause(), again and again. */
static const unsigned char program32[] = {
        0x7f, 'E', 'L', 'F', 1,    1,    1,    0,    0,    0,    0,    0,    0,    0,    0,    0, /* 32 bits, little-endian */
        2,    0,   3,   0,   1,    0,    0,    0,    0x54, 0x80, 0x04, 0x08, 0x34, 0,    0,    0,
        0,    0,   0,   0, /* ET_EXEC, EM_386; entry; headers at 52 */
        0,    0,   0,   0,   52,   0,    32,   0,    1,    0,    0,    0,    0,    0,    0,    0,    /* one program header */
        1,    0,   0,   0,   0,    0,    0,    0,    0,    0x80, 0x04, 0x08, 0,    0x80, 0x04, 0x08, /* PT_LOAD at 0x8048000 */
        0x5d, 0,   0,   0,   0x5d, 0,    0,    0,    5,    0,    0,    0,    0,    0x10, 0,    0,    /* its 93 bytes, R + X */
        0xb8, 29,  0,   0,   0,    0xcd, 0x80, 0xeb, 0xf7, /* mov $29, %eax; int $0x80; jmp */
};

static void elf32(void)
{
	const char *name = "a 32-bit program is refused";
	int fd = memfd_create("elf32", MFD_CLOEXEC);
	char *const argv[] = {(char *)(uintptr_t) "elf32", NULL};
	struct target target = {0};
	int status;

	if (fd < 0 || write(fd, program32, sizeof(program32)) != (ssize_t)sizeof(program32)) {
		point_skip(name, "no memfd");
		return;
	}
	target.pid = target.tid = fork();
	if (target.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fexecve(fd, argv, environ);
		_exit(77);
	}
	close(fd);
	if (!COMES_TRUE(thread_in_call(target.pid, target.pid, 29) || waitpid(target.pid, &status, WNOHANG) == target.pid) ||
	    !thread_in_call(target.pid, target.pid, 29)) {
		point_skip(name, "this kernel runs no 32-bit programs");
		return;
	}
	refused(&target, "32-bit", name);
	end_process(target.pid);
}

int main(void)
{
	traced();
	stopped();
	continued("poll", ECANCELED, NULL, "poll() that was stopped and continued is freed");
	continued("nanosleep", ECANCELED, NULL, "a sleep that was stopped and continued is freed");
	continued("futex-wait-timed", 0, "a lock", "a futex that was stopped and continued is refused");
	without_rights();
	int80();
	elf32();
	return points_end();
}
