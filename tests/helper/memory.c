/* SPDX-License-Identifier: MIT
 *
 * Memory is short (fault 35), in this process: the n-th allocation fails, for each n that there is, while isolated operations are made; and
 * in the kernel: a request to close cannot be sent. Each step says so, or comes to the right result; nothing stays behind here or open in
 * the helper; and with memory all is well again. As tests/engine/memory.c, which has the technique.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../faults/failing_malloc.h"
#include "isolated.h"

enum { BYTES = 3000 };

static char path[96], moved[96];
static struct unstick_engine *own;

static bool is_short(long error)
{
	return error == -ENOMEM || error == -EAGAIN;
}

/* The result, or that memory was short. */
static long result_of(const struct unstick_request *request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(own, request, &op);
	CHECK(error == 0 || is_short(error), "submit of opcode %u: %d: %s", request->opcode, error, log_find("helper"));
	return error ? error : end_of(op);
}

static bool comes_to(const char *step, struct unstick_request request, long expected)
{
	long result = result_of(&request);
	CHECK(result == expected || is_short(result), "%s: %ld in place of %ld", step, result, expected);
	return result == expected;
}

/* A close that could not be begun has closed nothing. */
static void close_in_the_end(int handle)
{
	long result;
	do
		result = result_of(&UNSTICK_CLOSE(handle));
	while (is_short(result));
	CHECK(result == 0, "close: %ld", result);
}

static void use_file(int handle)
{
	static const char text[BYTES] = "what is written, is read";
	char back[BYTES] = "";
	if (comes_to("write", UNSTICK_PWRITE(handle, text, BYTES, 0), BYTES) &&
	    comes_to("read", UNSTICK_PREAD(handle, back, BYTES, 0), BYTES))
		CHECK(!memcmp(back, text, BYTES), "other bytes");
	comes_to("fsync", UNSTICK_FSYNC(handle, 0), 0);
}

static void use_paths(void)
{
	struct statx status;
	comes_to("statx", isolated(UNSTICK_STATX(AT_FDCWD, path, 0, STATX_SIZE, &status)), 0);
	if (comes_to("rename", isolated(UNSTICK_RENAMEAT(AT_FDCWD, path, AT_FDCWD, moved, 0)), 0))
		CHECK(rename(moved, path) == 0, "rename back");
	comes_to("unlink of nothing", isolated(UNSTICK_UNLINKAT(AT_FDCWD, "nothing", 0)), -ENOENT);
}

static void use_helper(bool must_work)
{
	const struct unstick_engine_options options = {.size = sizeof options, .files = 1, .blocking = 1};
	const struct unstick_request open = isolated(UNSTICK_OPENAT(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	int error = unstick_engine_new(&own, &options);
	CHECK(error == 0 || (!must_work && is_short(error)), "unstick_engine_new: %d", error);
	if (error)
		return;
	long handle = result_of(&open);
	CHECK(handle >= UNSTICK_HANDLE_BASE || (!must_work && is_short(handle)), "open: %ld", handle);
	if (handle >= UNSTICK_HANDLE_BASE) {
		use_file((int)handle);
		use_paths();
		close_in_the_end((int)handle);
	}
	CHECK(unstick_engine_close(own, UNSTICK_NEVER, NULL) == 0, "close");
	own = unstick_engine_free(own);
}

static unsigned threads_count(void)
{
	struct stat tasks;
	CHECK(stat("/proc/self/task", &tasks) == 0, "/proc/self/task");
	return (unsigned)tasks.st_nlink - 2;
}

/* In a process of its own. `warm`: there is a helper already, and nothing may be left behind. */
_Noreturn static void try_with_failure(long n, bool warm)
{
	log_keep();
	for (int i = 0; warm && i < 2; i++)
		use_helper(true);
	WAIT_UNTIL(threads_count() <= 2); /* ours, and the library's for tokens */
	unsigned fds = fds_count(0), far = warm ? fds_count(helper_pid()) : 0;
	allocator_watch(n);
	use_helper(false);
	bool reached = allocator_calls >= n;
	WAIT_UNTIL(threads_count() <= 2);
	allocator_rest();
	if (warm && allocator_live > 0)
		_exit(4);
	CHECK(!warm || fds_count(0) == fds, "%u fds, %u before", fds_count(0), fds);
	CHECK(!warm || fds_count(helper_pid()) == far, "in the helper %u fds, %u before", fds_count(helper_pid()), far);
	use_helper(true);
	_exit(reached ? 2 : 3);
}

static void each_fails(bool warm)
{
	long n = 0, leaks = 0; /* one more thread at the same time keeps a block more, so once is no leak */
	int status = 0;
	allocator_need();
	temporary_path(path, sizeof path, "file");
	temporary_path(moved, sizeof moved, "moved");
	do {
		n += leaks == 0;
		pid_t pid = fork();
		if (pid == 0)
			try_with_failure(n, warm);
		fault_waiting_for("the child with failure %ld", n);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "failure %ld: status %x", n, (unsigned)status);
		CHECK(WEXITSTATUS(status) >= 2 && WEXITSTATUS(status) <= 4, "failure %ld", n);
		leaks = WEXITSTATUS(status) == 4 ? leaks + 1 : 0;
		CHECK(leaks < 8, "failure %ld always leaves blocks behind", n);
	} while (WEXITSTATUS(status) != 3);
	fault_note("%ld allocations", n - 1);
	CHECK(n > 10, "hardly anything was allocated");
}

static void first_use(void)
{
	each_fails(false);
}

static void later_use(void)
{
	each_fails(true);
}

/* ---- the kernel's */

/* This thread, and those that it starts, cannot send messages from now on. */
static void refuse_to_send(void)
{
	struct sock_filter filter[] = {
	        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 0, 1),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOBUFS),
	        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		fault_skip("no seccomp filter here: %s", strerror(errno));
}

/* The engine's thread is started by this one. */
static void *close_without_sending(void *handle)
{
	refuse_to_send();
	CHECK(unstick_engine_new(&own, NULL) == 0, "unstick_engine_new");
	CHECK(result_of(&UNSTICK_CLOSE(*(int *)handle)) == 0, "close");
	CHECK(result_of(&UNSTICK_FSYNC(*(int *)handle, 0)) == -EBADF, "it is known no more");
	return NULL;
}

static void close_is_not_sent(void)
{
	pthread_t thread;
	log_keep();
	long other = run_isolated(UNSTICK_OPENAT(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0));
	unsigned before = fds_count(helper_pid());
	long handle = run_isolated(UNSTICK_OPENAT(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0));
	CHECK(other >= UNSTICK_HANDLE_BASE && handle >= UNSTICK_HANDLE_BASE, "%ld, %ld", other, handle);
	int number = (int)handle;
	CHECK(pthread_create(&thread, NULL, close_without_sending, &number) == 0 && pthread_join(thread, NULL) == 0, "a thread");
	WAIT_UNTIL(fds_count(helper_pid()) == before); /* the monitor can */
	CHECK(run(&UNSTICK_WRITE((int)other, "x", 1)) == 1 && log_count(": started") == 1, "the helper goes on");
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {35, "each allocation of a helper's first use fails once: an error or the right result, and all works afterwards",
	         first_use},
	        {35, "each allocation of a later use fails once: the same, and nothing stays behind, here or in the helper",
	         later_use},
	        {35, "a close that the kernel has no memory to send is made later, and the helper goes on", close_is_not_sent},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
