/* SPDX-License-Identifier: MIT
 *
 * Starts a program: a child that shares the caller's memory until it has become the program, so that the cost does not grow with
 * the caller, no handler of pthread_atfork() runs, and the reason of a failure comes back by itself.
 * The program gets: the fds named here and no other one; default dispositions, of ignored signals too; an empty signal mask; the
 * caller's credentials, limits, umask. No signal handler of the caller runs in the child.
 * Invariants: the caller's errno, signal mask and fds are as before, but for the pidfd. What could not be started leaves no child,
 * and nobody in the application hears of it: until the program runs, no wait() but ours finds it, and no SIGCHLD tells of its end.
 * What it does not do: wait for the program, look for an interpreter (a file without a format is -ENOEXEC), set limits.
 *
 * The calling thread waits until the program runs or has failed to, and nothing interrupts it: a program or directory on a mount
 * that hangs keeps it for as long. So does an fd of the caller's on such a mount, because the child closes its copy, and a close is a
 * request to the file system; no way is known to get a table without it (close_range() with CLOSE_RANGE_UNSHARE copies the first 64
 * numbers in any case). No lock is held here meanwhile: a caller that holds one has everybody wait for it.
 * Needs Linux 5.4. Before 5.9, without close_range(2), only fds that are not close-on-exec are left open; the library opens none.
 */
#ifndef UNSTICK_BASE_SPAWN_H
#define UNSTICK_BASE_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

enum {
	SPAWN_NULL = -1, /* fds 0 to 2: /dev/null; fd 3: none */
	SPAWN_SAME = -2, /* fds 0 to 2: as the caller's */
};

struct spawn {
	const char *file;               /* looked for in the PATH of `env` ("/bin:/usr/bin" without one), unless it has a '/' */
	char *const *argv, *const *env; /* env NULL: environ, which must not be changed meanwhile */
	int fds[4];                     /* become its fds 0 to 3; any of the caller's numbers, also one of these four */
	const char *dir;                /* its directory, and that of relative paths, in PATH too; NULL: the caller's */
	bool *bad_dir;                  /* may be NULL; on failure: was it `dir` that could not be entered? */
	bool own_group;                 /* leads a process group of its own, from before it runs on */
	/* Not a child of this process but of init, or of the next process above it that has asked for orphans (PR_SET_CHILD_SUBREAPER):
	 * no wait() here finds it, no SIGCHLD tells of it, whoever adopts it reaps it. If that is this process itself, being PID 1 or
	 * a subreaper, it is a child like another after all: waitid(P_PIDFD) at its end, and take no notice of -ECHILD. */
	bool unrelated;
};

/* 0; or the -errno of the step that failed, in the child as well: chdir, setpgid, dup, execve. *pidfd is close-on-exec and the
 * caller's. pid and pidfd are written only on success. */
int spawn_program(const struct spawn *spawn, pid_t *pid, int *pidfd);

#endif
