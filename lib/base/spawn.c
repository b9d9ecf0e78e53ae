/* SPDX-License-Identifier: MIT
 *
 * clone(CLONE_VM | CLONE_VFORK): one of the processes involved runs at a time, the others wait in clone. So struct launch needs no
 * lock, each clone returns after all that the child has written, and a stack may be unmapped once the clone that used it is over.
 * All of them share the caller's TLS: errno, the cancellation state, a sanitizer's idea of the thread. Therefore the children make
 * raw system calls only.
 *
 * An unrelated program has a middle process between the application and itself, that ends as soon as the program runs. The middle
 * shares the application's fd table too (CLONE_FILES), so that the pidfd it gets with its own clone is the application's. It is
 * made by the call that makes the process, so it cannot be another one's, as that of a pidfd_open() could.
 *
 * exit_signal 0 (no CSIGNAL bits): until its execve() such a child is found with __WCLONE or __WALL only, by nobody's wait() for
 * any child; it tells nobody of its end, and it stays for us though SIGCHLD be ignored. execve() makes it SIGCHLD. The middle makes
 * no execve(), so all of this holds to its end.
 */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/raw.h"
#include "base/text.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* For functions that execve() never returns from. They would leave the sanitizers frames that seem to be open still. */
#define LEAVES_FOR_GOOD __attribute__((noinline, no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined")))

enum {
	FDS = 4,
	LAST_SIGNAL = 64,
	STACK = 8192, /* the children's frames take less than 1 KiB */
};

/* What caller, middle and child have in common. Written by one of them at a time: see above. */
struct launch {
	const struct spawn *spawn;
	char *const *env;
	const char *path; /* directories with ':' between them */
	long pid;         /* the program's */
	int pidfd;
	int error;                /* what failed, -errno */
	bool bad_dir;             /* ... which was chdir */
	char candidate[PATH_MAX]; /* the file that is tried */
	_Alignas(16) char child_stack[STACK];
	_Alignas(16) char middle_stack[STACK];
};

/* ---- In the child ---------------------------------------------------------------------------------------------------------- */

/* Signals that came for the child stay pending until the mask is emptied: by then no handler must be left. execve() would do away
 * with handlers, but later, and it keeps what is ignored. */
static void reset_signals(void)
{
	static const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} by_default; /* as the kernel has it; SIG_DFL is 0 */
	static const uint64_t none;

	for (int sig = 1; sig <= LAST_SIGNAL; sig++)
		RAW_4(SYS_rt_sigaction, sig, &by_default, NULL, sizeof(none));
	RAW_4(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* A copy that the numbers 0 to 3 can be given away over. */
static int copy_above(int fd)
{
	return (int)RAW_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FDS);
}

static int open_null(void)
{
	int fd = (int)RAW_4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	if (fd < 0 || fd >= FDS)
		return fd;
	int copy = copy_above(fd);
	RAW_1(SYS_close, fd);
	return copy;
}

/* Where fd number `i` comes from: `i` itself, or a number that placing the others does not touch. */
static int source_of(int given, int i)
{
	if (given == SPAWN_SAME || given == i)
		return i;
	if (given == SPAWN_NULL)
		return open_null();
	return given < FDS ? copy_above(given) : given;
}

static int place_fd(int from, int i)
{
	return (int)(from == i ? RAW_3(SYS_fcntl, i, F_SETFD, 0) : RAW_3(SYS_dup3, from, i, 0));
}

static int place_fds(const int given[FDS])
{
	int from[FDS];
	const int count = given[FDS - 1] == SPAWN_NULL ? FDS - 1 : FDS;

	for (int i = 0; i < count; i++) {
		if ((from[i] = source_of(given[i], i)) < 0)
			return from[i];
	}
	for (int i = 0; i < count; i++) {
		int error = place_fd(from[i], i);
		if (error < 0 && given[i] != SPAWN_SAME) /* what the caller does not have, the program will not either */
			return error;
	}
	RAW_3(SYS_close_range, count, UINT_MAX, 0);
	return 0;
}

static int prepare(struct launch *launch)
{
	const struct spawn *spawn = launch->spawn;
	long error = 0;

	if (spawn->own_group)
		error = RAW_2(SYS_setpgid, 0, 0);
	if (error == 0)
		error = place_fds(spawn->fds);
	if (error == 0 && spawn->dir != NULL) {
		error = RAW_1(SYS_chdir, spawn->dir);
		launch->bad_dir = error != 0;
	}
	if (error == 0)
		reset_signals();
	return (int)error;
}

/* The file in the first directory of the list `at`; an empty one is the current directory. What does not fit is left out: candidate
 * is "". The rest of the list; NULL: no more. */
static const char *next_candidate(struct launch *launch, const char *at)
{
	size_t length = 0;
	struct text text;

	while (at[length] != '\0' && at[length] != ':')
		length++;
	text_start(&text, launch->candidate, sizeof(launch->candidate));
	text_add_part(&text, at, length);
	if (length > 0)
		text_add_char(&text, '/');
	text_add(&text, launch->spawn->file);
	if (text.length >= sizeof(launch->candidate))
		launch->candidate[0] = '\0';
	return at[length] == ':' ? at + length + 1 : NULL;
}

LEAVES_FOR_GOOD static int become(const struct launch *launch, const char *file)
{
	return (int)RAW_3(SYS_execve, file, launch->spawn->argv, launch->env);
}

/* "Not here", as against a file that is here and cannot be run. */
static bool is_absence(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ENODEV || error == -ESTALE || error == -ETIMEDOUT;
}

/* One that may not be run is passed over, but told if no other is found. */
LEAVES_FOR_GOOD static int become_from_path(struct launch *launch)
{
	int refused = 0, error = -ENOENT;

	for (const char *at = launch->path; at != NULL;) {
		at = next_candidate(launch, at);
		error = become(launch, launch->candidate);
		if (error == -EACCES)
			refused = error;
		else if (!is_absence(error))
			return error;
	}
	return refused != 0 ? refused : error;
}

static bool has_slash(const char *file)
{
	while (*file != '\0' && *file != '/')
		file++;
	return *file == '/';
}

LEAVES_FOR_GOOD static void run_child(void *arg)
{
	struct launch *launch = arg;
	const char *file = launch->spawn->file;

	launch->error = prepare(launch);
	if (launch->error == 0 && *file == '\0')
		launch->error = -ENOENT;
	if (launch->error == 0)
		launch->error = has_slash(file) ? become(launch, file) : become_from_path(launch);
}

/* ---- In the caller, or in the middle --------------------------------------------------------------------------------------- */

static void start_child(struct launch *launch)
{
	const unsigned long flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
	long pid = raw_clone(flags, launch->child_stack + STACK, &launch->pidfd, run_child, launch);

	if (pid < 0) {
		launch->error = (int)pid;
	} else if (launch->error == 0) {
		launch->pid = pid;
	} else {
		RAW_4(SYS_wait4, pid, NULL, __WALL, NULL);
		RAW_1(SYS_close, launch->pidfd);
	}
}

static void run_middle(void *arg)
{
	start_child(arg);
}

static void start_middle(struct launch *launch)
{
	const unsigned long flags = CLONE_VM | CLONE_VFORK | CLONE_FILES;
	long pid = raw_clone(flags, launch->middle_stack + STACK, NULL, run_middle, launch);

	if (pid < 0)
		launch->error = (int)pid;
	else
		RAW_4(SYS_wait4, pid, NULL, __WCLONE, NULL);
	if (launch->error == 0 && launch->pid == 0)
		launch->error = -EAGAIN; /* somebody has killed it */
}

static const char *path_in(char *const *env)
{
	const char *path = NULL;
	for (; env != NULL && *env != NULL && path == NULL; env++)
		path = text_after(*env, "PATH=");
	return path != NULL ? path : "/bin:/usr/bin";
}

/* By the C library's functions, not raw: TSan must know that the memory is new each time. */
static struct launch *launch_new(void)
{
	int saved_errno = errno;
	void *at = mmap(NULL, sizeof(struct launch), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	errno = saved_errno;
	return at != MAP_FAILED ? at : NULL;
}

int spawn_program(const struct spawn *spawn, pid_t *pid, int *pidfd)
{
	static const uint64_t all = UINT64_MAX;
	uint64_t before;
	struct launch *launch = launch_new();
	if (launch == NULL)
		return -ENOMEM;

	launch->spawn = spawn;
	launch->env = spawn->env != NULL ? spawn->env : environ;
	launch->path = path_in(launch->env);

	RAW_4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	if (spawn->unrelated)
		start_middle(launch);
	else
		start_child(launch);
	RAW_4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(all));

	int error = launch->error;
	if (spawn->bad_dir != NULL)
		*spawn->bad_dir = launch->bad_dir;
	if (error == 0) {
		*pid = (pid_t)launch->pid;
		*pidfd = launch->pidfd;
	}
	munmap(launch, sizeof(*launch));
	return error;
}
