/* SPDX-License-Identifier: MIT */
#include "fault.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef FAULT_SECONDS
#define FAULT_SECONDS (15 * (1 + (FAULT_TSAN || FAULT_ASAN)))
#endif

enum {
	SECONDS = FAULT_SECONDS,
	PATHS = 16,
	PATH_SIZE = 128,
};

enum verdict { NO_VERDICT, PASSED, FAILED, SKIPPED };

/* Between a case and its parent. */
static struct share {
	_Atomic int verdict;
	char why[512];
	_Atomic bool waiting_for_busy;
	char waiting_for[160];
	char remove[PATHS][PATH_SIZE];
	char thaw_dir[PATH_SIZE], thaw_file[32], thaw_text[16];
	bool clock_moved;
	struct timespec real, monotonic;
} * share;

static int proc_dir = -1;
static const struct fault *current;

/* ---- TSan: a forked child of a process with threads may start threads; a case that is skipped leaves its threads where they are
 * */

#if FAULT_TSAN
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0:report_thread_leaks=0:atexit_sleep_ms=0";
}
#endif

/* ---- in the case */

const struct fault *fault_current(void)
{
	return current;
}

static bool decide(enum verdict verdict, const char *format, va_list list)
{
	int none = NO_VERDICT;
	if (!atomic_compare_exchange_strong(&share->verdict, &none, verdict))
		return false; /* the first one counts */
	vsnprintf(share->why, sizeof(share->why), format, list);
	return true;
}

void fault_fail(const char *file, int line, const char *condition, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	if (decide(FAILED, format, list))
		fault_note("%s:%d: not so: %s", file, line, condition);
	va_end(list);
	_exit(1);
}

void fault_skip(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	decide(SKIPPED, format, list);
	va_end(list);
	_exit(0);
}

void fault_note(const char *format, ...)
{
	char text[512], line[540];
	va_list list;
	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	int n = snprintf(line, sizeof(line), "# %s\n", text);
	ssize_t written = write(STDOUT_FILENO, line, (size_t)n);
	(void)written;
}

void fault_waiting_for(const char *format, ...)
{
	va_list list;
	if (atomic_exchange(&share->waiting_for_busy, true))
		return; /* another thread says what it waits for: as good */
	va_start(list, format);
	vsnprintf(share->waiting_for, sizeof(share->waiting_for), format, list);
	va_end(list);
	atomic_store(&share->waiting_for_busy, false);
}

void fault_pause(void)
{
	const struct timespec span = {.tv_nsec = 1000000};
	nanosleep(&span, NULL);
}

void fault_remove_later(const char *path)
{
	for (int i = 0; i < PATHS; i++) {
		if (share->remove[i][0] == '\0') {
			snprintf(share->remove[i], PATH_SIZE, "%s", path);
			return;
		}
	}
	CHECK(false, "too many paths to remove");
}

void fault_thaw_later(const char *dir, const char *file, const char *text)
{
	snprintf(share->thaw_file, sizeof(share->thaw_file), "%s", file);
	snprintf(share->thaw_text, sizeof(share->thaw_text), "%s", text);
	snprintf(share->thaw_dir, PATH_SIZE, "%s", dir);
}

void fault_clock_later(bool moved)
{
	if (moved) {
		clock_gettime(CLOCK_MONOTONIC, &share->monotonic);
		clock_gettime(CLOCK_REALTIME, &share->real);
	}
	share->clock_moved = moved;
}

/* ---- /proc */

void proc_reopen(void)
{
	int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (proc_dir >= 0)
		close(proc_dir);
	proc_dir = fd;
}

bool proc_read(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
	char path[96];
	if (pid != 0)
		snprintf(path, sizeof(path), "%d/task/%d/%s", (int)pid, (int)tid, file);
	else
		snprintf(path, sizeof(path), "self/task/%d/%s", (int)tid, file);
	int fd = openat(proc_dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

char proc_state(pid_t pid, pid_t tid)
{
	char stat[512];
	const char *name_end = proc_read(pid, tid, "stat", stat, sizeof(stat)) ? strrchr(stat, ')') : NULL;
	return name_end != NULL && name_end[1] == ' ' ? name_end[2] : '?';
}

bool proc_in_call(pid_t pid, pid_t tid, long nr)
{
	char line[256], wanted[24];
	snprintf(wanted, sizeof(wanted), "%ld ", nr);
	return proc_read(pid, tid, "syscall", line, sizeof(line)) && strncmp(line, wanted, strlen(wanted)) == 0;
}

bool proc_status_bit(pid_t tid, const char *key, int signal)
{
	char status[4096];
	const char *line = proc_read(0, tid, "status", status, sizeof(status)) ? strstr(status, key) : NULL;
	return line != NULL && (strtoull(line + strlen(key), NULL, 16) >> (signal - 1) & 1) != 0;
}

/* ---- in the parent */

static volatile sig_atomic_t told_to_end; /* by a runner whose patience is at its end: what is under way is cleared up first */

static void end_soon(int number)
{
	told_to_end = number;
}

static void tell_threads(pid_t pid)
{
	char path[40], name[64], call[256], wait_function[64];
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		if (tid == 0 || !proc_read(pid, tid, "comm", name, sizeof(name)))
			continue;
		name[strcspn(name, "\n")] = '\0';
		if (!proc_read(pid, tid, "syscall", call, sizeof(call)))
			snprintf(call, sizeof(call), "?\n");
		if (!proc_read(pid, tid, "wchan", wait_function, sizeof(wait_function)))
			wait_function[0] = '\0';
		fault_note("  process %d thread %d (%s) state %c in %s, call %.60s", (int)pid, (int)tid, name, proc_state(pid, tid),
		           wait_function, strtok(call, "\n"));
	}
	if (dir != NULL)
		closedir(dir);
}

/* The case and its children: all of its process group. */
static void tell_where(pid_t group)
{
	DIR *dir = opendir("/proc");
	for (const struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		if (pid > 0 && getpgid(pid) == group)
			tell_threads(pid);
	}
	if (dir != NULL)
		closedir(dir);
}

/* Until the process has ended; its number stays taken. False if it has not after `ms`. */
static bool has_ended(pid_t pid, long ms, bool until_told)
{
	siginfo_t info;
	for (long i = 0; i <= ms; i++) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
			return true;
		if (until_told && told_to_end)
			return false;
		fault_pause();
	}
	return false;
}

static void put_clock_back(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long long ns = (now.tv_sec - share->monotonic.tv_sec) * 1000000000LL + now.tv_nsec - share->monotonic.tv_nsec +
	               share->real.tv_nsec;
	const struct timespec real = {.tv_sec = share->real.tv_sec + ns / 1000000000, .tv_nsec = ns % 1000000000};
	if (clock_settime(CLOCK_REALTIME, &real) != 0)
		fault_note("the clock could not be put back: %s", strerror(errno));
}

static void thaw(void)
{
	char path[PATH_SIZE + 40];
	snprintf(path, sizeof(path), "%s/%s", share->thaw_dir, share->thaw_file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* the case has done it all */
	ssize_t n = write(fd, share->thaw_text, strlen(share->thaw_text));
	(void)n;
	close(fd);
}

static void clear_up(pid_t pid)
{
	if (share->clock_moved)
		put_clock_back();
	if (share->thaw_dir[0] != '\0')
		thaw();
	kill(-pid, SIGKILL); /* its children too: the process itself still holds the number */
	if (!has_ended(pid, 5000, false))
		fault_note("process %d does not end on SIGKILL: left behind", (int)pid);
	else
		waitpid(pid, NULL, 0);
	pid_t orphan = 0; /* they are ours: PR_SET_CHILD_SUBREAPER */
	for (int i = 0; i < 5000 && (orphan = waitpid(-pid, NULL, WNOHANG)) >= 0; i++) {
		if (orphan == 0)
			fault_pause();
	}
	for (int i = 0; share->thaw_dir[0] != '\0' && rmdir(share->thaw_dir) != 0 && errno == EBUSY && i < 2000; i++)
		fault_pause();
	for (int i = 0; i < PATHS && share->remove[i][0] != '\0'; i++)
		remove(share->remove[i]);
}

static void run_case(const struct fault *fault)
{
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	current = fault;
	fault->run();
	int none = NO_VERDICT;
	atomic_compare_exchange_strong(&share->verdict, &none, PASSED);
	_exit(0);
}

static void judge(pid_t pid)
{
	siginfo_t info = {.si_pid = 0};
	if (!has_ended(pid, SECONDS * 1000L, true)) {
		snprintf(share->why, sizeof(share->why), "%s%s%.160s", told_to_end ? "told to end" : "not ended in time",
		         share->waiting_for[0] != '\0' ? ", waiting for " : "", share->waiting_for);
		atomic_store(&share->verdict, FAILED);
		tell_where(pid);
		return;
	}
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
	if (info.si_code == CLD_EXITED && info.si_status == 0)
		return;
	if (share->verdict != FAILED)
		snprintf(share->why, sizeof(share->why), "%s %d", info.si_code == CLD_EXITED ? "exit status" : "ended by signal",
		         info.si_status);
	atomic_store(&share->verdict, FAILED);
}

static void run_fault(const struct fault *fault, size_t place)
{
	memset(share, 0, sizeof(*share));
	pid_t pid = fork();
	if (pid == 0)
		run_case(fault);
	if (pid > 0) {
		setpgid(pid, pid);
		judge(pid);
		clear_up(pid);
	}
	bool failed = share->verdict != PASSED && share->verdict != SKIPPED;
	if (failed)
		fault_note("%s", share->why);
	printf("%sok %zu - fault %d: %s%s%s\n", failed ? "not " : "", place, fault->number, fault->what,
	       share->verdict == SKIPPED ? " # SKIP " : "", share->verdict == SKIPPED ? share->why : "");
	fflush(stdout);
}

static bool is_wanted(int argc, char **argv, const struct fault *fault)
{
	for (int i = 1; i < argc; i++) {
		if (atoi(argv[i]) == fault->number)
			return true;
	}
	return argc < 2;
}

int fault_main(int argc, char **argv, const struct fault *faults, size_t count)
{
	size_t place = 0, wanted = 0, failed = 0, skipped = 0;
	share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (share == MAP_FAILED)
		return 1;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGTERM, end_soon);
	signal(SIGINT, end_soon);
	proc_reopen();
	for (size_t i = 0; i < count; i++)
		wanted += is_wanted(argc, argv, &faults[i]);
	printf("1..%zu\n", wanted);
	fflush(stdout);
	for (size_t i = 0; i < count && !told_to_end; i++) {
		if (!is_wanted(argc, argv, &faults[i]))
			continue;
		run_fault(&faults[i], ++place);
		failed += share->verdict != PASSED && share->verdict != SKIPPED;
		skipped += share->verdict == SKIPPED;
	}
	printf("# %zu passed, %zu failed, %zu skipped\n", place - failed - skipped, failed, skipped);
	return failed > 0 || place < wanted;
}
