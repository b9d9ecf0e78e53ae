/* SPDX-License-Identifier: MIT
 *
 * matrix: every situation × every way × every moment, as TAP.
 *
 *     matrix [--only NAME] [--quick]        --quick: during, after and interrupt only
 *
 * Each trial runs in a child process of its own; this one only watches the clock, says what a child that had to be killed was stuck
 * in, and prints in the order of the table. No test framework: it must run under ThreadSanitizer.
 * Invariants: at most JOBS children; a child is alone in its process group, which is killed as a whole when its time is up.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trial.h"

#define JOBS 4
#define CLOCK_MS 15000
#define TURN_MS 100
#define TEXT 1000

struct job {
	const struct situation *what;
	enum stuck_way way;
	enum moment moment;
	bool over;
	enum verdict verdict;
	char *why;
};

struct child {
	struct job *job; /* NULL: free */
	pid_t pid;
	int fd;
	int64_t left_ms;
	char text[TEXT];
	size_t used;
};

static struct job *jobs;
static size_t job_count, printed, counts[3];
static struct child children[JOBS];
static volatile sig_atomic_t stopped; /* SIGTERM or SIGINT: what was started is ended, then this ends */

static void on_stop(int signal_number)
{
	stopped = signal_number;
}

#ifdef __SANITIZE_THREAD__
/* Not a second of sleep at the end of each child. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "atexit_sleep_ms=0";
}
#endif

static void add_jobs(const char *only, bool quick)
{
	const struct situation *s;
	size_t room = 0;
	for (size_t i = 0; (s = situation_at(i)); i++) {
		if (only && strcmp(only, s->name))
			continue;
		for (int k = 0; k < 3 * MOMENTS; k++) {
			enum stuck_way way = (enum stuck_way)(k / MOMENTS);
			enum moment moment = (enum moment)(k % MOMENTS);
			bool in_quick = moment == MOMENT_DURING || moment == MOMENT_AFTER || moment == MOMENT_INTERRUPT;
			if ((quick && !in_quick) || !trial_makes_sense(s, way, moment))
				continue;
			if (job_count == room) {
				room = room ? 2 * room : 256;
				jobs = realloc(jobs, room * sizeof *jobs);
				if (!jobs)
					abort();
			}
			jobs[job_count++] = (struct job){.what = s, .way = way, .moment = moment};
		}
	}
}

/* One byte of verdict, then the text. */
static void run_child(const struct job *job, int fd)
{
	static char why[TEXT - 1];
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	char verdict = (char)trial_run(job->what, job->way, job->moment, why, sizeof why);
	if (write(fd, &verdict, 1) != 1 || write(fd, why, strlen(why)) < 0)
		_exit(1);
	/* With exit(): a sanitizer's report makes it fail. */
	exit(0);
}

static void start(struct child *child, struct job *job)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC))
		abort();
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		close(ends[0]);
		run_child(job, ends[1]);
	}
	setpgid(pid, pid);
	close(ends[1]);
	*child = (struct child){.job = job, .pid = pid, .fd = ends[0], .left_ms = CLOCK_MS};
}

static void print_file(const char *dir, const char *tid, const char *name)
{
	char path[600], text[300];
	snprintf(path, sizeof path, "%s/%s/%s", dir, tid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	printf(" %s: %s", name, text);
}

/* What each thread of a child that is late is doing. */
static void print_threads(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		printf("# thread %s:", entry->d_name);
		print_file(path, entry->d_name, "stat");
		print_file(path, entry->d_name, "syscall");
		print_file(path, entry->d_name, "wchan");
		printf("\n");
	}
	if (dir)
		closedir(dir);
}

static void print_finished(void)
{
	static const char *const words[] = {[TRIAL_PASSED] = "ok", [TRIAL_FAILED] = "not ok", [TRIAL_SKIPPED] = "ok"};
	for (; printed < job_count && jobs[printed].over; printed++) {
		struct job *job = &jobs[printed];
		counts[job->verdict]++;
		printf("%s %zu - %s/%s/%s%s%s\n", words[job->verdict], printed + 1, job->what->name, stuck_way_name(job->way),
		       moment_name(job->moment), job->verdict == TRIAL_SKIPPED ? " # SKIP " : "",
		       job->verdict == TRIAL_SKIPPED ? job->why : "");
		if (job->verdict == TRIAL_FAILED)
			printf("# %s\n", job->why);
		free(job->why);
		job->why = NULL;
	}
	fflush(stdout);
}

static void finish(struct child *child, bool late)
{
	struct job *job = child->job;
	int status = 0;
	if (late) {
		printf("# %s/%s/%s is late\n", job->what->name, stuck_way_name(job->way), moment_name(job->moment));
		print_threads(child->pid);
	}
	kill(-child->pid, SIGKILL); /* also what a trial has left behind */
	while (waitpid(child->pid, &status, 0) == -1 && errno == EINTR)
		;
	close(child->fd);
	stuck_sweep(child->pid);
	bool told = child->used > 0;
	char text[TEXT + 100];
	snprintf(text, sizeof text, "%.*s%s", told ? (int)child->used - 1 : 0, child->text + 1, late ? " killed by the clock" : "");
	job->verdict = told ? (enum verdict)child->text[0] : TRIAL_FAILED;
	if (late || !WIFEXITED(status) || WEXITSTATUS(status)) {
		size_t used = strlen(text);
		snprintf(text + used, sizeof text - used, " (child's status %#x)", (unsigned)status);
		job->verdict = TRIAL_FAILED;
	}
	job->why = strdup(text);
	job->over = true;
	child->job = NULL;
}

/* Reads what there is; at the end of file the child is about to have ended. */
static void hear(struct child *child)
{
	ssize_t n = read(child->fd, child->text + child->used, TEXT - child->used);
	if (n > 0)
		child->used += (size_t)n;
	else if (n == 0 || errno != EINTR)
		finish(child, false);
}

/* A turn counts for no more than TURN_MS, however long it took: when the machine stands still, no child is late. */
static void wait_for_any(void)
{
	struct pollfd fds[JOBS];
	for (int i = 0; i < JOBS; i++)
		fds[i] = (struct pollfd){.fd = children[i].job ? children[i].fd : -1, .events = POLLIN};
	unstick_time begin = unstick_now();
	if (poll(fds, JOBS, TURN_MS) < 0)
		return;
	int64_t passed = (unstick_now() - begin) / 1000000;
	for (int i = 0; i < JOBS; i++) {
		if (!children[i].job)
			continue;
		children[i].left_ms -= passed < TURN_MS ? passed : TURN_MS;
		if (fds[i].revents)
			hear(&children[i]);
		else if (children[i].left_ms <= 0)
			finish(&children[i], true);
	}
}

static void run_all(void)
{
	size_t next = 0;
	while (printed < job_count && !stopped) {
		for (int i = 0; i < JOBS && next < job_count; i++)
			if (!children[i].job)
				start(&children[i], &jobs[next++]);
		wait_for_any();
		print_finished();
	}
	for (int i = 0; i < JOBS; i++)
		if (children[i].job)
			finish(&children[i], true);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"only", required_argument, NULL, 'o'}, {"quick", no_argument, NULL, 'q'}, {0}};
	const char *only = NULL;
	bool quick = false;
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?') {
			fprintf(stderr, "usage: matrix [--only NAME] [--quick]\n");
			return 2;
		}
		if (c == 'o')
			only = optarg;
		else
			quick = true;
	}
	struct sigaction stop = {.sa_handler = on_stop};
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	add_jobs(only, quick);
	if (!job_count) {
		fprintf(stderr, "matrix: no such situation: %s\n", only ? only : "");
		return 2;
	}
	run_all();
	printf("1..%zu\n# %zu passed, %zu failed, %zu skipped\n", job_count, counts[TRIAL_PASSED], counts[TRIAL_FAILED],
	       counts[TRIAL_SKIPPED]);
	return counts[TRIAL_FAILED] || stopped ? 1 : 0;
}
