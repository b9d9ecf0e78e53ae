/* SPDX-License-Identifier: MIT
 *
 * The single-stepper: cancels an own call at every instruction boundary, from before its first to after its last, and shows that no
 * cancel is lost and nothing that was moved is dropped.
 *
 * A child makes the call in a scope; its main thread is stepped with ptrace, another of its threads cancels when told. The monitor is
 * held by ptrace meanwhile, so that no second look can cover for the window: what is lost stays lost, and is seen as "blocked in the call,
 * token fired, no signal pending". The window opened: every pc between "the scope is begun" and "the call has returned", and the pcs of
 * the code that runs after an earlier EINTR and under a handler on top.
 *
 * A poke at a thread that is in a ptrace stop finds it stopped and leaves the signal to a second look; so the canceller sends it itself.
 *
 * usage: stepper [--only CALL] [--stride N]      plain TAP; with a stride only each Nth boundary of each call, beginning at another one
 * for each: a short version
 */
#include "stepper.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unstick.h"
#include "wake/arch/arch.h"

enum { MARK = 9999, MAX_STEPS = 4000 }; /* MARK: a system call that does not exist */

enum variant {
	PLAIN,   /* stepped from the begin */
	EARLIER, /* blocked, then our signal from outside gave it an EINTR: stepped from the handler on */
	ON_TOP,  /* blocked, then a handler of the program (SA_RESTART) came on top: stepped from that handler on */
	VARIANTS,
};

static const char *const situation_names[] = {"empty", "ready", "partial"};
static const char *const variant_names[] = {"", ", earlier EINTR", ", handler on top"};

/* What the child tells. */
struct shared {
	volatile int returned, checked;
	volatile long result, done;
	volatile int later, end;
};

static struct shared *shared;
static int order_pipe[2], done_pipe[2];

/* ---- the child */

static struct unstick_token *token;
static pid_t victim;
static volatile int handled;

static void on_top(int signal)
{
	(void)signal;
	handled++;
	handled++;
}

static void *canceller(void *unused)
{
	char c;
	if (read(order_pipe[0], &c, 1) == 1) {
		unstick_token_cancel(token);
		syscall(SYS_tgkill, victim, victim, unstick_signal());
		if (write(done_pipe[1], &c, 1) != 1)
			_exit(97);
	}
	return unused;
}

__attribute__((noreturn)) static void child(const struct own_call *call, enum situation situation)
{
	struct run run = {.fd = -1, .other = -1, .made = -1};
	struct unstick_scope scope;
	pthread_t thread;
	struct sigaction action = {.sa_handler = on_top, .sa_flags = SA_RESTART};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGUSR1, &action, NULL);
	victim = getpid();
	call->prepare(&run, situation);
	if (unstick_token_new(&token, NULL) || pthread_create(&thread, NULL, canceller, NULL))
		_exit(97);
	if (unstick_scope_begin(&scope, token, UNSTICK_NEVER))
		_exit(97);
	syscall(MARK);
	shared->result = call->call(&run);
	shared->returned = 1;
	shared->done = call->done(&run, situation);
	while (!unstick_token_error(token)) /* the cancel comes after the return */
		sched_yield();
	shared->later = unstick_check();
	shared->end = unstick_scope_end(&scope);
	shared->checked = 1;
	_exit(0);
}

/* ---- the tracer */

/* "S" and so on; '?' when gone. */
static char state_of(pid_t pid)
{
	char path[64], text[512], *end;
	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return '?';
	size_t n = fread(text, 1, sizeof text - 1, file);
	fclose(file);
	text[n] = '\0';
	end = strrchr(text, ')');
	return end ? end[2] : '?';
}

/* A signal on its way: pending and not blocked. */
static bool has_pending(pid_t pid)
{
	char path[64], line[128];
	uint64_t set, pending = 0, blocked = 0;
	snprintf(path, sizeof path, "/proc/%d/task/%d/status", pid, pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "SigPnd: %lx", &set) == 1 || sscanf(line, "ShdPnd: %lx", &set) == 1)
			pending |= set;
		else if (sscanf(line, "SigBlk: %lx", &set) == 1)
			blocked = set;
	if (file)
		fclose(file);
	return pending & ~blocked;
}

/* Asleep in a call, with nothing on its way to it: three looks running. */
static bool is_asleep(pid_t pid)
{
	for (int i = 0; i < 3; i++) {
		if (state_of(pid) != 'S' || has_pending(pid))
			return false;
		sched_yield();
	}
	return true;
}

enum stop { STOPPED, ASLEEP, ENDED };

/* Until the thread stops, sleeps or ends. */
static enum stop wait_stop(pid_t pid, int *status)
{
	for (unsigned i = 1;; i++) {
		pid_t got =
		        waitpid(-1, status, WNOHANG | __WALL); /* any: the held monitor ends first, and its leader waits for that */
		if (got == pid)
			return WIFSTOPPED(*status) ? STOPPED : ENDED;
		if (got == 0 && i % 64 == 0 && is_asleep(pid))
			return ASLEEP;
		sched_yield();
	}
}

static pid_t find_monitor(pid_t pid)
{
	char path[64], name[32];
	pid_t found = 0;
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *tasks = opendir(path);
	for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
		pid_t tid = atoi(entry->d_name);
		snprintf(path, sizeof path, "/proc/%d/task/%d/comm", pid, tid);
		FILE *file = tid ? fopen(path, "re") : NULL;
		if (file && fgets(name, sizeof name, file) && !strcmp(name, "unstick\n"))
			found = tid;
		if (file)
			fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

static pid_t hold_monitor(pid_t pid)
{
	int status;
	pid_t tid;
	while (!(tid = find_monitor(pid)))
		sched_yield();
	for (;;) { /* not while it holds a lock: asleep */
		char path[64], text[64] = "";
		snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
		FILE *file = fopen(path, "re");
		if (file && !fgets(text, sizeof text, file))
			text[0] = '\0';
		if (file)
			fclose(file);
		if (atoi(text) == SYS_futex && text[0] != 'r')
			break;
		sched_yield();
	}
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return 0;
	waitpid(tid, &status, __WALL);
	return tid;
}

static void cancel(void)
{
	char c = 0;
	if (write(order_pipe[1], &c, 1) != 1 || read(done_pipe[0], &c, 1) != 1)
		_exit(96);
}

/* To the marked place: the scope is begun, the call comes next. */
static bool to_mark(pid_t pid, int *status)
{
	struct user_regs_struct regs;
	if (waitpid(pid, status, __WALL) != pid || !WIFSTOPPED(*status))
		return false;
	for (;;) {
		if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
			return false;
		if (regs.orig_rax == MARK && (long)regs.rax == -ENOSYS && WSTOPSIG(*status) == (SIGTRAP | 0x80))
			return true;
		int signal = WSTOPSIG(*status) & 0x80 || WSTOPSIG(*status) == SIGTRAP ? 0 : WSTOPSIG(*status);
		if (ptrace(PTRACE_SYSCALL, pid, 0, signal) || waitpid(pid, status, __WALL) != pid || !WIFSTOPPED(*status))
			return false;
	}
}

enum place { AT_BOUNDARY, IN_CALL, PAST_END, FAILED };

static enum place step_to(pid_t pid, unsigned steps, int *status)
{
	int signal = 0;
	for (unsigned i = 0; i < steps; i++) {
		if (ptrace(PTRACE_SINGLESTEP, pid, 0, signal))
			return FAILED;
		enum stop stop = wait_stop(pid, status);
		if (stop == ENDED)
			return FAILED;
		if (stop == ASLEEP)
			return IN_CALL;
		if (shared->returned)
			return PAST_END;
		signal = WSTOPSIG(*status) == SIGTRAP ? 0 : WSTOPSIG(*status);
	}
	return AT_BOUNDARY;
}

/* Lets it block, then sends a signal and stops at the first instruction of its handler. */
static bool interrupt_first(pid_t pid, enum variant variant, int *status)
{
	int signal = variant == EARLIER ? SIGURG : SIGUSR1;
	if (ptrace(PTRACE_CONT, pid, 0, 0) || wait_stop(pid, status) != ASLEEP)
		return false;
	if (syscall(SYS_tgkill, pid, pid, signal) || waitpid(pid, status, __WALL) != pid || !WIFSTOPPED(*status))
		return false;
	return ptrace(PTRACE_SINGLESTEP, pid, 0, signal) == 0 && waitpid(pid, status, __WALL) == pid && WIFSTOPPED(*status);
}

/* Our handler is the same under every call: its boundaries are stepped once, under the first call; under the others we start where it
 * returns into the window. */
static bool skip_handler(pid_t pid, int *status)
{
	struct user_regs_struct regs;
	for (unsigned i = 0; i < MAX_STEPS; i++) {
		if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
			return false;
		if (regs.rip == (uintptr_t)arch_window_after)
			return true;
		if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) || waitpid(pid, status, __WALL) != pid || !WIFSTOPPED(*status))
			return false;
	}
	return false;
}

static bool to_start(const struct own_call *call, enum variant variant, pid_t pid, int *status)
{
	if (variant == PLAIN)
		return true;
	if (!interrupt_first(pid, variant, status))
		return false;
	return variant != EARLIER || call == stepper_calls || skip_handler(pid, status);
}

/* After the cancel: on until the child ends. false: it sleeps for ever. */
static bool run_on(pid_t pid, enum place place, int *status)
{
	int signal = 0;
	bool stopped = place != IN_CALL;
	for (;;) {
		if (stopped && ptrace(PTRACE_CONT, pid, 0, signal))
			return false;
		switch (wait_stop(pid, status)) {
		case ENDED:
			return true;
		case ASLEEP:
			return false;
		case STOPPED:
			stopped = true;
			signal = WSTOPSIG(*status) == SIGTRAP || WSTOPSIG(*status) == SIGSTOP ? 0 : WSTOPSIG(*status);
		}
	}
}

struct tally {
	unsigned boundaries, lost, dropped, wrong;
	char note[160];
};

static void note(struct tally *tally, unsigned step, const char *what)
{
	if (!tally->note[0])
		snprintf(tally->note, sizeof tally->note, "at step %u: %s: result %ld, done %ld, later %d, end %d", step, what,
		         shared->result, shared->done, shared->later, shared->end);
}

/* Is what the call said what it did? */
static void judge(const struct own_call *call, enum situation situation, enum variant variant, unsigned step, struct tally *tally)
{
	long result = shared->result, done = shared->done;
	bool cut = result == -ECANCELED || (variant == ON_TOP && result == -EINTR);
	if (!cut && (result < 0 || (situation == READY && result != call->ready_result) || (situation == EMPTY))) {
		tally->wrong++;
		note(tally, step, "wrong result");
	} else if (done >= 0 && done != (cut ? 0 : result)) {
		tally->dropped++;
		note(tally, step, "result and deed differ");
	} else if (!shared->checked || shared->later != -ECANCELED || shared->end != -ECANCELED) {
		tally->wrong++;
		note(tally, step, "the scope does not know that it has fired");
	}
}

static void end_child(pid_t pid, pid_t monitor)
{
	int status;
	kill(pid, SIGKILL);
	if (monitor)
		ptrace(PTRACE_DETACH, monitor, 0, 0);
	while (waitpid(-1, &status, __WALL) > 0)
		;
}

/* One child, cancelled at one place. Returns the place. */
static enum place one_run(const struct own_call *call, enum situation situation, enum variant variant, unsigned step,
                          struct tally *tally)
{
	int status;
	enum place place = FAILED;
	memset(shared, 0, sizeof *shared);
	if (pipe(order_pipe) || pipe(done_pipe))
		return FAILED;
	pid_t pid = fork();
	if (pid == 0) {
		raise(SIGSTOP);
		child(call, situation);
	}
	pid_t monitor = 0;
	if (waitpid(pid, &status, WUNTRACED) == pid &&
	    ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0 && kill(pid, SIGCONT) == 0 &&
	    to_mark(pid, &status) && (monitor = hold_monitor(pid)) != 0 && to_start(call, variant, pid, &status))
		place = step_to(pid, step, &status);
	if (place == AT_BOUNDARY || place == IN_CALL) {
		cancel();
		tally->boundaries++;
		if (!run_on(pid, place, &status)) {
			tally->lost++;
			note(tally, step, "blocked for ever");
		} else {
			judge(call, situation, variant, step, tally);
		}
	}
	end_child(pid, monitor);
	close(order_pipe[0]), close(order_pipe[1]), close(done_pipe[0]), close(done_pipe[1]);
	return place;
}

static unsigned stride = 1;

static void all_boundaries(const struct own_call *call, enum situation situation, enum variant variant, struct tally *tally)
{
	unsigned first = (unsigned)(call - stepper_calls) % stride;
	for (unsigned step = first; step < MAX_STEPS; step += stride) {
		enum place place = one_run(call, situation, variant, step, tally);
		if (place == FAILED) {
			tally->wrong++;
			note(tally, step, "the stepper itself failed");
		}
		if (place != AT_BOUNDARY || tally->wrong + tally->lost + tally->dropped > 3)
			return;
	}
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
		else if (!strcmp(argv[i], "--stride") && atoi(argv[i + 1]) > 0)
			stride = (unsigned)atoi(argv[i + 1]);
	}
	unsigned number = 0, failed = 0, total = 0, lost = 0, dropped = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
#ifdef __SANITIZE_THREAD__
	puts("1..0 # SKIP stepper: TSan's runtime lies between the boundaries, and puts handlers off");
	return 0;
#endif
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 2;
	for (size_t i = 0; i < stepper_call_count; i++)
		for (enum situation situation = EMPTY; situation < SITUATIONS; situation++)
			for (enum variant variant = PLAIN; variant < VARIANTS; variant++) {
				const struct own_call *call = &stepper_calls[i];
				struct tally tally = {0};
				if (!call->situations[situation] || (situation == READY && variant != PLAIN) ||
				    (only && strcmp(only, call->name)))
					continue;
				all_boundaries(call, situation, variant, &tally);
				bool ok = tally.boundaries > 5 / stride && !tally.lost && !tally.dropped && !tally.wrong;
				printf("%sok %u - step %s, %s%s: %u boundaries, %u lost, %u dropped%s%s\n", ok ? "" : "not ",
				       ++number, call->name, situation_names[situation], variant_names[variant], tally.boundaries,
				       tally.lost, tally.dropped, ok ? "" : ": ", ok ? "" : tally.note);
				failed += !ok;
				total += tally.boundaries;
				lost += tally.lost;
				dropped += tally.dropped;
			}
	printf("1..%u\n# stepper: %u boundaries, %u lost, %u dropped\n", number, total, lost, dropped);
	return failed != 0;
}
