/* SPDX-License-Identifier: MIT
 *
 * `unstick wake` ended by a signal at each of its own system calls, before the call and after it, in whichever of its threads: the
 * thread that it was about to free runs on, untraced, in its old call or with the new error, every time; and its old call still works.
 * The signal comes at the n-th stop of a stepped run (stepped.h), for n = 1, 2, ... until the command comes to its end before that.
 *
 * usage: wake_killed [SITUATION]
 *
 * The races: a signal for the thread arrives just before the command's PTRACE_INTERRUPT, so that the command finds it stopped at the
 * delivery of that signal; it must arrive, whatever becomes of the command.
 */
#include "target.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stepped.h"

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
	unsigned last; /* the stop at which it gets the signal */
	bool cut;      /* it came that far */
	bool sent;     /* the thread has been sent its signal */
};

/* The signal is what the thread is stopped at. */
static void send_signal(struct run *run)
{
	const struct target *target = run->target;
	run->sent = true;
	syscall(SYS_tgkill, target->pid, target->tid, SIGUSR2);
	if (!COMES_TRUE(thread_state(target->pid, target->tid) == 't'))
		point(false, run->plan->name, "the thread did not come to the delivery of its signal");
}

static void at_step(void *arg, const struct step *step)
{
	struct run *run = arg;
	if (run->plan->signal_first && !run->sent && step->entry && step->nr == SYS_ptrace && step->first == PTRACE_INTERRUPT)
		send_signal(run);
	if (step->number == run->last) {
		run->cut = true;
		kill(step->command, run->plan->signo);
	}
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
		command_stepped(target_word(&target), at_step, &run);
		enum fate fate = fate_of(&run, &result);
		counts[fate]++;
		if (fate == WRONG)
			printf("# at stop %u: result %ld, state %c, tracer %d\n", n, result, thread_state(target.pid, target.tid),
			       (int)thread_tracer(target.pid, target.tid));
		if (fate != STILL)
			alive = false, well = target_end(&target) && well;
		if (!run.cut || fate == WRONG)
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
