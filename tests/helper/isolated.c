/* SPDX-License-Identifier: MIT */
#include "isolated.h"

#include <dirent.h>
#include <signal.h>

enum { LINES = 8192 };

static char lines[LINES][200];
static _Atomic unsigned line_count;

static void keep_line(void *arg, const char *message)
{
	unsigned at = atomic_fetch_add(&line_count, 1);
	(void)arg;
	if (at < LINES)
		snprintf(lines[at], sizeof lines[0], "%s", message);
}

void log_keep(void)
{
	struct unstick_options options = {.size = sizeof options, .log = keep_line};
	CHECK(unstick_init(&options) == 0, "unstick_init");
}

static unsigned lines_kept(void)
{
	return line_count < LINES ? line_count : LINES;
}

const char *log_find(const char *part)
{
	for (unsigned i = lines_kept(); i-- > 0;)
		if (strstr(lines[i], part))
			return lines[i];
	return NULL;
}

unsigned log_count(const char *part)
{
	unsigned count = 0;
	for (unsigned i = 0; i < lines_kept(); i++)
		count += strstr(lines[i], part) != NULL;
	return count;
}

long run_within(struct unstick_request request, int64_t ms)
{
	request.deadline = unstick_after_ms(ms);
	return run(&request);
}

long run_isolated(struct unstick_request request)
{
	request = isolated(request);
	return run(&request);
}

int refused(struct unstick_request request)
{
	struct unstick_op *op = NULL;
	int error = unstick_engine_submit(engine(), &request, &op);
	CHECK(error < 0 && op == NULL, "was not refused: %d", error);
	return error;
}

struct unstick_stats stats_now(void)
{
	struct unstick_stats stats;
	CHECK(unstick_engine_stats(engine(), &stats) == 0, "stats");
	return stats;
}

static pid_t pid_of(const char *line)
{
	int pid = 0;
	return line && sscanf(line, "unstick: helper %d: started", &pid) == 1 ? (pid_t)pid : 0;
}

pid_t helper_pid(void)
{
	pid_t pid = pid_of(log_find(": started"));
	CHECK(pid != 0, "no helper was started");
	return pid;
}

bool process_is_gone(pid_t pid)
{
	char state = proc_state(pid, pid);
	return state == '?' || state == 'Z';
}

unsigned helpers_count(pid_t *pids, unsigned most)
{
	unsigned count = 0;
	for (unsigned i = 0; i < lines_kept(); i++) {
		pid_t pid = pid_of(strstr(lines[i], ": started") ? lines[i] : NULL);
		if (!pid || process_is_gone(pid))
			continue;
		if (count < most)
			pids[count] = pid;
		count++;
	}
	return count;
}

unsigned fds_count(pid_t pid)
{
	char path[40] = "/proc/self/fd";
	unsigned count = 0;
	if (pid)
		snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count - !pid;
}

rlim_t all_fds(void)
{
	struct rlimit limit;
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	return limit.rlim_cur;
}

void limit_fds(rlim_t most)
{
	struct rlimit limit;
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = most;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit to %lu", (unsigned long)most);
}

rlim_t next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && close(fd) == 0, "open");
	return (rlim_t)fd;
}
