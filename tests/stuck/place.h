/* SPDX-License-Identifier: MIT
 *
 * What the situations share among themselves: the place that one is made in, and what many of them need to make it.
 * Written by setup; while the thread is blocked, others touch only what is atomic or what the kernel synchronises.
 */
#ifndef STUCK_PLACE_H
#define STUCK_PLACE_H

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#include "situations.h"

#define PLACE_FDS 16
#define BIG ((size_t)1 << 20)

struct place {
	int fd[PLACE_FDS]; /* -1: none */
	pid_t child;
	bool child_is_waited_for; /* by the blocking call itself, which may have reaped it */
	char dir[64];
	char path[96];
	struct sockaddr_storage addr;
	socklen_t addr_len;
	const char *why;
	void *memory;
	size_t memory_size;
	long id;
	bool submitted;
	_Atomic int listener;  /* made by the blocked thread, used by who releases it */
	_Atomic unsigned word; /* a futex, or a flag */
	pid_t owner;
	/* A thread that holds something until it is told to let go. */
	pthread_t helper;
	bool has_helper;
	sem_t ready, go;
	void (*take)(struct place *), (*drop)(struct place *);
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	pthread_rwlock_t rwlock;
	pthread_barrier_t barrier;
	pthread_once_t once;
	sem_t sem;
	bool flag; /* under mutex, or owned by who holds the lock */
	char buf[8192];
};

/* Zeroes, to be written and never read: shared by all. */
extern char place_zeroes[BIG];

void place_init(struct place *place);
void place_clear(struct place *place);
/* -ENOTSUP, with the reason. */
int place_refuse(struct place *place, const char *why);

/* Directory of its own, and place->path = "DIR/NAME". */
int place_name(struct place *place, const char *name);
/* Makes a System V object's id known to stuck_sweep(): kind "msg" or "sem". */
int place_note(struct place *place, const char *kind, long id);
/* fd[0] read end, fd[1] write end; both close-on-exec. */
int place_pipe(struct place *place);
/* Fills what fd writes to, until there has been no room for settle_ms. */
int place_fill(int fd, size_t piece, int settle_ms);
/* A child that runs fn(place) and ends with its result; it dies with this process. */
int place_fork(struct place *place, int (*fn)(struct place *));
/* Starts a thread that runs place->take, then waits for place_let_go(), then place->drop. Returns once it has taken. */
int place_helper(struct place *place, void (*take)(struct place *), void (*drop)(struct place *));
int place_let_go(struct place *place);
/* One byte into fd[1]; everything out of fd[0]. */
int place_give_byte(struct place *place);
int place_drain(struct place *place);

static inline long or_errno(long result)
{
	return result == -1 ? -errno : result;
}

static inline struct timespec long_span(void)
{
	return (struct timespec){.tv_sec = 1000};
}

static inline struct timespec long_after(clockid_t clock)
{
	struct timespec when;
	clock_gettime(clock, &when);
	when.tv_sec += 1000;
	return when;
}

/* The groups; each ends with a nameless one. */
extern const struct situation situations_fd[], situations_net[], situations_file[], situations_ipc[], situations_wait[],
        situations_futex[], situations_lock[], situations_libc[], situations_odd[];

#endif
