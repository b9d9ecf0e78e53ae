/* SPDX-License-Identifier: MIT
 *
 * See tracer.h. The course of an attempt, and why its being cut off at any point, by SIGKILL too, does no harm:
 *
 *     SEIZE            stops nothing and wakes nobody. From here on the end of the tracing thread makes the kernel detach.
 *     look again       the call that was seen before is still the one, and may still be ended: else nothing is stopped.
 *     INTERRUPT        the kernel takes the thread out of its call up to the point where signals are handled, and holds it there. Its
 *                      registers say "restart" (or EINTR, where the kernel never restarts): let go here, it restarts the call.
 *     waitid, WNOWAIT  The stop may instead be that of a signal which came first. WNOWAIT leaves its number with the thread, so that
 *                      the kernel delivers it should the tracer die; a wait that consumed it would lose the signal.
 *     read registers   changes nothing.
 *     POKEUSER rax     one word, so there is no half of it: before it the thread would restart its call, after it return the errno.
 *                      orig_rax need not be changed: the kernel restarts only where rax says so, and no errno does.
 *     DETACH           hands on the signal, if that was the stop.
 *
 * Invariants: only a call that was interrupted gets the errno: the registers show the same number, arguments, stack and instruction
 * as the look, and a result that means "interrupted". A result >= 0 or another error is what the call came to, and stays.
 * Each attempt has a thread of its own: a tracee that does not come to a stop cannot be detached, but the end of its tracer does it.
 * That thread's blocking calls (seizing waits for an exec of the process) are under a deadline, by a scope of this very library.
 * What it does not do: protect the target from a SIGSTOP sent to the command within the pause, which lasts until SIGCONT then.
 */
#include "tracer.h"

#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/stream.h"
#include "inspect/task.h"
#include "rights.h"
#include "wake/report.h"

enum {
	PATIENCE_MS = 1000,
	LAST_ERRNO = 4095,
	USER_CS = 0x33, /* of 64-bit code: __USER_CS in arch/x86/include/asm/segment.h */
};

/* Kernel-internal results of an interrupted call, seen by tracers only: include/linux/errno.h. */
enum {
	ERESTARTSYS = 512,
	ERESTARTNOINTR = 513,
	ERESTARTNOHAND = 514,
	ERESTART_RESTARTBLOCK = 516,
};

struct attempt {
	const struct unstick_report *seen;
	int error;
	bool by_syscall; /* the instruction that made the call is known to be a 64-bit program's */
	struct trace *trace;
};

static void conclude(struct attempt *attempt, int kind, const char *why)
{
	attempt->trace->kind = kind;
	snprintf(attempt->trace->why, sizeof(attempt->trace->why), "%s", why);
}

/* ---- who else, and what rights */

pid_t tracer_of(pid_t pid, pid_t tid)
{
	char path[64], text[2048];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)tid);
	if (file_read(path, text, sizeof(text)) <= 0)
		return 0;
	line = strstr(text, "\nTracerPid:");
	return line ? (pid_t)strtol(line + strlen("\nTracerPid:"), NULL, 10) : 0;
}

void tracer_complain(pid_t tracer, char *buf, size_t size)
{
	char name[16] = "?";

	task_name(tracer, tracer, name);
	snprintf(buf, size, "traced by %s (%d): a thread has one tracer at a time: end that one first", name, (int)tracer);
}

static void explain_no_right(struct attempt *attempt)
{
	pid_t tracer = tracer_of(attempt->seen->pid, attempt->seen->tid);
	char scope[8];

	attempt->trace->kind = UNSTICK_NOT_INSPECTABLE;
	snprintf(attempt->trace->why, sizeof(attempt->trace->why), "no right to trace it: %s", rights_remedy());
	if (tracer > 0)
		tracer_complain(tracer, attempt->trace->why, sizeof(attempt->trace->why));
	else if (file_read("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope)) > 0 && scope[0] != '0' && geteuid() != 0)
		snprintf(attempt->trace->why, sizeof(attempt->trace->why),
		         "no right to trace it: kernel.yama.ptrace_scope is %c: run as root (CAP_SYS_PTRACE)", scope[0]);
}

static void explain_seize(struct attempt *attempt, long error)
{
	if (error == -ESRCH)
		conclude(attempt, UNSTICK_GONE, "the thread has ended");
	else if (error == -EPERM)
		explain_no_right(attempt);
	else if (error == -ETIMEDOUT)
		conclude(attempt, UNSTICK_UNINTERRUPTIBLE,
		         "its process is in an exec that does not end: it cannot be traced meanwhile");
	else
		snprintf(attempt->trace->why, sizeof(attempt->trace->why), "it cannot be traced (%s)",
		         strerrorname_np((int)-error));
}

/* ---- the thread, stopped */

static bool is_same_call(const struct user_regs_struct *regs, const struct unstick_report *seen)
{
	const unsigned long args[6] = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9};

	return regs->orig_rax == (unsigned long)seen->nr && regs->rsp == seen->sp && regs->rip == seen->pc &&
	       memcmp(args, seen->args, sizeof(args)) == 0;
}

/* EINTR: the kernel does not restart this call; the stop, or a signal whose handler has not run yet, has ended it. */
static bool is_interrupted(long result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
	       result == -ERESTART_RESTARTBLOCK || result == -EINTR;
}

/* A call by int $0x80, or one of a 32-bit program that was executed meanwhile, has other numbers. The instruction was read before the stop:
 * each question to a stopped thread makes the pause longer by a tenth or two of what it takes at least. */
static bool is_native(const struct attempt *attempt, const struct user_regs_struct *regs)
{
	struct __ptrace_syscall_info info = {0};

	if (regs->cs != USER_CS)
		return false;
	if (attempt->by_syscall)
		return true;
	return ptrace(PTRACE_GET_SYSCALL_INFO, attempt->seen->tid, sizeof(info), &info) > 0 && info.arch == AUDIT_ARCH_X86_64;
}

/* Whether the instruction that made the call is `syscall`; false too if its memory cannot be read from outside. */
static bool is_by_syscall(const struct unstick_report *seen)
{
	unsigned char code[2] = {0};
	const struct iovec here = {.iov_base = code, .iov_len = sizeof(code)};
	const struct iovec there = {.iov_base = (void *)(uintptr_t)(seen->pc - sizeof(code)), .iov_len = sizeof(code)};

	return process_vm_readv(seen->pid, &here, 1, &there, 1, 0) == sizeof(code) && code[0] == 0x0f && code[1] == 0x05;
}

/* It had come to a result before it was stopped, or, as a long write that has moved something, because of it. */
static void conclude_finished(struct attempt *attempt, long result)
{
	struct trace *trace = attempt->trace;

	trace->kind = UNSTICK_FINISHED_FIRST;
	if (result >= 0 || result < -LAST_ERRNO || !strerrorname_np((int)-result))
		snprintf(trace->why, sizeof(trace->why), "the call ended with a result of its own, %ld", result);
	else
		snprintf(trace->why, sizeof(trace->why), "the call ended with an error of its own, %s",
		         strerrorname_np((int)-result));
}

static void end_call(struct attempt *attempt)
{
	pid_t tid = attempt->seen->tid;
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) < 0)
		conclude(attempt, UNSTICK_GONE, "the thread was killed meanwhile");
	else if (!is_native(attempt, &regs))
		conclude(attempt, UNSTICK_NOT_INSPECTABLE, "in a 32-bit system call: those are not known here");
	else if (!is_same_call(&regs, attempt->seen))
		conclude(attempt, UNSTICK_FINISHED_FIRST, "the call ended by itself");
	else if (!is_interrupted((long)regs.rax))
		conclude_finished(attempt, (long)regs.rax);
	else if (ptrace(PTRACE_POKEUSER, tid, offsetof(struct user_regs_struct, rax), (long)-attempt->error) < 0)
		conclude(attempt, UNSTICK_GONE, "the thread was killed meanwhile");
	else
		conclude(attempt, UNSTICK_WOKEN, "");
}

/* The stop: a signal that is about to be delivered, or ptrace's own with an event. Returns the signal to hand on. */
static int take_stop(struct attempt *attempt, int status)
{
	int signo = status & 0xff;

	if (status >> 8 == PTRACE_EVENT_STOP && signo != SIGTRAP) {
		conclude(attempt, UNSTICK_STOPPED, "stopped by a signal meanwhile: let it continue");
		return 0;
	}
	end_call(attempt);
	return status >> 8 == 0 ? signo : 0;
}

/* ---- the course */

static long seize(pid_t tid)
{
	return unstick_syscall(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0, 0, 0);
}

static long wait_stop(pid_t tid, siginfo_t *info)
{
	info->si_pid = 0;
	return unstick_syscall(SYS_waitid, P_PID, tid, (long)info, WSTOPPED | WEXITED | __WALL | WNOWAIT, 0, 0);
}

int trace_look(pid_t pid, pid_t tid, unsigned parts, struct unstick_report *report)
{
	const struct timespec gap = {.tv_nsec = 2000000};
	int r = report_look(pid, tid, parts, report);

	for (int i = 0; i < 10 && r == 0 && report->expect == UNSTICK_NOT_BLOCKED; i++) {
		nanosleep(&gap, NULL);
		r = report_look(pid, tid, parts, report);
	}
	return r;
}

bool trace_is_same_wait(const struct unstick_report *a, const struct unstick_report *b)
{
	return a->nr == b->nr && a->sp == b->sp && a->pc == b->pc && memcmp(a->args, b->args, sizeof(a->args)) == 0;
}

static bool is_still_there(struct attempt *attempt)
{
	const struct unstick_report *seen = attempt->seen;
	struct unstick_report again;

	if (trace_look(seen->pid, seen->tid, 0, &again) < 0 || again.expect == UNSTICK_GONE)
		conclude(attempt, UNSTICK_GONE, "the thread has ended");
	else if (again.expect == UNSTICK_NOT_BLOCKED)
		conclude(attempt, UNSTICK_NOT_BLOCKED, "it runs: it has left the call, or works in it");
	else if (!trace_is_same_wait(&again, seen))
		conclude(attempt, UNSTICK_FINISHED_FIRST, "the call ended by itself");
	else if (again.expect != seen->expect)
		conclude(attempt, again.expect, again.why);
	else
		return true;
	return false;
}

static void stop_and_end_call(struct attempt *attempt)
{
	pid_t tid = attempt->seen->tid;
	int64_t begin = unstick_now();
	siginfo_t stop;
	long r;

	if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0) {
		conclude(attempt, UNSTICK_GONE, "the thread has ended");
		return;
	}
	r = wait_stop(tid, &stop);
	if (r == 0 && stop.si_code == CLD_TRAPPED) {
		int signo = take_stop(attempt, stop.si_status);
		ptrace(PTRACE_DETACH, tid, NULL, (long)signo);
		attempt->trace->pause_ns = unstick_now() - begin;
	} else if (r == -ETIMEDOUT) {
		conclude(attempt, UNSTICK_UNINTERRUPTIBLE, "it did not come to a stop within a second: left as it is");
	} else {
		conclude(attempt, UNSTICK_GONE, "the thread has ended");
	}
}

static void *attempt_main(void *arg)
{
	struct attempt *attempt = arg;
	struct unstick_scope scope;
	long r = unstick_scope_begin(&scope, NULL, unstick_after_ms(PATIENCE_MS));

	if (r < 0) {
		conclude(attempt, UNSTICK_NONE, "no memory to trace it with: nothing was tried");
		return NULL;
	}
	r = seize(attempt->seen->tid);
	if (r < 0)
		explain_seize(attempt, r);
	else if (is_still_there(attempt)) {
		attempt->by_syscall = is_by_syscall(attempt->seen);
		stop_and_end_call(attempt);
	}
	r = unstick_scope_end(&scope); /* that it has expired has been told */
	return NULL;
}

/* The signals that a person ends or stops a command with: they wait until the thread runs again. */
static void hold_signals(sigset_t *old)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

void trace_end_call(const struct unstick_report *seen, int error, struct trace *ret)
{
	struct attempt attempt = {.seen = seen, .error = error, .trace = ret};
	pthread_t thread;
	sigset_t old;

	*ret = (struct trace){.kind = UNSTICK_NOT_INSPECTABLE};
	hold_signals(&old);
	if (pthread_create(&thread, NULL, attempt_main, &attempt) == 0)
		pthread_join(thread, NULL);
	else
		conclude(&attempt, UNSTICK_NONE, "no thread could be made to trace it with: nothing was tried");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}
