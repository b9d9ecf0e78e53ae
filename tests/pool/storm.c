/* SPDX-License-Identifier: MIT
 *
 * Pools under load: cancels, deadlines and joins at any moment of a job's life; starts against a close; abandoning against coming back.
 * The windows it opens: a token that fires before, while and after the job is queued, taken, begun, ended; a watch that is freed while
 * it runs; a close that cuts jobs which other threads are starting; a job that ends just when the monitor abandons it.
 * Each job must come to exactly one end, and what it says must fit what it did. A parent sees that nothing moves any more.
 *
 * usage: storm [--rounds N] [CASE]      plain TAP
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
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

#include "unstick.h"

enum { STARTERS = 3, STUCK_AFTER_S = 30 };

/* Shared with the parent. */
struct counts {
	_Atomic long jobs, done, cut, never_ran, abandoned, came_back, refused, wrong;
	_Atomic int first_wrong; /* a line */
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

static void spin(unsigned turns)
{
	for (volatile unsigned i = 0; i < turns; i++)
		;
}

static struct unstick_pool *pool;

static void open_pool(unsigned threads, int64_t grace_ns)
{
	const struct unstick_pool_options options = {
	        .size = sizeof options, .threads = threads, .queue = 64, .abandoned = 4096, .grace_ns = grace_ns};
	if (unstick_pool_new(&pool, &options))
		_exit(2);
}

/* ---- what jobs do */

struct task {
	int fds[2];
	bool foreign;
	_Atomic unsigned begun, ended;
	long result;
};

static void *read_one(void *arg)
{
	struct task *task = arg;
	char byte;
	atomic_fetch_add(&task->begun, 1);
	if (task->foreign) {
		ssize_t n = read(task->fds[0], &byte, 1);
		task->result = n < 0 ? -errno : n;
	} else {
		task->result = unstick_read(task->fds[0], &byte, 1);
	}
	atomic_fetch_add(&task->ended, 1);
	return task;
}

/* Does what the job tells fit what it did? */
static void judge(struct task *task, int end, int state, const void *result)
{
	bool ran = atomic_load(&task->begun);
	MUST(atomic_load(&task->begun) <= 1 && atomic_load(&task->begun) == atomic_load(&task->ended));
	MUST(result == (ran ? task : NULL));
	MUST(state == (end == 0 ? UNSTICK_JOB_DONE : end == -ECANCELED ? UNSTICK_JOB_CANCELLED : UNSTICK_JOB_TIMED_OUT));
	MUST(end == 0 || end == -ECANCELED || end == -ETIMEDOUT);
	if (end == 0)
		MUST(ran && task->result == 1);
	else if (ran) /* a byte that came first is kept; then the call's own error is the reason, or a plain EINTR */
		MUST(task->result == end || (task->foreign && task->result == -EINTR));
	atomic_fetch_add(end == 0 ? &counts->done : &counts->cut, 1);
	counts->never_ran += !ran;
}

/* ---- 1: cancels, deadlines, data, at any moment */

static void one_job(struct task *task, unsigned *seed)
{
	struct unstick_job *job;
	struct unstick_token *token = NULL;
	void *result = NULL;
	char byte;
	unsigned how = next_random(seed) % 4, pause = next_random(seed) % (next_random(seed) % 2 ? 4000 : 300000);
	task->foreign = next_random(seed) % 2;
	task->begun = task->ended = 0;
	if (how == 3 && unstick_token_new(&token, NULL))
		_exit(2);
	struct unstick_job_options options = {.size = sizeof options, .run = read_one, .arg = task, .token = token};
	options.deadline = how == 2 ? unstick_after_ns(next_random(seed) % 200000) : 0;
	if (unstick_job_start(pool, &options, &job))
		_exit(2);
	spin(pause);
	if (how == 0 && write(task->fds[1], "x", 1) != 1)
		_exit(2);
	if (how == 1)
		MUST(unstick_job_cancel(job) == 0);
	if (how == 3)
		unstick_token_cancel(token);
	if (next_random(seed) % 8 == 0)
		MUST(unstick_job_cancel(job) == 0); /* once more, or in place of the data */
	int end = unstick_job_join(job, UNSTICK_NEVER, &result);
	int state = unstick_job_state(job);
	if (state == UNSTICK_JOB_ABANDONED) { /* a busy machine, and nothing else: it comes out */
		while (unstick_job_state(job) == UNSTICK_JOB_ABANDONED)
			poll(NULL, 0, 1);
		end = unstick_job_join(job, UNSTICK_NEVER, &result);
		state = unstick_job_state(job);
	}
	judge(task, end, state, result);
	if (how == 0 && task->result != 1 && read(task->fds[0], &byte, 1) != 1) /* the byte that nobody took */
		_exit(2);
	task->result = 0;
	unstick_job_unref(job);
	unstick_token_unref(token);
	atomic_fetch_add(&counts->jobs, 1);
}

struct starter {
	unsigned seed;
	long rounds;
};

static void *start_jobs(void *arg)
{
	struct starter *starter = arg;
	struct task task = {.result = 0};
	if (pipe(task.fds))
		_exit(2);
	for (long i = 0; i < starter->rounds; i++)
		one_job(&task, &starter->seed);
	close(task.fds[0]);
	close(task.fds[1]);
	return NULL;
}

static void with_starters(void *(*fn)(void *), long rounds)
{
	pthread_t threads[STARTERS];
	struct starter starters[STARTERS];
	for (unsigned i = 0; i < STARTERS; i++) {
		starters[i] = (struct starter){.seed = i + (unsigned)getpid(), .rounds = rounds / STARTERS};
		if (pthread_create(&threads[i], NULL, fn, &starters[i]))
			_exit(2);
	}
	for (unsigned i = 0; i < STARTERS; i++)
		pthread_join(threads[i], NULL);
}

static void storm(long rounds)
{
	struct unstick_pool_counts now;
	open_pool(2, 0);
	with_starters(start_jobs, rounds);
	MUST(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0);
	MUST(unstick_pool_stats(pool, &now) == 0);
	MUST(now.started == (uint64_t)counts->jobs && now.done == (uint64_t)counts->done);
	MUST(now.cancelled + now.timed_out == (uint64_t)counts->cut && now.failed == 0);
	unstick_pool_free(pool);
}

/* ---- 2: starts against a close */

enum { BURST = 20 };

static void *start_until_closed(void *arg)
{
	struct starter *starter = arg;
	struct task tasks[BURST];
	struct unstick_job *jobs[BURST];
	unsigned started = 0;
	memset(tasks, 0, sizeof tasks);
	for (; started < BURST; started++) {
		struct task *task = &tasks[started];
		const struct unstick_job_options options = {.size = sizeof options, .run = read_one, .arg = task};
		if (pipe(task->fds))
			_exit(2);
		task->foreign = started % 2;
		int error = unstick_job_start(pool, &options, &jobs[started]);
		if (error) {
			MUST(error == -ESHUTDOWN);
			atomic_fetch_add(&counts->refused, 1);
			close(task->fds[0]);
			close(task->fds[1]);
			break;
		}
		spin(next_random(&starter->seed) % 500);
	}
	for (unsigned i = 0; i < started; i++) {
		void *result = NULL;
		int end = unstick_job_join(jobs[i], UNSTICK_NEVER, &result);
		MUST(end == -ECANCELED); /* nobody writes */
		judge(&tasks[i], end, unstick_job_state(jobs[i]), result);
		unstick_job_unref(jobs[i]);
		close(tasks[i].fds[0]);
		close(tasks[i].fds[1]);
		atomic_fetch_add(&counts->jobs, 1);
	}
	return NULL;
}

static void close_while_starting(long rounds)
{
	pthread_t threads[STARTERS];
	struct starter starters[STARTERS];
	unsigned seed = (unsigned)getpid();
	for (long round = 0; round < rounds; round++) {
		open_pool(4, 0);
		for (unsigned i = 0; i < STARTERS; i++) {
			starters[i].seed = next_random(&seed);
			if (pthread_create(&threads[i], NULL, start_until_closed, &starters[i]))
				_exit(2);
		}
		spin(next_random(&seed) % 60000);
		int end = unstick_pool_close(pool, UNSTICK_NEVER, NULL);
		MUST(end == 0);
		for (unsigned i = 0; i < STARTERS; i++)
			pthread_join(threads[i], NULL);
		MUST(unstick_pool_close(pool, 0, NULL) == 0);
		unstick_pool_free(pool);
	}
}

/* ---- 3: abandoning against coming back */

static pthread_mutex_t locks[STARTERS];

static void *wait_for_lock(void *lock)
{
	pthread_mutex_lock(lock);
	pthread_mutex_unlock(lock);
	return lock;
}

static void *start_stuck(void *arg)
{
	struct starter *starter = arg;
	pthread_mutex_t *lock = &locks[starter->seed % STARTERS];
	for (long i = 0; i < starter->rounds; i++) {
		struct unstick_job *job;
		void *result = NULL;
		const struct unstick_job_options options = {.size = sizeof options, .run = wait_for_lock, .arg = lock};
		pthread_mutex_lock(lock);
		if (unstick_job_start(pool, &options, &job))
			_exit(2);
		poll(NULL, 0, (int)(next_random(&starter->seed) % 2));
		unstick_job_cancel(job);
		if (next_random(&starter->seed) % 2) {
			MUST(unstick_job_join(job, UNSTICK_NEVER, NULL) == -ECANCELED); /* never ran, or abandoned */
		} else {
			poll(NULL, 0, 20);
			spin(next_random(&starter->seed) % 100000);
		}
		atomic_fetch_add(&counts->abandoned, unstick_job_state(job) == UNSTICK_JOB_ABANDONED);
		pthread_mutex_unlock(lock);
		int end = unstick_job_join(job, UNSTICK_NEVER, &result), state;
		while ((state = unstick_job_state(job)) == UNSTICK_JOB_ABANDONED)
			poll(NULL, 0, 1);
		MUST(end == -ECANCELED || (end == 0 && result == lock && state == UNSTICK_JOB_DONE));
		unstick_job_unref(job);
		atomic_fetch_add(&counts->jobs, 1);
	}
	return NULL;
}

static void abandon_and_reap(long rounds)
{
	struct unstick_pool_counts now;
	for (unsigned i = 0; i < STARTERS; i++)
		pthread_mutex_init(&locks[i], NULL);
	open_pool(STARTERS, 20 * 1000000);
	with_starters(start_stuck, rounds);
	MUST(unstick_pool_close(pool, UNSTICK_NEVER, NULL) == 0);
	MUST(unstick_pool_stats(pool, &now) == 0);
	MUST(now.abandoned == 0 && now.abandoned_ever == now.came_back && now.threads <= STARTERS);
	counts->came_back = (long)now.came_back;
	unstick_pool_free(pool);
}

/* ---- */

struct storm_case {
	const char *name;
	void (*run)(long rounds);
	long divisor; /* its rounds, of those that were asked for */
};

static const struct storm_case cases[] = {
        {"cancels, deadlines and data at any moment: one end a job, and it fits", storm, 1},
        {"starts against a close: each is refused or ended", close_while_starting, 100},
        {"abandoning against coming back: nothing is lost or counted twice", abandon_and_reap, 100},
};

static bool watch(pid_t pid, int *status)
{
	long before = -1;
	for (unsigned still = 0; still < STUCK_AFTER_S * 10;) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		long now = atomic_load(&counts->jobs);
		still = now == before ? still + 1 : 0;
		before = now;
		poll(NULL, 0, 100);
	}
	kill(pid, SIGKILL);
	waitpid(pid, status, 0);
	return false;
}

static bool run(unsigned number, const struct storm_case *storm_case, long rounds)
{
	int status = 0;
	memset(counts, 0, sizeof *counts);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		storm_case->run(rounds / storm_case->divisor);
		_exit(0);
	}
	bool ended = watch(pid, &status), ok = ended && status == 0 && !counts->wrong;
	printf("%sok %u - %s: %ld jobs, %ld done, %ld cut short (%ld never ran), %ld refused, %ld abandoned, %ld came back, %ld "
	       "wrong",
	       ok ? "" : "not ", number, storm_case->name, counts->jobs, counts->done, counts->cut, counts->never_ran,
	       counts->refused, counts->abandoned, counts->came_back, counts->wrong);
	if (counts->wrong)
		printf(" (the first: line %d)", counts->first_wrong);
	printf("%s%s\n", ended ? "" : ": nothing moved any more", status ? ", bad status" : "");
	return ok;
}

int main(int argc, char **argv)
{
	long rounds = 20000, only = 0;
	unsigned failed = 0, number = 0;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = atol(argv[++i]);
		else
			only = atol(argv[i]);
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED || rounds < 1)
		return 2;
	for (long i = 0; i < (long)(sizeof cases / sizeof cases[0]); i++)
		if (!only || only == i + 1)
			failed += !run(++number, &cases[i], rounds);
	printf("1..%u\n", number);
	return failed != 0;
}
