/* SPDX-License-Identifier: MIT
 *
 * How long `unstick wake` keeps a thread from running (from the interrupt to the return of the detach), against what a bare seize,
 * interrupt, wait and detach takes. Each by a thread of its own; interleaved in one run, in an order shuffled each round, the bare way
 * twice (A and A'): what they differ by is the noise. Shown besides: the pause that the bare way makes, without its seizing.
 *
 * usage: wake_pause [ROUNDS]      Bound: p50 at most 1.5 times that of the bare way, noise aside.
 */
#include "target.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer.h"

enum { WAYS = 3, PAUSE_ONLY = WAYS, ROWS, ROUNDS = 1000 };

static const char *const names[ROWS] = {"bare (A)", "bare (A')", "unstick wake", "A, pause only"};
static double *samples[ROWS];

/* ---- the target: reads for ever, whatever it is given */

static pid_t start_target(void)
{
	int never[2];
	char byte;
	if (pipe(never))
		exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (read(never[0], &byte, 1) != 1)
			;
		_exit(1);
	}
	return pid;
}

static bool is_blocked(pid_t pid)
{
	return thread_in_call(pid, pid, SYS_read) && thread_state(pid, pid) == 'S';
}

/* ---- the ways */

struct bare {
	pid_t pid;
	int64_t ns, pause_ns;
};

static void *bare_main(void *arg)
{
	struct bare *bare = arg;
	int status;

	int64_t begin = unstick_now();
	if (ptrace(PTRACE_SEIZE, bare->pid, NULL, NULL) < 0)
		exit(1);
	int64_t stop = unstick_now();
	ptrace(PTRACE_INTERRUPT, bare->pid, NULL, NULL);
	waitpid(bare->pid, &status, __WALL);
	ptrace(PTRACE_DETACH, bare->pid, NULL, NULL);
	int64_t end = unstick_now();
	bare->ns = end - begin;
	bare->pause_ns = end - stop;
	return NULL;
}

static struct bare trace_bare(pid_t pid)
{
	struct bare bare = {.pid = pid};
	pthread_t thread;
	if (pthread_create(&thread, NULL, bare_main, &bare))
		exit(1);
	pthread_join(thread, NULL);
	return bare;
}

static int64_t pause_wake(pid_t pid)
{
	struct unstick_report report;
	struct trace trace;
	if (unstick_look(pid, pid, &report) != 0)
		exit(1);
	trace_end_call(&report, ECANCELED, &trace);
	if (trace.kind != UNSTICK_WOKEN) {
		printf("Bail out! not freed: %s\n", trace.why);
		exit(1);
	}
	return trace.pause_ns;
}

/* ---- figures */

static int by_size(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
}

static double percentile(const double *sorted, int count, int percent)
{
	return sorted[(count - 1) * percent / 100];
}

static void run_round(pid_t pid, int round)
{
	int first = rand() % WAYS, direction = rand() % 2 ? 1 : WAYS - 1;
	for (int i = 0; i < WAYS; i++) {
		int way = (first + i * direction) % WAYS;
		if (!COMES_TRUE(is_blocked(pid)))
			exit(1);
		if (way == 2) {
			samples[way][round] = (double)pause_wake(pid);
			continue;
		}
		struct bare bare = trace_bare(pid);
		samples[way][round] = (double)bare.ns;
		if (way == 0)
			samples[PAUSE_ONLY][round] = (double)bare.pause_ns;
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : ROUNDS;
	pid_t pid = start_target();
	double p50[ROWS];

	if (rounds < 1)
		return 2;
	for (int way = 0; way < ROWS; way++) {
		samples[way] = calloc((size_t)rounds, sizeof(double));
		if (!samples[way])
			return 1;
	}
	for (int round = 0; round < rounds; round++)
		run_round(pid, round);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int way = 0; way < ROWS; way++) {
		qsort(samples[way], (size_t)rounds, sizeof(double), by_size);
		p50[way] = percentile(samples[way], rounds, 50);
		printf("# %-14s p50 %7.1f us  p90 %7.1f  p99 %7.1f  x %.2f\n", names[way], p50[way] / 1e3,
		       percentile(samples[way], rounds, 90) / 1e3, percentile(samples[way], rounds, 99) / 1e3, p50[way] / p50[0]);
	}
	double noise = p50[0] > p50[1] ? p50[0] / p50[1] : p50[1] / p50[0];
	double ratio = p50[2] / ((p50[0] + p50[1]) / 2);
	printf("# %.2f times the bare way, A/A %.2f; %.2f times its pause\n", ratio, noise, p50[2] / p50[PAUSE_ONLY]);
	point(ratio <= 1.5 * noise, "the pause's p50 is at most 1.5 times that of a bare seize, interrupt, detach", "%.2f", ratio);
	return points_end();
}
