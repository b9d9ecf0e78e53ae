/* SPDX-License-Identifier: MIT
 *
 * Programs started and ended at random moments: before, while and after they are started, while they write, fork, end. In three
 * applications: one that leaves its children alone, one that waits for any child in a loop, one that ignores SIGCHLD. Each job comes
 * to one end that fits its program; nobody of its group is left, no zombie; half-way and at the end the application has the same
 * fds and no more memory. The parent takes the orphans, as init would, and sees that something moves.
 *
 * usage: process_storm [--rounds N] [CASE]      plain TAP
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "unstick.h"

enum { STARTERS = 4, STUCK_AFTER_S = 60, INPUT = 100000, GROWTH_KB = 1024 };

enum status { OURS, SHARED, TAKEN }; /* whose the children's statuses are */

/* Shared with the parent. */
struct counts {
	_Atomic long jobs, done, cut, never_ran, failed, killed, taken, wrong;
	_Atomic int first_wrong; /* a line */
	long fds[2], kb[2];      /* half-way, at the end */
};
static struct counts *counts;

static void wrong(int line)
{
	int none = 0;
	atomic_compare_exchange_strong(&counts->first_wrong, &none, line);
	atomic_fetch_add(&counts->wrong, 1);
}
#define MUST(condition) ((condition) ? (void)0 : wrong(__LINE__))

static uint32_t next_random(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void wait_us(unsigned us)
{
	const struct timespec span = {.tv_nsec = us * 1000L};
	nanosleep(&span, NULL);
}

/* ---- the programs */

static char input[INPUT];

static const struct program {
	char *const argv[4];
	bool ends;        /* by itself */
	bool is_fed;      /* writes what it reads */
	int error;        /* cannot be started */
	unsigned flags;   /* of the job */
	const char *text; /* it writes */
} programs[] = {
        {.argv = {"true"}, .ends = true, .text = ""},
        {.argv = {"cat"}, .ends = true, .is_fed = true},
        {.argv = {"sh", "-c", "echo one; sleep 1000 & sleep 1000 & echo two >&3"},
         .ends = true,
         .flags = UNSTICK_JOB_RESULT,
         .text = "two\n"},
        {.argv = {"sleep", "1000"}},
        {.argv = {"sh", "-c", "trap '' TERM; sleep 1000 & sleep 1000 & sleep 1000 & wait; sleep 1000"}},
        {.argv = {"sh", "-c", "trap 'exit 1' TERM; while :; do (sleep 1000 & sleep 0.001); done"}, .flags = UNSTICK_JOB_STDERR},
        {.argv = {"no-such-program"}, .ends = true, .error = -ENOENT},
};
enum { PROGRAMS = sizeof programs / sizeof programs[0] };

static void judge_done(const struct program *program, const struct unstick_exit *exit, const char *text)
{
	MUST(program->ends && !program->error);
	MUST(exit->last_signal == 0 && exit->status == (exit->status_taken ? -1 : 0));
	if (program->is_fed)
		MUST(exit->output_size == INPUT && memcmp(exit->output, input, INPUT) == 0);
	else if (program->text) /* none that does not end */
		MUST(strcmp(text, program->text) == 0);
	counts->done++;
}

static void judge_cut(const struct program *program, const struct unstick_exit *exit)
{
	MUST(exit->last_signal == SIGTERM || exit->last_signal == SIGKILL);
	MUST(exit->status_taken || WIFSIGNALED(exit->status) ||
	     (WIFEXITED(exit->status) && (program->ends || WEXITSTATUS(exit->status) == 1)));
	counts->killed += exit->last_signal == SIGKILL;
}

static void judge(struct unstick_job *job, const struct program *program, int end, const char *text, enum status status)
{
	struct unstick_exit exit;
	int state = unstick_job_state(job);
	bool ran = unstick_job_exit(job, &exit) == 0, cut = end == -ECANCELED || end == -ETIMEDOUT;
	MUST(state == (end == 0            ? UNSTICK_JOB_DONE
	               : end == -ECANCELED ? UNSTICK_JOB_CANCELLED
	               : end == -ETIMEDOUT ? UNSTICK_JOB_TIMED_OUT
	                                   : UNSTICK_JOB_FAILED));
	MUST(end == 0 || cut || end == program->error);
	counts->cut += cut;
	counts->failed += end != 0 && !cut;
	counts->never_ran += cut && !ran;
	MUST(ran == (text != NULL) && (end != 0 || ran));
	if (!ran)
		return;
	MUST(status == SHARED || exit.status_taken == (status == TAKEN));
	counts->taken += exit.status_taken;
	if (cut)
		judge_cut(program, &exit);
	else
		judge_done(program, &exit, text);
	while (kill(-exit.pid, 0) == 0) /* killed, but perhaps not reaped yet; the parent sees it if that does not come */
		wait_us(500);
	MUST(errno == ESRCH);
}

/* ---- one job */

static struct unstick_pool *pool;

static void one_job(unsigned *seed, enum status status)
{
	struct unstick_job *job;
	void *text = NULL;
	const struct program *program = &programs[next_random(seed) % PROGRAMS];
	unsigned how = next_random(seed) % (program->ends ? 3 : 2),
	         pause = next_random(seed) % (next_random(seed) % 2 ? 500 : 5000);
	const struct unstick_job_options options = {
	        .size = sizeof options,
	        .argv = program->argv,
	        .input = program->is_fed ? input : NULL,
	        .input_size = program->is_fed ? INPUT : 0,
	        .flags = program->flags,
	        .deadline = how == 1 ? unstick_after_ns(pause * 1000) : 0,
	        .grace_ns = next_random(seed) % 2 ? 1 : 3000000,
	};
	if (unstick_job_start(pool, &options, &job))
		_exit(2);
	if (how == 0) {
		wait_us(pause);
		MUST(unstick_job_cancel(job) == 0);
	}
	int end = unstick_job_join(job, UNSTICK_NEVER, &text);
	while (unstick_job_state(job) == UNSTICK_JOB_ABANDONED) { /* a busy machine, and nothing else: it comes out */
		wait_us(1000);
		end = unstick_job_join(job, UNSTICK_NEVER, &text);
	}
	judge(job, program, end, text, status);
	unstick_job_unref(job);
	atomic_fetch_add(&counts->jobs, 1);
}

/* ---- one application */

static long count_fds(void)
{
	long count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static long resident_kb(void)
{
	char line[128];
	long kb = 0;
	FILE *file = fopen("/proc/self/status", "re");
	while (file && fgets(line, sizeof line, file) && sscanf(line, "VmRSS: %ld", &kb) != 1)
		;
	fclose(file);
	return kb;
}

struct starter {
	unsigned seed;
	long rounds;
	enum status status;
};

static void *start_jobs(void *arg)
{
	struct starter *starter = arg;
	for (long i = 0; i < starter->rounds; i++)
		one_job(&starter->seed, starter->status);
	return NULL;
}

static void half(unsigned which, long rounds, enum status status)
{
	pthread_t threads[STARTERS];
	struct starter starters[STARTERS];
	for (unsigned i = 0; i < STARTERS; i++) {
		starters[i] = (struct starter){
		        .seed = 7 * i + which + (unsigned)getpid(), .rounds = rounds / 2 / STARTERS, .status = status};
		if (pthread_create(&threads[i], NULL, start_jobs, &starters[i]))
			_exit(2);
	}
	for (unsigned i = 0; i < STARTERS; i++)
		pthread_join(threads[i], NULL);
	counts->fds[which] = count_fds();
	counts->kb[which] = resident_kb();
}

static void *reap_any(void *unused)
{
	for (;;) {
		if (waitpid(-1, NULL, 0) < 0)
			wait_us(200);
	}
	return unused;
}

static void storm(long rounds, enum status status)
{
	pthread_t thread;
	const struct unstick_pool_options options = {.size = sizeof options, .threads = STARTERS};
	for (size_t i = 0; i < INPUT; i++)
		input[i] = (char)(i % 253);
	if (status == TAKEN)
		signal(SIGCHLD, SIG_IGN);
	if (unstick_pool_new(&pool, &options) || (status == SHARED && pthread_create(&thread, NULL, reap_any, NULL)))
		_exit(2);
	half(0, rounds, status);
	half(1, rounds, status);
	MUST(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
	MUST(counts->fds[0] == counts->fds[1]);
	MUST(FAULT_ASAN || FAULT_TSAN || counts->kb[1] <= counts->kb[0] + GROWTH_KB);
	MUST(status != SHARED || counts->taken > 0);
	MUST(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0);
	unstick_pool_free(pool);
}

/* ---- the parent */

static const struct {
	const char *name;
	enum status status;
} cases[] = {
        {"programs ended at any moment", OURS},
        {"the same, and the application waits for any child", SHARED},
        {"the same, and it ignores SIGCHLD", TAKEN},
};

/* After a failure only there are any: all that the application has left are children of this process. */
static void end_orphans(void)
{
	char path[48], children[4096];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, children, sizeof children - 1);
		close(fd);
		children[n > 0 ? n : 0] = '\0';
		for (char *at = children; *at;) {
			pid_t pid = (pid_t)strtol(at, &at, 10);
			if (pid > 0)
				kill(pid, SIGKILL);
			at += *at == ' ';
		}
		wait_us(1000);
	}
}

/* Reaps the application and everybody's orphans. False: nothing moved any more. */
static bool watch(pid_t pid, int *status)
{
	long before = -1;
	for (unsigned still = 0; still < STUCK_AFTER_S * 500;) {
		int some;
		pid_t ended = waitpid(-1, &some, WNOHANG);
		if (ended == pid) {
			*status = some;
			return true;
		}
		if (ended > 0)
			continue;
		long now = atomic_load(&counts->jobs);
		still = now == before ? still + 1 : 0;
		before = now;
		wait_us(2000);
	}
	kill(pid, SIGKILL);
	return false;
}

static bool run(unsigned number, const char *name, enum status status, long rounds)
{
	int exit_status = 0;
	memset(counts, 0, sizeof *counts);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		storm(rounds, status);
		_exit(0);
	}
	bool ended = watch(pid, &exit_status);
	end_orphans();
	bool ok = ended && exit_status == 0 && !counts->wrong;
	printf("%sok %u - %s: %ld jobs, %ld done, %ld cut short (%ld never ran, %ld by SIGKILL), %ld failed, %ld statuses taken, "
	       "fds "
	       "%ld to %ld, resident %ld to %ld KiB, %ld wrong",
	       ok ? "" : "not ", number, name, counts->jobs, counts->done, counts->cut, counts->never_ran, counts->killed,
	       counts->failed, counts->taken, counts->fds[0], counts->fds[1], counts->kb[0], counts->kb[1], counts->wrong);
	if (counts->wrong)
		printf(" (the first: line %d)", counts->first_wrong);
	printf("%s%s\n", ended ? "" : ": nothing moved any more", exit_status ? ", bad status" : "");
	return ok;
}

int main(int argc, char **argv)
{
	long rounds = 300, only = 0;
	unsigned failed = 0, number = 0;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = atol(argv[++i]);
		else
			only = atol(argv[i]);
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED || rounds < 1)
		return 2;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	setenv("PATH", "/usr/bin:/bin", 1); /* with a directory that may not be looked into ENOENT would be EACCES */
	for (long i = 0; i < (long)(sizeof cases / sizeof cases[0]); i++)
		if (!only || only == i + 1)
			failed += !run(++number, cases[i].name, cases[i].status, rounds);
	printf("1..%u\n", number);
	return failed != 0;
}
