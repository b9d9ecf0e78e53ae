/* SPDX-License-Identifier: MIT
 *
 * The parent of a vfork() whose child neither executes a program nor ends: in state D, but SIGKILL ends it. It comes out when the
 * child is killed.
 */
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "situations.h"

#if defined(__SANITIZE_THREAD__)
enum { VFORK_IS_FORK = true };
#else
enum { VFORK_IS_FORK = false };
#endif

static int make(void *unused, char *why, size_t size)
{
	(void)unused;
	(void)why;
	(void)size;
	return 0;
}

static void undo(void *arg)
{
	struct hung *hung = arg;
	pid_t child = atomic_exchange(&hung->shared->child, 0);
	if (child > 0)
		kill(child, SIGKILL);
}

static int make_child(struct hung *hung)
{
	static const struct keeper_work work = {.make = make, .undo = undo};
	if (VFORK_IS_FORK)
		return hung_refuse(hung, "ThreadSanitizer makes a fork of each vfork", -ENOTSUP);
	return hung_keep(hung, &work);
}

/* Shares the parent's memory and stack: it makes system calls, and changes nothing but the shared page. */
_Noreturn static void be_child(struct hung *hung)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* of the thread that made it */
	atomic_store(&hung->shared->child, (pid_t)syscall(SYS_getpid));
	for (;;)
		syscall(SYS_pause);
}

static long block_in_vfork(struct hung *hung)
{
	pid_t child = vfork();
	if (child == 0)
		be_child(hung);
	if (child < 0)
		return -errno;
	atomic_store(&hung->shared->child, 0); /* before its number can be another's */
	waitpid(child, NULL, 0);
	return child;
}

/* clang-format off */
const struct hung_situation hung_on_child[] = {
	{.name = "vfork-parent", .summary = "a vfork whose child sleeps", .nr = SYS_vfork, .state = 'D', .holds_exit = false,
	 .make = make_child, .block = block_in_vfork, .end = hung_end_keeper},
	{0},
};
/* clang-format on */
