/* SPDX-License-Identifier: MIT
 *
 * With whose rights a helper opens files: with those of the thread that asks, or not at all. Rights are changed here by bare system calls,
 * so that they are one thread's and not the process's.
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "isolated.h"

enum { NOBODY = 65534 };

static char secret[96], created[96];

static void make_files(void)
{
	log_keep();
	if (geteuid() != 0)
		fault_skip("needs root, to have rights that can be given up");
	temporary_path(secret, sizeof secret, "secret");
	temporary_path(created, sizeof created, "created");
	int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0, "%s", secret);
}

static struct unstick_request open_secret(void)
{
	return isolated(UNSTICK_OPENAT(AT_FDCWD, secret, O_RDONLY | O_CLOEXEC, 0));
}

/* What submit or the operation comes to. */
static long result_of(struct unstick_request request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(engine(), &request, &op);
	return error ? error : end_of(op);
}

static void in_thread(void *(*fn)(void *))
{
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, fn, NULL) == 0 && pthread_join(thread, NULL) == 0, "a thread");
}

static void root_has_a_helper(void)
{
	long handle = result_of(open_secret());
	CHECK(handle >= UNSTICK_HANDLE_BASE, "root's open: %ld: %s", handle, log_find("helper"));
	CHECK(run(&UNSTICK_CLOSE((int)handle)) == 0, "close");
}

static void expect_refusal(const char *why)
{
	long result = result_of(open_secret());
	CHECK(result == -EPERM, "came to %ld", result);
	CHECK(log_find("refused") && strstr(log_find("refused"), why), "%s", log_find("refused") ? log_find("refused") : "no line");
}

/* ---- */

static void *with_other_fsuid(void *unused)
{
	syscall(SYS_setfsuid, NOBODY);
	CHECK(open(secret, O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES, "it may not itself");
	expect_refusal("file system ids");
	return unused;
}

static void other_fsuid(void)
{
	make_files();
	root_has_a_helper();
	in_thread(with_other_fsuid);
	root_has_a_helper();
}

static void *with_fewer_capabilities(void *unused)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};
	CHECK(syscall(SYS_capset, &head, data) == 0, "capset: %s", strerror(errno));
	expect_refusal("effective capabilities");
	return unused;
}

static void fewer_capabilities(void)
{
	make_files();
	root_has_a_helper();
	in_thread(with_fewer_capabilities);
	root_has_a_helper();
}

static void *with_other_groups(void *unused)
{
	const gid_t groups[] = {12345};
	struct unstick_request request = open_secret();
	CHECK(syscall(SYS_setgroups, 1, groups) == 0, "setgroups");
	long handle = result_of(request);
	CHECK(handle >= UNSTICK_HANDLE_BASE, "came to %ld", handle);
	char line[64], status[4096];
	snprintf(line, sizeof line, "\nGroups:\t12345");
	pid_t pid = helper_pid();
	CHECK(proc_read(pid, pid, "status", status, sizeof status) && strstr(status, line), "its helper has other groups");
	CHECK(run(&UNSTICK_CLOSE((int)handle)) == 0, "close");
	return unused;
}

static void other_groups(void)
{
	make_files();
	root_has_a_helper();
	pid_t first = helper_pid();
	in_thread(with_other_groups);
	CHECK(helper_pid() != first, "it was served by root's helper");
}

static void *with_other_umask(void *unused)
{
	struct statx status;
	CHECK(unshare(CLONE_FS) == 0, "unshare");
	umask(077);
	long handle = result_of(isolated(UNSTICK_OPENAT(AT_FDCWD, created, O_WRONLY | O_CREAT | O_CLOEXEC, 0666)));
	CHECK(handle >= UNSTICK_HANDLE_BASE, "came to %ld", handle);
	CHECK(run_isolated(UNSTICK_STATX(AT_FDCWD, created, 0, STATX_MODE, &status)) == 0, "statx");
	CHECK((status.stx_mode & 0777) == 0600, "mode %o", status.stx_mode & 0777u);
	return unused;
}

static void other_umask(void)
{
	make_files();
	umask(022);
	root_has_a_helper();
	in_thread(with_other_umask);
}

static void whole_process(void)
{
	make_files();
	long handle = result_of(open_secret());
	char byte;
	CHECK(handle >= UNSTICK_HANDLE_BASE && run(&UNSTICK_PREAD((int)handle, &byte, 1, 0)) == 1, "as root");
	CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
	long result = result_of(open_secret());
	CHECK(result == -EACCES || result == -EPERM, "an open of root's file came to %ld", result);
	result = result_of(UNSTICK_PREAD((int)handle, &byte, 1, 0));
	CHECK(result == -EPERM || result == -ESTALE, "a handle of root's came to %ld", result);
}

static void *with_other_root(void *unused)
{
	CHECK(unshare(CLONE_FS) == 0 && chroot("/proc") == 0 && chdir("/") == 0, "chroot");
	long result = result_of(isolated(UNSTICK_OPENAT(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC, 0)));
	CHECK(result < 0, "a path was opened in another root: %ld", result);
	return unused;
}

static void other_root(void)
{
	make_files();
	root_has_a_helper();
	in_thread(with_other_root);
}

static void no_proc(void)
{
	make_files();
	root_has_a_helper();
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    umount2("/proc", MNT_DETACH) != 0)
		fault_skip("/proc cannot be unmounted: %s", strerror(errno));
	long result = result_of(open_secret());
	CHECK(result == -EPERM, "came to %ld", result);
	CHECK(log_find("cannot be read from /proc"), "no line says so");
}

static void ordinary_user(void)
{
	log_keep();
	temporary_path(created, sizeof created, "created");
	if (geteuid() == 0) {
		CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid");
		CHECK(prctl(PR_SET_DUMPABLE, 1) == 0, "prctl");
		if (access(getenv("UNSTICK_HELPER"), X_OK) != 0)
			fault_skip("nobody may not run %s", getenv("UNSTICK_HELPER"));
	}
	long handle = result_of(isolated(UNSTICK_OPENAT(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC, 0)));
	CHECK(handle >= UNSTICK_HANDLE_BASE, "came to %ld: %s", handle, log_find("helper"));
	long result = result_of(isolated(UNSTICK_OPENAT(AT_FDCWD, "/etc/shadow", O_RDONLY | O_CLOEXEC, 0)));
	CHECK(result == -EACCES || result == -ENOENT, "/etc/shadow: %ld", result);
}

/* ---- threads that have confined themselves */

static int roots_handle;

/* Neither root's helper nor a handle of root's serves this thread; its own helper has as many filters as it has, and its own. */
static void expect_own_helper(unsigned filters)
{
	char line[64], status[4096], byte;
	pid_t roots = helper_pid();
	long handle = result_of(open_secret());
	CHECK(handle >= UNSTICK_HANDLE_BASE, "came to %ld: %s", handle, log_find("helper"));
	pid_t pid = helper_pid();
	CHECK(pid != roots, "it was served by root's helper");
	snprintf(line, sizeof line, "\nSeccomp_filters:\t%u\n", filters + 1);
	CHECK(proc_read(pid, pid, "status", status, sizeof status), "status");
	CHECK(!strstr(status, "Seccomp_filters:") || strstr(status, line), "its helper has other filters: %s", status);
	long result = result_of(UNSTICK_PREAD(roots_handle, &byte, 1, 0));
	CHECK(result == -EPERM && log_find("other rights"), "root's handle: %ld", result);
	CHECK(result_of(UNSTICK_PREAD((int)handle, &byte, 1, 0)) == 1, "its own handle");
	CHECK(run(&UNSTICK_CLOSE((int)handle)) == 0, "close");
}

static unsigned filters_now(void)
{
	char status[4096];
	unsigned filters = 0;
	CHECK(proc_read(0, (pid_t)syscall(SYS_gettid), "status", status, sizeof status), "status");
	const char *line = strstr(status, "Seccomp_filters:");
	return line && sscanf(line, "Seccomp_filters: %u", &filters) == 1 ? filters : 0;
}

static void *with_no_new_privs(void *unused)
{
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
	expect_own_helper(filters_now());
	return unused;
}

static void *with_a_filter(void *unused)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {.len = 1, .filter = &allow};
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp: %s", strerror(errno));
	expect_own_helper(filters_now());
	return unused;
}

static void in_confined_thread(void *(*fn)(void *))
{
	make_files();
	roots_handle = (int)result_of(open_secret());
	CHECK(roots_handle >= UNSTICK_HANDLE_BASE, "root's open");
	in_thread(fn);
	CHECK(run(&UNSTICK_CLOSE(roots_handle)) == 0, "close");
}

static void no_new_privs(void)
{
	in_confined_thread(with_no_new_privs);
}

static void own_filter(void)
{
	in_confined_thread(with_a_filter);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {1, "a thread with another fsuid is refused", other_fsuid},
	        {2, "a thread that has given up capabilities is refused", fewer_capabilities},
	        {3, "a thread with other groups has a helper of its own, which has them", other_groups},
	        {4, "a thread with another umask makes files with that", other_umask},
	        {5, "after setuid() nothing is served with the rights from before", whole_process},
	        {6, "a thread with another root is not served in this one", other_root},
	        {7, "without /proc everybody is refused", no_proc},
	        {8, "an ordinary user is served with an ordinary user's rights", ordinary_user},
	        {9, "a thread with no_new_privs has a helper of its own", no_new_privs},
	        {10, "a thread with a seccomp filter has a helper of its own, which has the filter", own_filter},
	};
	return fault_main(argc, argv, faults, sizeof faults / sizeof faults[0]);
}
