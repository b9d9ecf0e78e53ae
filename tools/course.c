/* SPDX-License-Identifier: MIT
 *
 * See course.h.
 */
#include "course.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <unstick.h>

#include "child.h"
#include "command.h"
#include "ending.h"
#include "group.h"
#include "limit/time.h"
#include "overdue.h"
#include "wake/report.h"

enum {
	NS_PER_MS = 1000000,
	SAMPLES = 8, /* within a call timeout */
	SHORTEST_SAMPLE_MS = 5,
	LONGEST_SAMPLE_MS = 500,
	KILL_MS = 2000,  /* for KILL to have worked */
	SEARCH_MS = 10,  /* between two looks for a first call to end */
	ORPHANS_MS = 50, /* between two looks at whether the group still has members */
};

enum step { STEP_RUNS, STEP_SEARCHES, STEP_ENDED, STEP_SIGNALLED, STEP_KILLED, STEP_LEFT };

struct course {
	const struct course_options *options;
	struct group group;
	struct ending ending;
	struct stays *stays; /* NULL: no call timeout */
	struct child child;
	enum step step;
	unstick_time due;         /* of the next step */
	unstick_time deadline;    /* UNSTICK_NEVER: none */
	unstick_time next_sample; /* UNSTICK_NEVER without a call timeout */
	siginfo_t ended;          /* si_pid 0: it has not */
};

/* ---- the command */

static void reap(struct course *course)
{
	if (waitid(P_PID, (id_t)course->group.command, &course->ended, WEXITED) != 0)
		return;
	course->group.command = 0;
	close(course->child.pidfd);
	course->child.pidfd = -1; /* poll() passes over it */
}

/* ---- signals to this process */

/* From the terminal, or an end of the session: the kernel has sent it to the whole group. */
static bool has_got_it(const struct course *course, const struct signalfd_siginfo *info)
{
	pid_t command = course->group.command;
	return info->ssi_code == SI_KERNEL && (!command || getpgid(command) == getpgrp());
}

/* Those that end programs go to all that have been started for the command; what USR1 means is known to the command alone. */
static void pass_on(const struct course *course, const struct signalfd_siginfo *info)
{
	int signal = (int)info->ssi_signo;

	if (has_got_it(course, info))
		return;
	if (signal != SIGUSR1 && signal != SIGUSR2)
		group_signal(&course->group, signal);
	else if (course->group.command)
		kill(course->group.command, signal);
}

static void pass_on_all(const struct course *course)
{
	struct signalfd_siginfo info;

	while (read(course->child.signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		pass_on(course, &info);
}

/* ---- the steps */

static void announce(const struct course *course, const char *why, int signal)
{
	const char *name = sigabbrev_np(signal);

	if (!course->options->quiet)
		complain("%s: sending %s", why, name ? name : "the signal");
}

/* What KILL does not end waits in the kernel, for a dead mount or the like. Nobody is served by waiting along. */
static void leave_behind(struct course *course)
{
	struct unstick_report report;
	pid_t pid = course->group.command;

	if (report_look(pid, pid, 0, &report) == 0)
		complain("%d: KILL does not end it: state %c in %s: left behind", (int)pid, report.state,
		         report.wait[0] ? report.wait : "the kernel");
	course->step = STEP_LEFT;
}

static void send_kill(struct course *course)
{
	announce(course, "still running", SIGKILL);
	group_signal(&course->group, SIGKILL);
	course->step = STEP_KILLED;
	course->due = unstick_after_ms(KILL_MS);
}

static void send_signal(struct course *course)
{
	int64_t patience = course->options->kill_after;
	const char *why = course->step < STEP_ENDED ? "the deadline has come, and no call could be ended" : "still running";

	announce(course, why, course->options->signal);
	group_signal(&course->group, course->options->signal);
	course->step = STEP_SIGNALLED;
	course->due = patience ? unstick_after_ns(patience) : UNSTICK_NEVER;
}

/* Half of the grace is for a thread that computes to come to a call, the other half for what it does with the error. */
static bool is_worth_a_search(const struct course *course)
{
	return course->ending.moving && unstick_now() < course->deadline + course->options->grace / 2;
}

static void end_calls(struct course *course)
{
	struct pid_list processes = {0};

	group_list(&course->group, &processes);
	unsigned ended = ending_all(&course->ending, &processes);
	pid_list_free(&processes);
	if (ended) {
		course->step = STEP_ENDED;
		course->due = course->deadline + course->options->grace;
	} else if (is_worth_a_search(course)) {
		course->step = STEP_SEARCHES;
		course->due = unstick_after_ms(SEARCH_MS);
	} else {
		send_signal(course);
	}
}

static void take_step(struct course *course)
{
	switch (course->step) {
	case STEP_RUNS:
	case STEP_SEARCHES:
		end_calls(course);
		break;
	case STEP_ENDED:
		send_signal(course);
		break;
	case STEP_SIGNALLED:
		send_kill(course);
		break;
	default:
		leave_behind(course);
	}
}

/* ---- calls that take too long */

static void end_overdue(void *arg, pid_t pid, pid_t tid, unstick_time since)
{
	ending_thread(arg, pid, tid, unstick_now() - since);
}

static int64_t sample_gap(const struct course *course)
{
	int64_t gap = course->options->call_timeout / SAMPLES;

	gap = gap < LONGEST_SAMPLE_MS * NS_PER_MS ? gap : LONGEST_SAMPLE_MS * NS_PER_MS;
	return gap > SHORTEST_SAMPLE_MS * NS_PER_MS ? gap : SHORTEST_SAMPLE_MS * NS_PER_MS;
}

static void sample(struct course *course)
{
	struct pid_list processes = {0};

	group_list(&course->group, &processes);
	overdue_sample(course->stays, &processes, unstick_now() - course->options->call_timeout, end_overdue, &course->ending);
	pid_list_free(&processes);
	course->next_sample = unstick_after_ns(sample_gap(course));
}

/* ---- the loop */

static bool group_is_empty(const struct course *course)
{
	struct pid_list left = {0};

	group_list(&course->group, &left);
	bool empty = left.count == 0;
	pid_list_free(&left);
	return empty;
}

/* Before the deadline what the command leaves behind is no concern of ours; afterwards it is, while there is a step to come. */
static bool is_over(const struct course *course)
{
	if (!course->ended.si_pid)
		return course->step == STEP_LEFT;
	return course->step == STEP_RUNS || course->step >= STEP_KILLED || course->due == UNSTICK_NEVER || group_is_empty(course);
}

static void await(struct course *course)
{
	struct pollfd fds[] = {{.fd = course->child.pidfd, .events = POLLIN}, {.fd = course->child.signals, .events = POLLIN}};
	unstick_time until = time_min(course->due, course->next_sample), now = unstick_now();

	if (course->ended.si_pid)
		until = time_min(until, now + ORPHANS_MS * NS_PER_MS);
	struct timespec left = time_to_timespec(until > now ? until - now : 0);
	if (ppoll(fds, 2, until == UNSTICK_NEVER ? NULL : &left, NULL) <= 0)
		return;
	if (fds[0].revents)
		reap(course);
	if (fds[1].revents)
		pass_on_all(course);
}

static void follow(struct course *course)
{
	while (!is_over(course)) {
		await(course);
		if (!is_over(course) && unstick_now() >= course->next_sample)
			sample(course);
		if (!is_over(course) && unstick_now() >= course->due)
			take_step(course);
	}
}

/* ---- the exit status */

static int exit_status(const struct course *course)
{
	const siginfo_t *ended = &course->ended;
	bool expired = course->step != STEP_RUNS;

	if (!ended->si_pid)
		return 128 + SIGKILL;
	if (ended->si_code == CLD_EXITED)
		return expired && !course->options->preserve_status ? STATUS_DEADLINE : ended->si_status;
	if (!expired)
		child_end_likewise(ended->si_status);
	return expired && !course->options->preserve_status && ended->si_status != SIGKILL ? STATUS_DEADLINE
	                                                                                   : 128 + ended->si_status;
}

int course_run(const struct course_options *options, char **argv)
{
	struct course course = {.options = options,
	                        .ending = {.error = options->error, .quiet = options->quiet},
	                        .deadline = options->deadline ? unstick_after_ns(options->deadline) : UNSTICK_NEVER,
	                        .next_sample = UNSTICK_NEVER};

	course.due = course.deadline;
	if (options->call_timeout) {
		course.stays = stays_new();
		course.next_sample = unstick_now();
	}
	group_start(&course.group, options->foreground);
	if (!child_start(&course.child, argv, options->signal))
		return STATUS_RUN_FAILED;
	course.group.command = course.child.pid;
	follow(&course);
	stays_free(course.stays);
	return exit_status(&course);
}
