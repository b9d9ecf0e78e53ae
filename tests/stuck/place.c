/* SPDX-License-Identifier: MIT
 *
 * The place a situation is made in: making and undoing what situations have in common.
 * Invariant: place_clear() undoes everything that was made, also after a setup that failed half-way. Files live in one directory
 * named after the process, so that a watcher that had to kill the process can sweep them up.
 * What it does not do: end a thread that is still blocked (stuck.h's user calls stuck_free(), which does).
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

char place_zeroes[BIG];

static void directory_name(char *name, size_t size, pid_t pid)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(name, size, "%.32s/unstick-stuck-%d", tmp && strlen(tmp) <= 32 ? tmp : "/tmp", (int)pid);
}

void place_init(struct place *place)
{
	memset(place, 0, sizeof *place);
	for (int i = 0; i < PLACE_FDS; i++)
		place->fd[i] = -1;
	atomic_store(&place->listener, -1);
	place->id = -1;
	place->owner = getpid();
	place->once = (pthread_once_t)PTHREAD_ONCE_INIT;
	sem_init(&place->ready, 0, 0);
	sem_init(&place->go, 0, 0);
}

int place_refuse(struct place *place, const char *why)
{
	place->why = why;
	return -ENOTSUP;
}

static void end_child(struct place *place)
{
	if (place->child <= 0)
		return;
	/* Somebody else's pid by now? Only if the blocking call has reaped it: then it is no child of ours and waitid says so. */
	siginfo_t info;
	if (waitid(P_PID, (id_t)place->child, &info, WEXITED | WNOWAIT | WNOHANG) == 0) {
		kill(place->child, SIGKILL);
		while (waitpid(place->child, NULL, 0) == -1 && errno == EINTR)
			;
	}
	place->child = 0;
}

void place_clear(struct place *place)
{
	if (place->has_helper) {
		sem_post(&place->go);
		pthread_join(place->helper, NULL);
		place->has_helper = false;
	}
	end_child(place);
	for (int i = 0; i < PLACE_FDS; i++)
		if (place->fd[i] >= 0)
			close(place->fd[i]);
	int listener = atomic_load(&place->listener);
	if (listener >= 0)
		close(listener);
	if (place->memory)
		munmap(place->memory, place->memory_size);
	if (place->path[0])
		unlink(place->path);
	sem_destroy(&place->ready);
	sem_destroy(&place->go);
	if (place->dir[0])
		stuck_sweep(place->owner);
}

static void sweep_entry(const char *dir, const char *name)
{
	char path[400];
	int id;
	if (sscanf(name, "msg-%d", &id) == 1)
		msgctl(id, IPC_RMID, NULL);
	else if (sscanf(name, "sem-%d", &id) == 1)
		semctl(id, 0, IPC_RMID);
	snprintf(path, sizeof path, "%s/%s", dir, name);
	unlink(path);
}

void stuck_sweep(pid_t pid)
{
	char dir[64];
	directory_name(dir, sizeof dir, pid);
	DIR *stream = opendir(dir);
	if (!stream)
		return;
	struct dirent *entry;
	while ((entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			sweep_entry(dir, entry->d_name);
	closedir(stream);
	rmdir(dir);
}

int place_name(struct place *place, const char *name)
{
	directory_name(place->dir, sizeof place->dir, place->owner);
	if (mkdir(place->dir, 0700) && errno != EEXIST)
		return -errno;
	/* A second situation of this kind in the same process gets a name of its own. */
	for (int i = 0; i < 1000; i++) {
		snprintf(place->path, sizeof place->path, "%s/%s-%d", place->dir, name, i);
		if (access(place->path, F_OK))
			return 0;
	}
	return -EEXIST;
}

int place_note(struct place *place, const char *kind, long id)
{
	char name[32];
	place->id = id;
	snprintf(name, sizeof name, "%s-%ld", kind, id);
	int r = place_name(place, name);
	if (r)
		return r;
	int fd = open(place->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

int place_pipe(struct place *place)
{
	return pipe2(place->fd, O_CLOEXEC) ? -errno : 0;
}

static bool write_what_fits(int fd, size_t piece)
{
	bool any = false;
	while (write(fd, place_zeroes, piece) > 0)
		any = true;
	return any;
}

/* Tried, not polled for: a socket takes a few bytes long before it is called writable. */
int place_fill(int fd, size_t piece, int settle_ms)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	while (write_what_fits(fd, piece) || write_what_fits(fd, 1))
		poll(NULL, 0, settle_ms);
	return fcntl(fd, F_SETFL, flags) ? -errno : 0;
}

int place_fork(struct place *place, int (*fn)(struct place *))
{
	pid_t parent = getpid(), child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
			_exit(99);
		_exit(fn(place));
	}
	place->child = child;
	return 0;
}

static void *hold(void *arg)
{
	struct place *place = arg;
	place->take(place);
	sem_post(&place->ready);
	while (sem_wait(&place->go))
		;
	place->drop(place);
	return NULL;
}

int place_helper(struct place *place, void (*take)(struct place *), void (*drop)(struct place *))
{
	place->take = take;
	place->drop = drop;
	int r = pthread_create(&place->helper, NULL, hold, place);
	if (r)
		return -r;
	place->has_helper = true;
	while (sem_wait(&place->ready))
		;
	return 0;
}

int place_let_go(struct place *place)
{
	return sem_post(&place->go) ? -errno : 0;
}

int place_give_byte(struct place *place)
{
	return write(place->fd[1], "x", 1) == 1 ? 0 : -errno;
}

int place_drain(struct place *place)
{
	static char sink[1 << 16]; /* contents never looked at */
	int flags = fcntl(place->fd[0], F_GETFL);
	if (flags < 0 || fcntl(place->fd[0], F_SETFL, flags | O_NONBLOCK))
		return -errno;
	while (read(place->fd[0], sink, sizeof sink) > 0)
		;
	return 0;
}
