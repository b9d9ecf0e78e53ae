/* SPDX-License-Identifier: MIT
 *
 * See task.h. task_read_call() is on the way of every cancel of a foreign call, so it is one open, one read, one close and a
 * parse by hand; everything else here may take its time.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include "base/raw.h"
#include "base/stream.h"
#include "base/text.h"
#include "inspect/task.h"

enum {
	PATH_SIZE = 64,   /* "/proc/" and two numbers, "/task/", a file name */
	CALL_SIZE = 256,  /* a number and eight addresses: at most 192 */
	STAT_SIZE = 1024, /* 52 numbers and a name */
};

static void task_path(struct text *path, char buf[PATH_SIZE], pid_t pid, pid_t tid, const char *file)
{
	text_start(path, buf, PATH_SIZE);
	text_add(path, "/proc/");
	if (pid == 0)
		text_add(path, "self");
	else
		text_add_decimal(path, pid);
	text_add(path, "/task/");
	text_add_decimal(path, tid);
	text_add_char(path, '/');
	text_add(path, file);
}

/* A missing file: has the thread gone, is it hidden (mount option hidepid), or is this a kernel or container without the file? */
static int why_missing(pid_t pid, pid_t tid, const char *file)
{
	char buf[PATH_SIZE];
	struct text own;

	text_start(&own, buf, sizeof(buf));
	text_add(&own, "/proc/self/");
	text_add(&own, file);
	if (RAW_3(SYS_faccessat, AT_FDCWD, buf, 0) == -ENOENT)
		return -ENOENT;
	if (pid == 0)
		pid = (pid_t)RAW_0(SYS_getpid);
	if (RAW_3(SYS_tgkill, pid, tid, 0) != -ESRCH)
		return -EACCES; /* or this /proc is that of another pid namespace */
	return -ESRCH;
}

/* Several files tell of a missing right with EPERM when they are read, others with EACCES when they are opened. */
static int task_error(long error, pid_t pid, pid_t tid, const char *file)
{
	if (error == -ENOENT)
		return why_missing(pid, tid, file);
	return error == -EPERM ? -EACCES : (int)error;
}

static int read_file(pid_t pid, pid_t tid, const char *file, char *buf, size_t size)
{
	char path_buf[PATH_SIZE];
	struct text path;
	ssize_t n;

	task_path(&path, path_buf, pid, tid, file);
	n = file_read(path_buf, buf, size);
	return n < 0 ? task_error(n, pid, tid, file) : (int)n;
}

/* "running", or "NR 0xA 0xB 0xC 0xD 0xE 0xF 0xSP 0xPC", or "-1 0xSP 0xPC". */
_Atomic uint64_t task_looks;

static int parse_call(const char *at, struct task_call *ret)
{
	struct task_call call = {.nr = -1};
	uint64_t words[8] = {0};
	int64_t nr;
	int count = 0;

	atomic_fetch_add_explicit(&task_looks, 1, memory_order_relaxed);
	if (*at == 'r')
		return TASK_RUNNING;
	if (!text_read_decimal(&at, &nr))
		return -EIO;
	for (; count < 8 && *at == ' '; count++) {
		at++;
		if (!text_read_hex(&at, &words[count]))
			return -EIO;
	}
	if (count != 8 && count != 2)
		return -EIO;
	if (count == 8) {
		call.nr = nr;
		for (int i = 0; i < 6; i++)
			call.args[i] = words[i];
	}
	call.sp = words[count - 2];
	call.pc = words[count - 1];
	*ret = call;
	return TASK_BLOCKED;
}

int task_read_call(pid_t pid, pid_t tid, struct task_call *ret)
{
	char buf[CALL_SIZE];
	int n = read_file(pid, tid, "syscall", buf, sizeof(buf));

	return n < 0 ? n : parse_call(buf, ret);
}

int task_open_call(pid_t tid)
{
	char path_buf[PATH_SIZE];
	struct text path;
	long fd;

	task_path(&path, path_buf, 0, tid, "syscall");
	fd = RAW_4(SYS_openat, AT_FDCWD, path_buf, O_RDONLY | O_CLOEXEC, 0);
	return fd < 0 ? task_error(fd, 0, tid, "syscall") : (int)fd;
}

int task_read_call_fd(int fd, struct task_call *ret)
{
	char buf[CALL_SIZE];
	long n = RAW_4(SYS_pread64, fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return n == -EPERM ? -EACCES : (int)n;
	buf[n] = '\0';
	return parse_call(buf, ret);
}

/* The fields of stat from the third on, or an error. The name in the second may hold blanks and parentheses. */
static int read_stat(pid_t pid, pid_t tid, char buf[STAT_SIZE], const char **fields)
{
	int n = read_file(pid, tid, "stat", buf, STAT_SIZE);

	if (n < 0)
		return n;
	while (n > 0 && buf[n - 1] != ')')
		n--;
	if (n == 0 || buf[n] != ' ')
		return -EIO;
	*fields = buf + n + 1;
	return 0;
}

char task_state(pid_t pid, pid_t tid)
{
	char buf[STAT_SIZE];
	const char *fields;

	return read_stat(pid, tid, buf, &fields) < 0 || *fields == '\0' ? '?' : *fields;
}

int task_start_time(pid_t pid, pid_t tid, uint64_t *ret)
{
	char buf[STAT_SIZE];
	const char *at;
	int r = read_stat(pid, tid, buf, &at);

	if (r < 0)
		return r;
	at = text_skip_fields(at, 22 - 3);
	return at != NULL && text_read_unsigned(&at, ret) ? 0 : -EIO;
}

int task_wait_function(pid_t pid, pid_t tid, char *buf, size_t size)
{
	int n = read_file(pid, tid, "wchan", buf, size);

	if (n < 0) {
		buf[0] = '\0';
		return n;
	}
	if (text_equal(buf, "0")) {
		buf[0] = '\0';
		return 0;
	}
	return n;
}

int task_name(pid_t pid, pid_t tid, char buf[16])
{
	char line[32];
	int n = read_file(pid, tid, "comm", line, sizeof(line));

	if (n < 0)
		return n;
	if (n > 0 && line[n - 1] == '\n')
		line[n - 1] = '\0';
	text_copy(buf, 16, line);
	return 0;
}

/* What stands behind `key` in the first line that begins with it, into `value`. */
static int find_line(pid_t pid, pid_t tid, const char *file, const char *key, char *value, size_t size)
{
	char path_buf[PATH_SIZE], line[96];
	struct stream stream;
	struct text path;
	const char *rest = NULL;
	int r;

	task_path(&path, path_buf, pid, tid, file);
	r = stream_open(&stream, path_buf);
	if (r < 0)
		return task_error(r, pid, tid, file);
	while (rest == NULL && stream_line(&stream, line, sizeof(line)))
		rest = text_after(line, key);
	stream_close(&stream);
	if (rest == NULL)
		return -ESRCH; /* these files read as empty once the thread has gone */
	text_copy(value, size, text_skip_blanks(rest));
	return 0;
}

/* Is `sig` in the set that stands behind `key` in status? */
static int has_signal(pid_t pid, pid_t tid, const char *key, int sig)
{
	char value[32];
	const char *at = value;
	uint64_t mask;
	int r = find_line(pid, tid, "status", key, value, sizeof(value));

	if (r < 0)
		return r;
	if (sig < 1 || sig > 64)
		return -EINVAL;
	return text_read_hex(&at, &mask) ? (int)(mask >> (sig - 1) & 1) : -EIO;
}

int task_blocks_signal(pid_t pid, pid_t tid, int sig)
{
	return has_signal(pid, tid, "SigBlk:", sig);
}

int task_has_pending(pid_t pid, pid_t tid, int sig)
{
	return has_signal(pid, tid, "SigPnd:", sig);
}

bool task_holds_back_signal(pid_t pid, pid_t tid, int sig)
{
	return task_blocks_signal(pid, tid, sig) == 1 && (task_has_pending(pid, tid, sig) != 0 || task_state(pid, tid) != 'R');
}

int64_t task_switches(pid_t pid, pid_t tid)
{
	char value[32];
	const char *at = value;
	int64_t count;
	int r = find_line(pid, tid, "status", "voluntary_ctxt_switches:", value, sizeof(value));

	if (r < 0)
		return r;
	return text_read_decimal(&at, &count) ? count : -EIO;
}

/* Milliseconds with six digits. */
int64_t task_last_run_ns(pid_t pid, pid_t tid)
{
	char value[48];
	const char *at = value;
	int64_t ms;
	uint64_t rest;

	if (find_line(pid, tid, "sched", "se.exec_start", value, sizeof(value)) < 0)
		return -1;
	at = text_after(text_skip_blanks(at), ":");
	if (at == NULL)
		return -1;
	at = text_skip_blanks(at);
	if (!text_read_decimal(&at, &ms) || *at++ != '.' || !text_read_unsigned(&at, &rest))
		return -1;
	return ms * 1000000 + (int64_t)rest;
}

/* Since the thread was made; INT64_MAX if that cannot be told. */
static int64_t age_ns(pid_t pid, pid_t tid)
{
	enum { TICK_NS = 10000000 }; /* of the fields in stat: a constant of the ABI */
	struct timespec now;
	uint64_t start;

	if (task_start_time(pid, tid, &start) < 0 || RAW_2(SYS_clock_gettime, CLOCK_BOOTTIME, &now) < 0)
		return INT64_MAX;
	return now.tv_sec * 1000000000 + now.tv_nsec - (int64_t)start * TICK_NS;
}

int64_t task_blocked_ns(pid_t pid, pid_t tid)
{
	int64_t its_last = task_last_run_ns(pid, tid);
	/* The scheduler's clock can be read only off a thread that runs: this one. Each CPU has its own, less interrupt and
	 * stolen time. */
	int64_t now = its_last < 0 ? -1 : task_last_run_ns(0, (pid_t)RAW_0(SYS_gettid));
	int64_t age;

	if (its_last < 0 || now < 0)
		return -1;
	if (now <= its_last)
		return 0;
	age = age_ns(pid, tid);
	return now - its_last < age ? now - its_last : age;
}

bool task_waits_in(const char *wait_function, const char *name)
{
	const char *rest = text_after(wait_function, name);
	return rest != NULL && (*rest == '\0' || *rest == '.');
}

bool task_is_stopped(char state, const char *wait_function)
{
	/* get_signal is where the cgroup v2 freezer shows once the compiler has inlined it; it reads as an ordinary sleep. */
	static const char *const stops[] = {"do_signal_stop", "ptrace_stop", "do_freezer_trap", "__refrigerator", "get_signal"};

	if (state == 'T' || state == 't')
		return true;
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++) {
		if (task_waits_in(wait_function, stops[i]))
			return true;
	}
	return false;
}
