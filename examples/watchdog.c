/* SPDX-License-Identifier: MIT
 *
 * A watchdog over somebody else's thread pool. The pool is plain pthreads and knows nothing of unstick: its threads wait
 * on silent sockets, sleep for days, wait for a lock that its owner keeps, or compute. Every tenth of a second the watchdog
 * looks at all threads of the process; one of the pool that makes no progress for a second gets its call ended, once.
 *
 * What can be freed is freed: the call fails with ECANCELED, and the pool's own error handling does the rest. What cannot be
 * is named: a lock is freed by its owner only, and who computes is in no call that could be ended. Looking stops nobody.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unstick.h>

enum { STUCK_MS = 1000, TICK_MS = 100, RUN_MS = 2500, ATTEMPT_MS = 200, MOST = 16 };

/* ---- Somebody else's pool ---- */

static pthread_mutex_t contended = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool enough;

struct member {
	const char *name;
	int (*work)(struct member *); /* 0 or the errno that the call failed with */
	int fd;
	int expect_kind, expect_errno;
	int came_out_with;
	pthread_t thread;
};

static int receive(struct member *m)
{
	char byte;
	return recv(m->fd, &byte, 1, 0) < 0 ? errno : 0;
}

static int sleep_long(struct member *m)
{
	const struct timespec days = {.tv_sec = 1000000};
	(void)m;
	return nanosleep(&days, NULL) < 0 ? errno : 0;
}

static int take_lock(struct member *m)
{
	(void)m;
	int error = pthread_mutex_lock(&contended);
	if (error == 0)
		pthread_mutex_unlock(&contended);
	return error;
}

static int compute(struct member *m)
{
	(void)m;
	while (!enough)
		;
	return 0;
}

static void *run(void *arg)
{
	struct member *m = arg;
	pthread_setname_np(pthread_self(), m->name);
	m->came_out_with = m->work(m);
	return NULL;
}

/* ---- The watchdog ---- */

/* What it remembers of a thread: since when it has been in the same place without having run in between. */
struct watched {
	pid_t tid;
	long nr;
	unsigned long sp, pc;
	unstick_time since;
	int kind; /* of the attempt; UNSTICK_NONE: none so far */
	char name[16];
};

static struct watched *remember(struct watched table[MOST], const struct unstick_report *now)
{
	for (int i = 0; i < MOST; i++) {
		struct watched *w = &table[i];
		if (w->tid != 0 && w->tid != now->tid)
			continue;
		bool ran = now->nr >= 0 && now->blocked_ns >= 0 && now->blocked_ns < TICK_MS * 1000000LL;
		if (w->tid == 0 || w->nr != now->nr || w->sp != now->sp || w->pc != now->pc || ran) {
			*w = (struct watched){now->tid, now->nr, now->sp, now->pc, unstick_now(), w->kind, ""};
			memcpy(w->name, now->name, sizeof(w->name));
		}
		return w;
	}
	return NULL;
}

static void free_thread(struct watched *w, const struct unstick_report *seen)
{
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	char line[256];

	if (unstick_thread_find(&thread, w->tid) < 0)
		return;
	printf("%-14s no progress for %.1f s, in %s %s\n", seen->name, (double)(unstick_now() - w->since) / 1e9,
	       seen->nr >= 0 ? seen->call : "no call", seen->object);
	if (unstick_thread_interrupt(thread, unstick_after_ms(ATTEMPT_MS), &outcome) == 0 &&
	    unstick_outcome_print(&outcome, line, sizeof(line)) >= 0) {
		printf("%-14s %s\n", "", line);
		w->kind = outcome.kind;
	}
	unstick_thread_unref(thread);
}

static void look_at_all(struct watched table[MOST])
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	struct unstick_report report;

	while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
		pid_t tid = atoi(entry->d_name); /* "." and ".." are 0 */
		if (tid == 0 || unstick_look(0, tid, &report) < 0 || strncmp(report.name, "pool-", 5) != 0)
			continue;
		struct watched *w = remember(table, &report);
		if (w != NULL && w->kind == UNSTICK_NONE && unstick_now() - w->since >= STUCK_MS * 1000000LL)
			free_thread(w, &report);
	}
	if (tasks != NULL)
		closedir(tasks);
}

/* A real one would run for ever; this one stops after a while, when it has seen everybody. */
static void *watchdog(void *table)
{
	const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};

	for (int elapsed = 0; elapsed < RUN_MS; elapsed += TICK_MS) {
		look_at_all(table);
		nanosleep(&tick, NULL);
	}
	return NULL;
}

/* ---- The program: what did the pool get, what did the watchdog say? ---- */

static bool as_promised(const struct member *m, const struct watched table[MOST])
{
	int kind = UNSTICK_NONE;
	for (int i = 0; i < MOST; i++) {
		if (strcmp(table[i].name, m->name) == 0)
			kind = table[i].kind;
	}
	printf("%-14s %s, its call gave %s\n", m->name, unstick_kind_name(kind),
	       m->came_out_with == 0 ? "its own result" : strerror(m->came_out_with));
	return kind == m->expect_kind && m->came_out_with == m->expect_errno;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	int silent[2]; /* neither end ever sends */
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, silent) < 0)
		return 1;
	struct member pool[] = {
	        {"pool-recv-1", receive, silent[0], UNSTICK_WOKEN, ECANCELED, -1, 0},
	        {"pool-recv-2", receive, silent[1], UNSTICK_WOKEN, ECANCELED, -1, 0},
	        {"pool-sleep", sleep_long, -1, UNSTICK_WOKEN, ECANCELED, -1, 0},
	        {"pool-lock", take_lock, -1, UNSTICK_LOCK, 0, -1, 0},
	        {"pool-compute", compute, -1, UNSTICK_NOT_BLOCKED, 0, -1, 0},
	};
	const int n = sizeof(pool) / sizeof(pool[0]);
	struct watched table[MOST] = {0};
	pthread_t dog;
	bool good = true;

	pthread_mutex_lock(&contended);
	for (int i = 0; i < n; i++)
		good = pthread_create(&pool[i].thread, NULL, run, &pool[i]) == 0 && good;
	if (!good || pthread_create(&dog, NULL, watchdog, table) != 0)
		return 1;
	pthread_join(dog, NULL);

	/* The two that nobody but the program itself can end. */
	pthread_mutex_unlock(&contended);
	enough = true;
	for (int i = 0; i < n; i++) {
		pthread_join(pool[i].thread, NULL);
		good = as_promised(&pool[i], table) && good;
	}
	puts(good ? "the watchdog freed all that can be freed, and named the rest" : "FAILED: not what was promised");
	return good ? 0 : 1;
}
