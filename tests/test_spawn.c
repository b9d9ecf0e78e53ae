/* SPDX-License-Identifier: MIT
 *
 * Programs are started with what they were to get and nothing else; what cannot be started is told, and leaves nothing behind.
 * What concerns the whole process (its fds 0 to 3, its children) is done in a forked child, an application of its own.
 */
#include "helpers.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "base/spawn.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define ARGV(...)                 \
	(char *const[])           \
	{                         \
		__VA_ARGS__, NULL \
	}
#define SHELL(script) .file = "/bin/sh", .argv = ARGV((char *)"sh", (char *)"-c", (char *)(script))
#define QUIET .fds = {SPAWN_NULL, SPAWN_NULL, SPAWN_SAME, SPAWN_NULL}

enum { UNTOUCHED = -77 };

struct program {
	pid_t pid;
	int pidfd;
};

static int start(struct program *program, struct spawn spawn)
{
	*program = (struct program){UNTOUCHED, UNTOUCHED};
	return spawn_program(&spawn, &program->pid, &program->pidfd);
}

/* Exit status, 1000 + signal, or -errno of waitid(). Closes the pidfd. */
static int end_of(struct program *program)
{
	siginfo_t info = {.si_pid = 0};
	long result = waitid((idtype_t)P_PIDFD, (id_t)program->pidfd, &info, WEXITED);
	int status = result < 0 ? -errno : info.si_code == CLD_EXITED ? info.si_status : 1000 + info.si_status;
	close(program->pidfd);
	return status;
}

/* Exit status as above, or what spawn_program() gave. */
static int run(struct spawn spawn)
{
	struct program program;
	int error = start(&program, spawn);
	return error < 0 ? error : end_of(&program);
}

/* What it writes to fd 1, up to its end. */
static int output_of(struct spawn spawn, char *buf, size_t size)
{
	int fds[2];
	struct program program;
	size_t length = 0;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	spawn.fds[1] = fds[1];
	int error = start(&program, spawn);
	close(fds[1]);
	cr_assert_eq(error, 0, "%s: %s", spawn.file, strerror(-error));
	for (ssize_t n; (n = read(fds[0], buf + length, size - 1 - length)) > 0;)
		length += (size_t)n;
	buf[length] = '\0';
	close(fds[0]);
	return end_of(&program);
}

static int count_fds(void)
{
	int count = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static const char *line_of(const char *status, const char *key)
{
	static char line[64];
	const char *at = strstr(status, key);
	cr_assert_not_null(at, "%s", key);
	snprintf(line, sizeof(line), "%s", at + strlen(key) + 1);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

Test(spawn, exit_status_and_pid)
{
	struct program program;
	cr_assert_eq(start(&program, (struct spawn){SHELL("exit 7"), QUIET}), 0);
	cr_assert_gt(program.pid, 0);
	cr_assert_eq(fcntl(program.pidfd, F_GETFD), FD_CLOEXEC);
	cr_assert_eq(end_of(&program), 7);
	cr_assert_eq(run((struct spawn){SHELL("kill -TERM $$"), QUIET}), 1000 + SIGTERM);
}

/* ---- Signals */

static void do_nothing(int sig)
{
	(void)sig;
}

Test(spawn, signals_are_default_and_unblocked)
{
	char status[8192];
	sigset_t set, before, after;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGRTMAX, SIG_IGN);
	signal(SIGUSR1, do_nothing);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &before);

	cr_assert_eq(output_of((struct spawn){.file = "cat", .argv = ARGV((char *)"cat", (char *)"/proc/self/status"), QUIET},
	                       status, sizeof(status)),
	             0);
	cr_assert_str_eq(line_of(status, "SigBlk:"), "0000000000000000");
	cr_assert_str_eq(line_of(status, "SigIgn:"), "0000000000000000");
	cr_assert_str_eq(line_of(status, "SigCgt:"), "0000000000000000");

	pthread_sigmask(SIG_BLOCK, NULL, &after);
	cr_assert_eq(memcmp(&before, &after, sizeof(before)), 0, "the caller's mask has changed");
	cr_assert(signal(SIGUSR1, SIG_DFL) == do_nothing && signal(SIGPIPE, SIG_DFL) == SIG_IGN,
	          "the caller's dispositions have changed");
}

static _Atomic pid_t application;
static _Atomic unsigned handled, handled_elsewhere;
static _Atomic bool enough;

static void note_where(int sig)
{
	(void)sig;
	if (getpid() == application)
		handled++;
	else
		handled_elsewhere++;
}

static void *signal_the_group(void *unused)
{
	while (!enough)
		kill(0, SIGUSR1);
	return unused;
}

/* The signals reach each child, too, at any point between its begin and its end; they may kill it, but there no handler runs. */
static int spawn_under_signals(void *arg)
{
	pthread_t thread;
	unsigned started = 0;

	setpgid(0, 0);
	application = getpid();
	signal(SIGUSR1, note_where);
	if (pthread_create(&thread, NULL, signal_the_group, NULL) != 0)
		return 1;
	for (int i = 0; i < 300; i++)
		started +=
		        run((struct spawn){.file = "/bin/true", .argv = ARGV((char *)"true"), QUIET, .unrelated = *(bool *)arg}) !=
		        -EAGAIN;
	enough = true;
	pthread_join(thread, NULL);
	return handled_elsewhere != 0 ? 2 : handled == 0 ? 3 : started < 300 ? 4 : 0;
}

Test(spawn, no_handler_runs_in_the_child)
{
	assert_right_in_child(spawn_under_signals, &(bool){false});
	assert_right_in_child(spawn_under_signals, &(bool){true});
}

/* ---- Groups */

static long group_of(const char *stat)
{
	char state;
	int parent, group = 0;
	cr_assert_eq(sscanf(strrchr(stat, ')') + 1, " %c %d %d", &state, &parent, &group), 3);
	return group;
}

Test(spawn, own_group_or_the_callers)
{
	char stat[1024];
	struct spawn spawn = {.file = "/bin/cat", .argv = ARGV((char *)"cat", (char *)"/proc/self/stat"), QUIET};

	cr_assert_eq(output_of(spawn, stat, sizeof(stat)), 0);
	cr_assert_eq(group_of(stat), getpgrp());
	spawn.own_group = true;
	cr_assert_eq(output_of(spawn, stat, sizeof(stat)), 0);
	cr_assert_eq(group_of(stat), atol(stat), "group of %s", stat);
}

/* ---- Fds */

/* Four files with one digit each, put at the given numbers of this process. */
static int put_digits(const int at[4])
{
	int file[4];
	for (int i = 0; i < 4; i++) {
		char digit = (char)('0' + i);
		int fd = memfd_create("digit", 0);
		if (fd < 0 || write(fd, &digit, 1) != 1 || (file[i] = fcntl(fd, F_DUPFD, 20)) < 0)
			return 1;
		close(fd);
	}
	for (int i = 0; i < 4; i++) {
		if (dup3(file[i], at[i], O_CLOEXEC) < 0)
			return 2;
		close(file[i]);
	}
	return 0;
}

static bool reads_as(const int fds[4], const int at[4], const char *expected)
{
	struct spawn spawn = {.file = "/bin/sh",
	                      .argv = ARGV((char *)"sh", (char *)"-c",
	                                   (char *)"read a; read b <&1; read c <&2; read d <&3; [ $a$b$c$d = $0 ]",
	                                   (char *)expected)};
	memcpy(spawn.fds, fds, sizeof(spawn.fds));
	for (int i = 0; i < 4; i++)
		lseek(at[i], 0, SEEK_SET);
	return run(spawn) == 0;
}

/* The caller's four files are at the numbers `at`: all ways to give them. One given twice has one offset, so cannot be told. */
static int place_all_ways(void *arg)
{
	const int *at = arg;
	if (put_digits(at) != 0)
		return 1;
	for (int way = 0; way < 256; way++) {
		int pick[4] = {way & 3, way >> 2 & 3, way >> 4 & 3, way >> 6};
		int fds[4];
		char expected[5] = "";
		bool twice = false;
		for (int i = 0; i < 4; i++) {
			fds[i] = at[pick[i]];
			expected[i] = (char)('0' + pick[i]);
			for (int j = 0; j < i; j++)
				twice = twice || pick[i] == pick[j];
		}
		if (!twice && !reads_as(fds, at, expected))
			return 2;
	}
	return 0;
}

Test(spawn, fds_do_not_clobber_each_other)
{
	assert_right_in_child(place_all_ways, ((int[]){0, 1, 2, 3}));
	assert_right_in_child(place_all_ways, ((int[]){3, 2, 1, 0}));
	assert_right_in_child(place_all_ways, ((int[]){3, 4, 0, 9}));
	assert_right_in_child(place_all_ways, ((int[]){10, 11, 12, 13}));
}

/* One fd in several places; a closed one that is to be the same; /dev/null though the caller's low numbers are free. */
static int place_odd(void *unused)
{
	(void)unused;
	int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	fd = dup3(fd, 15, O_CLOEXEC);
	for (int i = 0; i < 15; i++)
		close(i);
	const char *same =
	        "[ /proc/self/fd/0 -ef /proc/self/fd/3 ] && [ ! -e /proc/self/fd/1 ] && [ /dev/null -ef /proc/self/fd/2 ]";
	if (run((struct spawn){SHELL(same), .fds = {15, SPAWN_SAME, SPAWN_NULL, 15}}) != 0)
		return 1;
	const char *null = "for i in 0 1 2; do [ /dev/null -ef /proc/self/fd/$i ] || exit 9; done; [ ! -e /proc/self/fd/3 ]";
	if (run((struct spawn){SHELL(null), .fds = {SPAWN_NULL, SPAWN_NULL, SPAWN_NULL, SPAWN_NULL}}) != 0)
		return 2;
	return run((struct spawn){SHELL("exit 0"), .fds = {99, SPAWN_NULL, SPAWN_NULL, SPAWN_NULL}}) == -EBADF ? 0 : 3;
}

Test(spawn, fds_same_null_and_none)
{
	assert_right_in_child(place_odd, NULL);
}

Test(spawn, no_other_fd_is_passed_on)
{
	char links[1024];
	struct spawn spawn = {.file = "ls", .argv = ARGV((char *)"ls", (char *)"/proc/self/fd"), QUIET};
	cr_assert_geq(fcntl(0, F_DUPFD, 70), 0); /* not close-on-exec */
	cr_assert_geq(fcntl(0, F_DUPFD, 3), 0);
	cr_assert_eq(output_of(spawn, links, sizeof(links)), 0);
	cr_assert_str_eq(links, "0\n1\n2\n3\n", "3 is the directory: %s", links);
	spawn.unrelated = true;
	cr_assert_eq(output_of(spawn, links, sizeof(links)), -ECHILD);
	cr_assert_str_eq(links, "0\n1\n2\n3\n", "3 is the directory: %s", links);
}

Test(spawn, nothing_grows)
{
	struct spawn good = {.file = "/bin/true", .argv = ARGV((char *)"true"), QUIET};
	struct spawn bad = {.file = "/nowhere", .argv = ARGV((char *)"nowhere"), QUIET};
	int before = count_fds();
	for (int i = 0; i < 50; i++) {
		good.unrelated = bad.unrelated = i % 2 == 0;
		cr_assert_eq(run(good), i % 2 == 0 ? -ECHILD : 0);
		cr_assert_eq(run(bad), -ENOENT);
	}
	cr_assert_eq(count_fds(), before);
}

/* ---- Environment, PATH, directory */

static char scratch[] = "/tmp/unstick-spawn-XXXXXX";

static void make_file(const char *dir, const char *name, mode_t mode, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", scratch, dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", scratch, dir, name);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, mode);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void make_scratch(void)
{
	cr_assert_not_null(mkdtemp(scratch));
	make_file("a", "prog", 0644, "#!/bin/sh\nexit 1\n");
	make_file("b", "prog", 0755, "#!/bin/sh\nexit 2\n");
	make_file("c", "prog", 0755, "#!/bin/sh\nexit 3\n");
	make_file("d", "prog", 0755, "no format");
	make_file("e", "file", 0644, "");
}

static void remove_scratch(void)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -r %s", scratch);
	cr_assert_eq(system(command), 0);
}

/* "prog" looked for with this PATH, where each @ is the scratch directory; the caller's own PATH leads elsewhere. */
static int run_with_path(const char *path, const char *dir)
{
	char variable[512] = "PATH=", place[64];
	size_t length = 5;
	for (; *path != '\0'; path++)
		length += (size_t)snprintf(variable + length, sizeof(variable) - length, *path == '@' ? "%s" : "%.1s",
		                           *path == '@' ? scratch : path);
	snprintf(place, sizeof(place), "%s/%s", scratch, dir != NULL ? dir : "");
	return run((struct spawn){.file = "prog",
	                          .argv = ARGV((char *)"prog"),
	                          .env = ARGV((char *)"OTHER=1", variable),
	                          .dir = dir != NULL ? place : NULL,
	                          QUIET});
}

Test(spawn, path_of_the_childs_environment, .init = make_scratch, .fini = remove_scratch)
{
	cr_assert_eq(run_with_path("/nowhere:@/b:@/c", NULL), 2);
	cr_assert_eq(run_with_path("@/c:@/b", NULL), 3);
	cr_assert_eq(run_with_path("@/a:@/b", NULL), 2, "one that may not be run is passed over");
	cr_assert_eq(run_with_path("@/a:/nowhere", NULL), -EACCES, "but told");
	cr_assert_eq(run_with_path("@/e/file:@/e", NULL), -ENOENT);
	cr_assert_eq(run_with_path("@/d:@/b", NULL), -ENOEXEC);
	cr_assert_eq(run_with_path("/nowhere:", "b"), 2, "empty: the directory that it runs in");
	cr_assert_eq(run_with_path("", "c"), 3);
	cr_assert_eq(run_with_path("../b", "c"), 2, "relative: to the directory that it runs in");
	cr_assert_eq(run((struct spawn){.file = "true", .argv = ARGV((char *)"true"), .env = ARGV((char *)"A=1"), QUIET}), 0,
	             "without a PATH: /bin");
}

Test(spawn, path_elements_that_do_not_fit)
{
	static char variable[9000];
	memset(variable, 'x', sizeof(variable) - 1);
	memcpy(variable, "PATH=/", 6);
	memcpy(variable + sizeof(variable) - 6, ":/bin", 6);
	cr_assert_eq(run((struct spawn){.file = "true", .argv = ARGV((char *)"true"), .env = ARGV(variable), QUIET}), 0);
}

Test(spawn, environment_and_directory)
{
	char text[256];
	setenv("SPAWN_TEST", "inherited", 1);
	cr_assert_eq(output_of((struct spawn){SHELL("echo $SPAWN_TEST; pwd"), .dir = "/usr", QUIET}, text, sizeof(text)), 0);
	cr_assert_str_eq(text, "inherited\n/usr\n");
	cr_assert_eq(
	        output_of((struct spawn){SHELL("echo $SPAWN_TEST.$X"), .env = ARGV((char *)"X=given"), QUIET}, text, sizeof(text)),
	        0);
	cr_assert_str_eq(text, ".given\n");
}

/* ---- What cannot be started */

static void assert_fails(struct spawn spawn, int expected)
{
	int before = count_fds();
	for (int unrelated = 0; unrelated < 2; unrelated++) {
		struct program program;
		spawn.unrelated = unrelated;
		errno = 99;
		cr_assert_eq(start(&program, spawn), expected, "%s", spawn.file);
		cr_assert_eq(errno, 99);
		cr_assert_eq(program.pid, UNTOUCHED);
		cr_assert_eq(program.pidfd, UNTOUCHED);
		cr_assert_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1, "a child is left");
	}
	cr_assert_eq(count_fds(), before);
}

Test(spawn, errors_are_told_and_nothing_is_left, .init = make_scratch, .fini = remove_scratch)
{
	char path[64], format[64];
	snprintf(path, sizeof(path), "%s/a/prog", scratch);
	snprintf(format, sizeof(format), "%s/d/prog", scratch);
	count_signal(SIGCHLD, 0);
	setenv("PATH", "/usr/bin:/bin", 1); /* one that may not be looked into would make it EACCES */

	assert_fails((struct spawn){.file = "/nowhere/prog", .argv = ARGV((char *)"x"), QUIET}, -ENOENT);
	assert_fails((struct spawn){.file = "no-such-program", .argv = ARGV((char *)"x"), QUIET}, -ENOENT);
	assert_fails((struct spawn){.file = "", .argv = ARGV((char *)"x"), QUIET}, -ENOENT);
	assert_fails((struct spawn){.file = path, .argv = ARGV((char *)"x"), QUIET}, -EACCES);
	assert_fails((struct spawn){.file = "/tmp", .argv = ARGV((char *)"x"), QUIET}, -EACCES);
	assert_fails((struct spawn){.file = format, .argv = ARGV((char *)"x"), QUIET}, -ENOEXEC);
	assert_fails((struct spawn){.file = "/bin/true", .argv = ARGV((char *)"x"), .dir = "/nowhere", QUIET}, -ENOENT);
	assert_fails((struct spawn){.file = "/bin/true", .argv = ARGV((char *)"x"), .dir = path, QUIET}, -ENOTDIR);
	assert_fails((struct spawn){.file = "/bin/true", .argv = ARGV((char *)"x"), .fds = {0, 999, 0, SPAWN_NULL}}, -EBADF);
	cr_assert_eq(signals_counted, 0, "a SIGCHLD of a program that never was");
}

/* ---- Unrelated programs. This process takes the orphans of the application below it, as init would. */

static _Atomic long found; /* by somebody who waits for any child */

static void *wait_for_any(void *unused)
{
	while (!enough) {
		long pid = waitpid(-1, NULL, 0);
		if (pid > 0)
			found = pid;
	}
	return unused;
}

static bool ends_soon(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	return poll(&poll_fd, 1, 20000) == 1;
}

static int spawn_unrelated(void *arg)
{
	pthread_t thread;
	struct program program;
	bool ignored = *(bool *)arg;

	count_signal(SIGCHLD, 0);
	if (ignored)
		signal(SIGCHLD, SIG_IGN);
	if (pthread_create(&thread, NULL, wait_for_any, NULL) != 0)
		return 1;
	for (int i = 0; i < 100; i++) {
		if (start(&program, (struct spawn){SHELL("exit 5"), QUIET, .unrelated = true, .own_group = true}) != 0)
			return 2;
		if (!ends_soon(program.pidfd))
			return 3;
		if (end_of(&program) != -ECHILD)
			return 4;
		if (start(&program, (struct spawn){.file = "/nowhere", .argv = ARGV((char *)"x"), QUIET, .unrelated = true}) !=
		    -ENOENT)
			return 5;
	}
	enough = true;
	return found != 0 ? 6 : signals_counted != 0 ? 7 : 0;
}

static int reap_orphans(void)
{
	int status, count = 0;
	while (waitpid(-1, &status, 0) > 0) {
		cr_assert_eq(WEXITSTATUS(status), 5);
		count++;
	}
	return count;
}

Test(spawn, unrelated_is_nobodys_child)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_right_in_child(spawn_unrelated, &(bool){false});
	cr_assert_eq(reap_orphans(), 100);
}

/* One that ends before the middle does vanishes without a trace: the middle ignores SIGCHLD, too. */
Test(spawn, unrelated_with_sigchld_ignored)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	assert_right_in_child(spawn_unrelated, &(bool){true});
	int count = reap_orphans();
	cr_assert(count > 0 && count <= 100, "%d", count);
}

static int echo[2][2];
static struct program echoer;

static void *start_echoer(void *unrelated)
{
	struct spawn spawn = {.file = "/bin/cat",
	                      .argv = ARGV((char *)"cat"),
	                      .fds = {echo[0][0], echo[1][1], SPAWN_SAME, SPAWN_NULL},
	                      .unrelated = unrelated != NULL};
	return (void *)(intptr_t)start(&echoer, spawn);
}

static int outlive_the_thread(void *unrelated)
{
	pthread_t thread;
	void *error;
	char byte = 'x';

	for (int i = 0; i < 2; i++) {
		if (pipe2(echo[i], O_CLOEXEC) != 0)
			return 1;
	}
	if (pthread_create(&thread, NULL, start_echoer, *(bool *)unrelated ? echo : NULL) != 0)
		return 2;
	pthread_join(thread, &error);
	if (error != NULL)
		return 3;
	if (write(echo[0][1], &byte, 1) != 1 || read(echo[1][0], &byte, 1) != 1)
		return 4;
	close(echo[0][1]);
	return ends_soon(echoer.pidfd) ? 0 : 5;
}

Test(spawn, outlives_the_thread_that_started_it)
{
	assert_right_in_child(outlive_the_thread, &(bool){false});
	assert_right_in_child(outlive_the_thread, &(bool){true});
}
