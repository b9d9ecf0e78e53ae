/* SPDX-License-Identifier: MIT
 *
 * The life of one stuck thread: make the place, block, watch, release, undo.
 * The thread passes NEW -> ENTERED (before hook run, about to call) -> RETURNED (result is there) -> DONE (after hook run), one way;
 * it alone stores the stage, and what it wrote before a stage may be read by who has seen that stage.
 * "Blocked" is what /proc says, seen twice at the same spot: library functions pass through other waits on their way.
 * What it does not do: free the thread as the library would. stuck_free()'s means are crude and meant for what is left over.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "place.h"

enum stage { NEW, ENTERED, RETURNED, DONE };

struct stuck {
	const struct situation *what;
	enum stuck_way way;
	struct place place;
	pthread_t thread;
	bool has_thread;
	_Atomic int stage;
	_Atomic pid_t tid;
	_Atomic bool released;
	_Atomic bool leaving;
	bool settled;
	long result;
	long nr;
	char state;
	void (*before)(void *), (*after)(void *);
	void *arg;
};

static const char *why_not = "";

static void nothing(int signo)
{
	(void)signo;
}

static int make_place(struct stuck *stuck)
{
	const struct situation *what = stuck->what;
	place_init(&stuck->place);
	if (what->flags & STUCK_ROOT && geteuid() != 0)
		return place_refuse(&stuck->place, "needs root");
#ifdef __SANITIZE_THREAD__ /* gcc's macro: the project's sanitizer builds are gcc's */
	if (what->flags & STUCK_NO_TSAN)
		return place_refuse(&stuck->place, "ThreadSanitizer is in the way of this call");
#endif
	return what->setup ? what->setup(&stuck->place) : 0;
}

static void unmake_place(struct stuck *stuck)
{
	if (stuck->what->cleanup)
		stuck->what->cleanup(&stuck->place);
	place_clear(&stuck->place);
}

int stuck_new(struct stuck **ret, const struct situation *situation, enum stuck_way way)
{
	if (!situation || !situation_has(situation, way))
		return -EINVAL;
	struct sigaction action = {.sa_handler = nothing};
	sigaction(SIGUSR2, &action, NULL);
	struct stuck *stuck = calloc(1, sizeof *stuck);
	if (!stuck)
		return -ENOMEM;
	stuck->what = situation;
	stuck->way = way;
	stuck->nr = -3;
	stuck->state = '?';
	int r = make_place(stuck);
	if (r) {
		why_not = stuck->place.why ? stuck->place.why : strerror(-r);
		unmake_place(stuck);
		free(stuck);
		return r;
	}
	*ret = stuck;
	return 0;
}

const char *stuck_why_not(void)
{
	return why_not;
}

void stuck_set_hooks(struct stuck *stuck, void (*before)(void *), void (*after)(void *), void *arg)
{
	stuck->before = before;
	stuck->after = after;
	stuck->arg = arg;
}

/* A call that only a signal ends must not be made again after the release; and none when the thread has to end by all means. */
static bool makes_it_again(struct stuck *stuck, long r)
{
	if (stuck->way != STUCK_RETRY || r != -EINTR || atomic_load(&stuck->leaving))
		return false;
	return stuck->what->release || !atomic_load(&stuck->released);
}

static long block(struct stuck *stuck)
{
	struct place *place = &stuck->place;
	if (stuck->way == STUCK_OWN)
		return stuck->what->own(place);
	long r;
	do
		r = stuck->what->foreign(place);
	while (makes_it_again(stuck, r));
	return r;
}

void stuck_run(struct stuck *stuck)
{
	atomic_store(&stuck->tid, gettid());
	if (stuck->before)
		stuck->before(stuck->arg);
	atomic_store(&stuck->stage, ENTERED);
	stuck->result = block(stuck);
	atomic_store(&stuck->stage, RETURNED);
	if (stuck->after)
		stuck->after(stuck->arg);
	atomic_store(&stuck->stage, DONE);
}

static void *run_thread(void *arg)
{
	stuck_run(arg);
	return NULL;
}

int stuck_start(struct stuck *stuck)
{
	int r = pthread_create(&stuck->thread, NULL, run_thread, stuck);
	stuck->has_thread = r == 0;
	return -r;
}

static int read_task(pid_t tid, const char *name, char *text, size_t size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)tid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, size - 1);
	int r = n < 0 ? -errno : 0;
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return r;
}

/* Where a thread is: of a call without arguments the argument registers hold whatever was there before. */
struct spot {
	long nr;
	unsigned long sp, pc;
};

static struct spot parse_spot(const char *line)
{
	struct spot spot = {.nr = -2};
	unsigned long field[9] = {0};
	if (!strncmp(line, "running", 7))
		return spot;
	char *end;
	int n = 0;
	spot.nr = strtol(line, &end, 10);
	while (n < 9 && *end && *end != '\n')
		field[n++] = strtoul(end, &end, 16);
	spot.sp = n >= 2 ? field[n - 2] : 0;
	spot.pc = n >= 2 ? field[n - 1] : 0;
	return spot;
}

/* Looks once. 0; -errno when there is nothing to be seen. */
static int look(struct stuck *stuck, struct spot *spot)
{
	char stat[512], line[256];
	pid_t tid = atomic_load(&stuck->tid);
	int r = read_task(tid, "stat", stat, sizeof stat);
	if (!r)
		r = read_task(tid, "syscall", line, sizeof line);
	if (r)
		return r;
	const char *end = strrchr(stat, ')');
	stuck->state = end && end[1] ? end[2] : '?';
	*spot = parse_spot(line);
	stuck->nr = spot->nr;
	return 0;
}

static bool looks_blocked(const struct stuck *stuck)
{
	bool spins = situation_has_nr(stuck->what, -2);
	return situation_has_nr(stuck->what, stuck->nr) &&
	       (spins ? stuck->state == 'R' : stuck->state == 'S' || stuck->state == 'D');
}

/* From 20 us, doubling to 5 ms: quick where it is quick, and no load where it is not. Patience is counted in these, not by a clock: on
 * a machine that stands still for seconds everybody stands still, and nobody is late. */
static void pause_between_looks(int round)
{
	struct timespec span = {.tv_nsec = round > 8 ? 5000000 : 20000L << round};
	nanosleep(&span, NULL);
}

static int rounds_in(int ms)
{
	return ms / 5 + 9;
}

bool stuck_is_done(struct stuck *stuck)
{
	return atomic_load(&stuck->stage) == DONE;
}

bool stuck_is_blocked(struct stuck *stuck)
{
	struct spot spot;
	return atomic_load(&stuck->stage) == ENTERED && look(stuck, &spot) == 0 && looks_blocked(stuck);
}

static int settle(struct stuck *stuck)
{
	if (stuck->settled || !stuck->what->settle)
		return 0;
	stuck->settled = true;
	return stuck->what->settle(&stuck->place);
}

int stuck_wait_blocked(struct stuck *stuck)
{
	struct spot spot = {0}, last = {.nr = -3};
	for (int round = 0; round < rounds_in(10000); round++) {
		if (atomic_load(&stuck->stage) > ENTERED)
			return -EALREADY;
		if (atomic_load(&stuck->stage) == ENTERED) {
			int r = look(stuck, &spot);
			if (r && r != -ESRCH && r != -ENOENT)
				return -EACCES;
			if (!r && looks_blocked(stuck) && spot.nr == last.nr && spot.sp == last.sp && spot.pc == last.pc)
				return settle(stuck);
			last = spot;
		}
		pause_between_looks(round);
	}
	return -ETIMEDOUT;
}

int stuck_wait_done(struct stuck *stuck, int timeout_ms)
{
	for (int round = 0; !stuck_is_done(stuck); round++) {
		if (round >= rounds_in(timeout_ms))
			return -ETIMEDOUT;
		pause_between_looks(round);
	}
	return 0;
}

pid_t stuck_tid(struct stuck *stuck)
{
	return atomic_load(&stuck->tid);
}

long stuck_nr(struct stuck *stuck)
{
	return stuck->nr;
}

char stuck_state(struct stuck *stuck)
{
	return stuck->state;
}

long stuck_result(struct stuck *stuck)
{
	return atomic_load(&stuck->stage) >= RETURNED ? stuck->result : -EINPROGRESS;
}

pid_t stuck_child(struct stuck *stuck)
{
	return stuck->place.child;
}

static void signal_thread(struct stuck *stuck)
{
	if (!stuck_is_done(stuck))
		syscall(SYS_tgkill, getpid(), atomic_load(&stuck->tid), SIGUSR2);
}

int stuck_release(struct stuck *stuck)
{
	if (atomic_exchange(&stuck->released, true))
		return 0;
	if (stuck->what->release)
		return stuck->what->release(&stuck->place);
	signal_thread(stuck);
	return 0;
}

/* Released or not, it is to end: what it waits for, then signals, then cancellation. */
static int end_thread(struct stuck *stuck)
{
	if (stuck_is_done(stuck))
		return 0;
	int r = stuck_release(stuck);
	(void)r; /* it may be refused because the thread is on its way out already */
	if (stuck_wait_done(stuck, 5000) == 0)
		return 0;
	atomic_store(&stuck->leaving, true);
	for (int i = 0; i < 10; i++) {
		signal_thread(stuck);
		if (stuck_wait_done(stuck, 100) == 0)
			return 0;
	}
	return -EBUSY;
}

static int join_thread(struct stuck *stuck)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	return pthread_timedjoin_np(stuck->thread, NULL, &until);
}

int stuck_free(struct stuck *stuck)
{
	if (!stuck)
		return 0;
	if (stuck->has_thread) {
		bool ended = end_thread(stuck) == 0;
		if (!ended)
			pthread_cancel(stuck->thread);
		if (join_thread(stuck)) {
			fprintf(stderr, "stuck: %s: thread %d cannot be ended: call %ld, state %c\n", stuck->what->name,
			        (int)stuck_tid(stuck), stuck->nr, stuck->state);
			return -EBUSY;
		}
	}
	unmake_place(stuck);
	free(stuck);
	return 0;
}
