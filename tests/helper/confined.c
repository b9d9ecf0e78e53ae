/* SPDX-License-Identifier: MIT
 *
 * The helper's filter: what it lets through and what it refuses, with helper/confine.c linked in; and that the real helper has it in
 * every thread. Each case is a process of its own, which the filter is loaded in.
 */
#include <dirent.h>
#include <linux/stat.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "helper/confine.h"
#include "isolated.h"

static char page[4096], path[96];
static int pair[2], high;

/* Sockets up to pair[1] are its own, `high` is beyond. All that needs the system otherwise comes before. */
static void load(void)
{
	if (FAULT_ASAN || FAULT_TSAN)
		fault_skip("a sanitizer's run-time makes calls of its own, which the filter refuses");
	temporary_path(path, sizeof path, "confined");
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0, "socketpair");
	high = fcntl(pair[0], F_DUPFD, 100);
	CHECK(high >= 100 && pair[0] < pair[1], "fcntl");
	int error = confine(pair[1]);
	CHECK(error == 0, "confine: %d", error);
}

static long call(long nr, long a, long b, long c, long d)
{
	long result = syscall(nr, a, b, c, d, 0, 0);
	return result < 0 ? -errno : result;
}

struct refusal {
	const char *name;
	long nr, a, b, c, d;
};

static void refuses(const struct refusal *refusal)
{
	long result = call(refusal->nr, refusal->a, refusal->b, refusal->c, refusal->d);
	CHECK(result == -EPERM, "%s came to %ld", refusal->name, result);
}

static void refuses_programs(void)
{
	char *argv[] = {"true", NULL};
	load();
	refuses(&(struct refusal){"execve", SYS_execve, (long)"/bin/true", (long)argv, 0, 0});
	refuses(&(struct refusal){"execveat", SYS_execveat, AT_FDCWD, (long)"/bin/true", (long)argv, 0});
	refuses(&(struct refusal){"fork", SYS_fork, 0, 0, 0, 0});
	refuses(&(struct refusal){"vfork", SYS_vfork, 0, 0, 0, 0});
	refuses(&(struct refusal){"clone", SYS_clone, SIGCHLD, 0, 0, 0});
	refuses(&(struct refusal){"clone3", SYS_clone3, (long)page, 64, 0, 0});
}

static void refuses_network(void)
{
	load();
	refuses(&(struct refusal){"socket", SYS_socket, AF_INET, SOCK_STREAM, 0, 0});
	refuses(&(struct refusal){"socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (long)page});
	refuses(&(struct refusal){"connect", SYS_connect, pair[0], (long)page, 16, 0});
	refuses(&(struct refusal){"bind", SYS_bind, pair[0], (long)page, 16, 0});
	refuses(&(struct refusal){"sendto", SYS_sendto, pair[0], (long)page, 1, 0});
}

static void refuses_other_processes(void)
{
	load();
	refuses(&(struct refusal){"ptrace", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0});
	refuses(&(struct refusal){"process_vm_readv", SYS_process_vm_readv, getppid(), (long)page, 1, (long)page});
	refuses(&(struct refusal){"kill", SYS_kill, getppid(), 0, 0, 0});
	refuses(&(struct refusal){"pidfd_open", SYS_pidfd_open, getppid(), 0, 0, 0});
	refuses(&(struct refusal){"prctl", SYS_prctl, 22 /* PR_SET_SECCOMP */, 0, 0, 0});
}

static void refuses_memory_and_mounts(void)
{
	load();
	refuses(&(struct refusal){"mmap", SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS});
	refuses(&(struct refusal){"mprotect", SYS_mprotect, (long)page, 4096, PROT_EXEC, 0});
	refuses(&(struct refusal){"mount", SYS_mount, (long)"x", (long)"/tmp", (long)"tmpfs", 0});
	refuses(&(struct refusal){"unshare", SYS_unshare, CLONE_NEWNS, 0, 0, 0});
	refuses(&(struct refusal){"setuid", SYS_setuid, 0, 0, 0, 0});
	refuses(&(struct refusal){"open_by_handle_at", SYS_open_by_handle_at, AT_FDCWD, (long)page, 0, 0});
	refuses(&(struct refusal){"ioctl", SYS_ioctl, pair[0], 0, (long)page, 0});
	refuses(&(struct refusal){"io_uring_setup", SYS_io_uring_setup, 8, (long)page, 0, 0});
}

static void refuses_sockets_of_others(void)
{
	struct msghdr head = {0};
	load();
	refuses(&(struct refusal){"recvmsg beyond its sockets", SYS_recvmsg, high, (long)&head, MSG_DONTWAIT, 0});
	refuses(&(struct refusal){"sendmsg beyond its sockets", SYS_sendmsg, high, (long)&head, MSG_DONTWAIT, 0});
	refuses(&(struct refusal){"recvmsg above 32 bits", SYS_recvmsg, pair[0] | 1L << 32, (long)&head, MSG_DONTWAIT, 0});
	refuses(&(struct refusal){"sendmsg of a negative fd", SYS_sendmsg, -1, (long)&head, MSG_DONTWAIT, 0});
}

static void allows_files(void)
{
	struct statx status;
	load();
	long fd = call(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(fd >= 0, "openat: %ld", fd);
	CHECK(call(SYS_write, fd, (long)"one", 3, 0) == 3 && call(SYS_pwrite64, fd, (long)"two", 3, 3) == 3, "write, pwrite64");
	CHECK(call(SYS_pread64, fd, (long)page, sizeof page, 0) == 6 && !memcmp(page, "onetwo", 6), "pread64");
	CHECK(call(SYS_read, fd, (long)page, sizeof page, 0) == 3 && !memcmp(page, "two", 3), "read");
	CHECK(call(SYS_fsync, fd, 0, 0, 0) == 0 && call(SYS_fdatasync, fd, 0, 0, 0) == 0, "fsync, fdatasync");
	long error = syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &status);
	CHECK(error == 0 && status.stx_size == 6, "statx");
	long dir = call(SYS_openat, AT_FDCWD, (long)"/", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	CHECK(dir >= 0 && call(SYS_getdents64, dir, (long)page, sizeof page, 0) > 0, "getdents64");
	char other[128];
	snprintf(other, sizeof other, "%s2", path);
	CHECK(syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, other, 0) == 0, "renameat2");
	CHECK(call(SYS_unlinkat, AT_FDCWD, (long)other, 0, 0) == 0, "unlinkat");
	CHECK(call(SYS_close, fd, 0, 0, 0) == 0, "close");
}

static void allows_its_sockets(void)
{
	struct iovec part = {page, 1};
	struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};
	load();
	CHECK(call(SYS_sendmsg, pair[0], (long)&head, 0, 0) == 1 && call(SYS_recvmsg, pair[1], (long)&head, 0, 0) == 1, "messages");
	CHECK(call(SYS_futex, (long)page, 1 /* FUTEX_WAKE */, 1, 0) == 0, "futex");
}

/* ---- the real one */

static bool status_says(pid_t pid, pid_t tid, const char *line)
{
	char status[4096];
	return proc_read(pid, tid, "status", status, sizeof status) && strstr(status, line);
}

static void every_thread_is_confined(void)
{
	char tasks[40];
	unsigned threads = 0;
	log_keep();
	CHECK(run_isolated(UNSTICK_UNLINKAT(AT_FDCWD, "/nowhere/x", 0)) == -ENOENT, "an operation");
	pid_t pid = helper_pid();
	snprintf(tasks, sizeof tasks, "/proc/%d/task", (int)pid);
	DIR *dir = opendir(tasks);
	CHECK(dir, "%s", tasks);
	for (const struct dirent *entry; (entry = readdir(dir));) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		if (!tid)
			continue;
		threads++;
		CHECK(status_says(pid, tid, "\nSeccomp:\t2\n") && status_says(pid, tid, "\nNoNewPrivs:\t1\n"), "thread %d",
		      (int)tid);
	}
	closedir(dir);
	CHECK(threads == 17, "%u threads", threads);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "refused: execve, execveat, fork, vfork, clone", refuses_programs},
	        {2, "refused: socket, connect and their like", refuses_network},
	        {3, "refused: ptrace, memory and signals of other processes", refuses_other_processes},
	        {4, "refused: memory that is mapped or made executable, mounts, rights", refuses_memory_and_mounts},
	        {5, "refused: sockets that are not its own", refuses_sockets_of_others},
	        {6, "allowed: the file calls that it is for", allows_files},
	        {7, "allowed: its own sockets, futex", allows_its_sockets},
	        {8, "every thread of a running helper has the filter", every_thread_is_confined},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
