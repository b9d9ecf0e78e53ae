/* SPDX-License-Identifier: MIT
 *
 * Runs a program where io_uring is refused, in the ways in which it is refused out there:
 *   none     not at all: the same program for comparison
 *   eperm    setup, enter and register give EPERM, as the default seccomp filters of containers do
 *   enosys   they give ENOSYS, as other filters, and kernels without io_uring
 *   enter    setup works, and io_uring_enter() gives EPERM: a filter that was half thought through
 *   kill     who calls io_uring_setup() is killed
 *   memlock  an ordinary user with RLIMIT_MEMLOCK of 64 KiB
 *
 * usage: refused MODE PROGRAM [ARGUMENT]...
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NOBODY = 65534, MEMLOCK = 64 << 10 };

static int refuse(int error, bool setup)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	uint32_t action = SCMP_ACT_ERRNO((uint16_t)error);
	int failed = !filter || seccomp_rule_add(filter, action, SCMP_SYS(io_uring_enter), 0) != 0;
	if (setup)
		failed = failed || seccomp_rule_add(filter, action, SCMP_SYS(io_uring_setup), 0) != 0 ||
		         seccomp_rule_add(filter, action, SCMP_SYS(io_uring_register), 0) != 0;
	return failed || seccomp_load(filter) != 0 ? -1 : 0;
}

static int kill_callers(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	return !filter || seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(io_uring_setup), 0) != 0 ||
	                       seccomp_load(filter) != 0
	               ? -1
	               : 0;
}

/* May an ordinary user read the program's directory, and with it the library beside it? */
static bool nobody_may_read_us(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	if (n <= 0 || seteuid(NOBODY) != 0)
		return false;
	path[n] = '\0';
	bool may = faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
	return seteuid(0) == 0 && may;
}

/* As nobody; where the build lies in a directory of root's own, as root without the right that spares root the limit. */
static int become_ordinary(void)
{
	const struct rlimit limit = {MEMLOCK, MEMLOCK};
	if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
		return -1;
	if (geteuid() != 0)
		return 0;
	if (!nobody_may_read_us()) {
		puts("# nobody may not read the build: root without CAP_IPC_LOCK in nobody's place");
		fflush(stdout);
		return prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK);
	}
	return setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0 ? -1 : 0;
}

static int enter_mode(const char *mode)
{
	if (!strcmp(mode, "none"))
		return 0;
	if (!strcmp(mode, "eperm"))
		return refuse(EPERM, true);
	if (!strcmp(mode, "enosys"))
		return refuse(ENOSYS, true);
	if (!strcmp(mode, "enter"))
		return refuse(EPERM, false);
	if (!strcmp(mode, "kill"))
		return kill_callers();
	if (!strcmp(mode, "memlock"))
		return become_ordinary();
	fprintf(stderr, "refused: no mode '%s'; there are none, eperm, enosys, enter, kill, memlock\n", mode);
	_exit(2);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: refused MODE PROGRAM [ARGUMENT]...\n", stderr);
		return 2;
	}
	if (enter_mode(argv[1]) != 0) {
		printf("1..0 # SKIP the mode '%s' cannot be had here: %s\n", argv[1], strerror(errno));
		return 0;
	}
	execv(argv[2], argv + 2);
	if (errno == EACCES) {
		printf("1..0 # SKIP user %d may not run %s\n", (int)geteuid(), argv[2]);
		return 0;
	}
	fprintf(stderr, "refused: %s: %s\n", argv[2], strerror(errno));
	return 1;
}
