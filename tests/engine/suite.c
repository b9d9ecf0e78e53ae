/* SPDX-License-Identifier: MIT
 *
 * engine_suite: the engine against its contract, one case a behaviour; plain TAP, also under TSan and ASan. The back end is the one that
 * UNSTICK_ENGINE names; UNSTICK_EXPECT says which one must have been chosen in the end.
 *
 * usage: engine_suite [NUMBER...]        only these cases
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "suite.h"

extern const struct suite_part suite_files, suite_life, suite_moves, suite_ops, suite_refuses, suite_waits;
static const struct suite_part *const parts[] = {&suite_ops, &suite_life, &suite_refuses, &suite_files, &suite_moves, &suite_waits};

/* What an engine cannot be had for: positive errno, 0: it can. In a child: the harness itself must have no threads. */
static int probe(void)
{
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		struct unstick_engine *engine = NULL;
		int error = unstick_engine_new(&engine, NULL);
		unstick_engine_free(engine);
		_exit(-error);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

/* A look of the test's own: does the kernel refuse it? */
static bool is_refused_by_kernel(void)
{
	struct io_uring_params params = {0};
	long fd = syscall(SYS_io_uring_setup, 4, &params);
	if (fd < 0)
		return true;
	bool refused = syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0) < 0;
	close((int)fd);
	return refused;
}

static bool must_be_skipped(void)
{
	const char *back_end = getenv("UNSTICK_ENGINE");
	if (!back_end || strcmp(back_end, "uring") != 0)
		return false;
	int error = probe();
	if (error != EOPNOTSUPP && !(error != 0 && is_refused_by_kernel()))
		return false;
	printf("1..0 # SKIP no io_uring here: %s\n",
	       error == EOPNOTSUPP ? "the library was built without liburing" : strerror(error));
	return true;
}

int main(int argc, char **argv)
{
	size_t count = 0;
	static struct fault all[512];
	if (must_be_skipped())
		return 0;
	for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part++)
		for (size_t i = 0; i < parts[part]->count && count < sizeof all / sizeof all[0]; i++) {
			all[count] = parts[part]->cases[i];
			all[count].number = (int)count + 1;
			count++;
		}
	return fault_main(argc, argv, all, count);
}
