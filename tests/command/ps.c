/* SPDX-License-Identifier: MIT
 *
 * unstick ps, on threads that are really stuck: each row names the call, the object and the verdict rightly, and the thread has not
 * moved; options; rights; fds on a dead mount.
 */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/calls.h"
#include "hung_fuse.h"
#include "situations.h"
#include "unstick.h"

static struct ran ran; /* large */

/* ---- what ps prints as JSON, a field a line */

struct fields {
	char call[32], object[256], holder[64], free[8], why[128], arguments[256];
	double blocked;
	int fd;
};

static void copy_string(char *buf, size_t size, const char *line)
{
	const char *begin = strchr(line, ':') + 2, *end;

	buf[0] = '\0';
	if (*begin != '"')
		return; /* null */
	end = strrchr(++begin, '"');
	snprintf(buf, size, "%.*s", (int)(end - begin), begin);
}

/* The line "    "KEY": ..." of the thread's object. */
static bool find_field(const char *object, const char *key, char *line, size_t size)
{
	char quoted[32];
	const char *at, *end = strchr(object, '}');

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(object, quoted);
	if (!at || (end && at > end))
		return false;
	snprintf(line, size, "%.*s", (int)strcspn(at, "\n"), at);
	size_t length = strlen(line);
	if (length && line[length - 1] == ',')
		line[length - 1] = '\0';
	return true;
}

static bool read_fields(const char *json, pid_t tid, struct fields *ret)
{
	char line[512], mark[32];
	const char *at;

	snprintf(mark, sizeof(mark), "\"tid\": %d,", (int)tid);
	at = strstr(json, mark);
	*ret = (struct fields){.fd = -1, .blocked = -1};
	if (!at)
		return false;
#define STRING(name) (find_field(at, #name, line, sizeof(line)) ? copy_string(ret->name, sizeof(ret->name), line) : (void)0)
	STRING(call);
	STRING(object);
	STRING(holder);
	STRING(free);
	STRING(why);
	STRING(arguments);
#undef STRING
	if (find_field(at, "fd", line, sizeof(line)))
		sscanf(line, "\"fd\": %d", &ret->fd);
	if (find_field(at, "blocked", line, sizeof(line)))
		sscanf(line, "\"blocked\": %lf", &ret->blocked);
	return true;
}

static bool run_ps_on(pid_t pid)
{
	char word[16];

	snprintf(word, sizeof(word), "%d", (int)pid);
	command_run(&ran, "ps", "--json", "--all", word, NULL);
	return ran.status == 0;
}

/* ---- every situation of the matrix */

/* What the object must look like; those that are not here are about an fd that says what it is in the first column. */
static const struct {
	const char *situations, *object;
} objects[] = {
        {"pipe-*", "pipe:\\[*\\]"},
        {"fgets", "pipe:\\[*\\]"},
        {"masked-read", "pipe:\\[*\\]"},
        {"seccomp-*", "pipe:\\[*\\]"},
        {"eventfd-read", "eventfd"},
        {"timerfd-read", "timerfd"},
        {"inotify-read", "inotify"},
        {"splice", "pipe:\\[*\\] and pipe:\\[*\\]"},
        {"sendfile", "pipe:\\[*\\] and /memfd:*"},
        {"tcp-accept", "socket tcp listening 127.0.0.1:*"},
        {"tcp-connect", "socket tcp connecting 127.0.0.1:* -> 127.0.0.1:*"},
        {"tcp-*", "socket tcp 127.0.0.1:* -> 127.0.0.1:*"},
        {"udp-recv", "socket udp 127.0.0.1:*"},
        {"unix-accept", "socket unix @*"},
        {"unix-connect", "socket unix to @*"},
        {"unix-*", "socket unix*"},
        {"stopped-recv", "socket unix"},
        {"tty-*", "/dev/pts/*"},
        {"fifo-open", "*/fifo-*"},
        {"lease-open", "*/leased-*"},
        {"flock", "*/locked-*"},
        {"setlkw", "*/locked-*"},
        {"ofd-setlkw", "*/locked-*"},
        {"mq-*", "/unstick-stuck-*"},
        {"msg*", "System V message queue *"},
        {"semop", "System V semaphores *"},
        {"wait*", "child [1-9]*"},
        {"stopped-wait4", "child [1-9]*"},
        {"system", "child [1-9]*"},
        {"pclose", "child [1-9]*"},
        {"poll*", "fd * pipe:*"},
        {"ppoll", "fd * pipe:*"},
        {"masked-ppoll", "fd * pipe:*"},
        {"select", "fd * pipe:*"},
        {"pselect", "fd * pipe:*"},
        {"getaddrinfo", "fd * socket udp 127.0.0.1:* -> 127.0.0.1:*"},
        {"epoll-wait", "eventpoll: fd * pipe:*"},
        {"nanosleep", "a sleep of *s"},
        {"sleep", "a sleep of *s"},
        {"clock-nanosleep", "until its clock shows *s"},
        {"pause", "any signal"},
        {"sigsuspend", "SIG*"},
        {"sigtimedwait", "SIGUSR1"},
        {"sigwait", "SIG*"},
        {"io-uring-enter", "*io_uring*"},
        {"io-getevents", "aio context 0x*"},
        {"futex-waitv", "* locks or conditions, the first at 0x*"},
        {"futex-lock-pi", "lock (priority inheriting) at 0x*"},
        {"mutex-pi", "lock (priority inheriting) at 0x*"},
        {"futex-*", "lock or condition at 0x*"},
        {"mutex*", "lock or condition at 0x*"},
        {"cond*", "lock or condition at 0x*"},
        {"sem*", "lock or condition at 0x*"},
        {"rwlock-*", "lock or condition at 0x*"},
        {"join", "lock or condition at 0x*"},
        {"barrier", "lock or condition at 0x*"},
        {"once", "lock or condition at 0x*"},
        {"close-linger", ""}, /* the fd is gone */
        {"posix-spawn", ""},
        {"page-fault", ""},
        {"spin", ""},
};

static const char *expected_object(const char *name)
{
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++) {
		if (fnmatch(objects[i].situations, name, 0) == 0)
			return objects[i].object;
	}
	return "(this test does not know the situation)";
}

/* From outside nothing depends on the thread's signals: a masked one is as free as another. */
static const char *expected_free(const struct situation *situation)
{
	if (strcmp(situation->group, "mask") == 0)
		return "yes";
	if (strcmp(situation->group, "seccomp") == 0)
		return "?"; /* its supervisor decides */
	return situation->kind[0] == UNSTICK_NONE || situation->kind[0] == UNSTICK_WOKEN ? "yes" : "no";
}

static bool is_call_of(const struct situation *situation, const char *name)
{
	for (size_t i = 0; i < 3 && (i == 0 || situation->nr[i]); i++) {
		const struct call *call = call_find(situation->nr[i]);
		if (strcmp(name, situation->nr[i] == -1 ? "(page fault)" : situation->nr[i] == -2 ? "(running)" : call->name) == 0)
			return true;
	}
	return false;
}

static void compare(const struct situation *situation, pid_t tid, char *detail, size_t size)
{
	struct fields row;

	if (!read_fields(ran.out, tid, &row))
		snprintf(detail, size, "no row: %.300s", ran.out);
	else if (!is_call_of(situation, row.call))
		snprintf(detail, size, "call: %s", row.call);
	else if (fnmatch(expected_object(situation->name), row.object, 0) != 0)
		snprintf(detail, size, "object: \"%s\" for %s", row.object, expected_object(situation->name));
	else if (strcmp(row.free, expected_free(situation)) != 0)
		snprintf(detail, size, "free: %s (%s)", row.free, row.why);
	else if (strcmp(row.free, "yes") != 0 && !row.why[0])
		snprintf(detail, size, "no reason");
}

static void check_row(const struct situation *situation, const struct target *target, char *detail, size_t size)
{
	int64_t before = thread_switches(target->pid, target->tid), after;

	if (!run_ps_on(target->pid))
		snprintf(detail, size, "ps failed: %.300s", ran.err);
	else
		compare(situation, target->tid, detail, size);
	after = thread_switches(target->pid, target->tid);
	bool wakes_by_itself = strcmp(situation->name, "lease-open") == 0; /* the kernel's __break_lease() looks again and again */
	if (!detail[0] && before != after && !wakes_by_itself)
		snprintf(detail, size, "it has moved: %lld switches, then %lld", (long long)before, (long long)after);
}

static void check_situation(const struct situation *situation)
{
	struct target target;
	char name[128], detail[512];
	int tries = 0;

	snprintf(name, sizeof(name), "%s: call, object, verdict; the thread has not moved", situation->name);
	if (!target_start(&target, situation->name, NULL)) {
		point_skip(name, "it cannot be made here");
		return;
	}
	do { /* a signal of its own making may have run its handler just then, as at a lease */
		detail[0] = '\0';
		check_row(situation, &target, detail, sizeof(detail));
	} while (detail[0] && ++tries < 3);
	point(!detail[0], name, "%s", detail);
	target_end(&target);
}

static void check_matrix(void)
{
	const struct situation *situation;

	for (size_t i = 0; (situation = situation_at(i)); i++)
		check_situation(situation);
}

/* ---- who can end the wait */

static void holder_is_named(const char *situation)
{
	struct target target;
	struct fields row;
	char name[64];

	snprintf(name, sizeof(name), "%s: who can end the wait is named", situation);
	if (!target_start(&target, situation, NULL)) {
		point_skip(name, "it cannot be made here");
		return;
	}
	bool found = run_ps_on(target.pid) && read_fields(ran.out, target.tid, &row);
	point(found && fnmatch("[1-9]* (stuck)", row.holder, 0) == 0, name, "%s", ran.out);
	target_end(&target);
}

/* A writer of its own holds the other end. */
static void pipe_between_processes(void)
{
	struct fields row;
	char expected[32];
	int fds[2];
	bool found = false;

	if (pipe(fds))
		exit(2);
	pid_t reader = fork();
	if (reader == 0) {
		char byte;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 1);
	}
	close(fds[0]);
	for (int tries = 0; !found && tries < 1000; tries++)
		found = run_ps_on(reader) && read_fields(ran.out, reader, &row) && strcmp(row.call, "read") == 0;
	snprintf(expected, sizeof(expected), "%d (*", (int)getpid());
	point(found && fnmatch(expected, row.holder, 0) == 0, "a pipe: the process at the other end", "%s", ran.out);
	close(fds[1]);
	waitpid(reader, NULL, 0);
}

/* ---- options */

static void fails(const char *name, int status, const char *option, const char *word, const char *message)
{
	command_run(&ran, "ps", option, word, NULL);
	point(ran.status == status && strstr(ran.err, message), name, "%d: %s", ran.status, ran.err);
}

static void check_options(void)
{
	fails("a process that is not there", 1, "2147483646", NULL, "2147483646: no such process");
	fails("a name that nobody has", 1, "no-such-name", NULL, "no-such-name: no such process");
	fails("a wrong time", 2, "-b", "soon", "--blocked-longer: soon: not a time");
	fails("a wrong column", 2, "-c", "pid,size", "--columns: size: no such column: there are PID");
	fails("a column twice", 2, "-c", "pid,pid", "--columns: pid: given twice");
	fails("a wrong order", 2, "-s", "size", "--sort: size: no such column");
	fails("a wrong colour", 2, "--color=red", NULL, "--color: red: neither");
	fails("a missing value", 2, "--sort", NULL, "--sort: its value is missing");
	fails("a value that is not wanted", 2, "--json=1", NULL, "--json=1: it takes no value");
	fails("a wrong letter", 2, "-x", NULL, "-x: no such option");
	fails("0 is no PID", 1, "0", NULL, "0: not a PID or a name");
	fails("-1 is none either", 1, "--", "-1", "-1: not a PID or a name");
	fails("a wrong call", 2, "--call", "receive", "--call: receive: not the name of a system call");
	fails("a wrong option", 2, "--colour", NULL, "--colour: no such option");
}

static void start_or_end(struct target *target, const char *situation)
{
	if (!target_start(target, situation, NULL)) {
		printf("Bail out! %s cannot be made\n", situation);
		exit(1);
	}
}

static void check_choice(void)
{
	struct target one, other;
	char pid[16], first[16];

	start_or_end(&one, "pipe-read");
	start_or_end(&other, "flock");
	snprintf(pid, sizeof(pid), "%d", (int)one.pid);
	command_run(&ran, "ps", "-n", "-b", "1h", pid, NULL);
	point(ran.status == 0 && !ran.out[0] && strstr(ran.err, "is blocked for that long"),
	      "--blocked-longer leaves out who is blocked for less", "%s%s", ran.out, ran.err);
	command_run(&ran, "ps", "-n", "-c", "pid,call", "-s", "call", "stuck", NULL);
	snprintf(first, sizeof(first), "%d flock", (int)other.pid);
	const char *at = strstr(ran.out, first);
	point(at && strstr(at, pid), "a name means all of that name; --sort", "%s", ran.out);
	target_end(&one);
	target_end(&other);
}

/* ---- rights */

static void check_rights(void)
{
	struct target own, others;
	struct fields row;
	char words[2][16];

	if (geteuid() != 0) {
		point_skip("an ordinary user sees own processes in full, others with ?", "needs root to be two users");
		return;
	}
	start_or_end(&others, "tcp-recv");
	user = USER_NOBODY;
	start_or_end(&own, "tcp-recv");
	snprintf(words[0], sizeof(words[0]), "%d", (int)own.pid);
	snprintf(words[1], sizeof(words[1]), "%d", (int)others.pid);
	command_run(&ran, "ps", "--json", words[0], words[1], NULL);
	user = USER_SELF;
	bool seen = read_fields(ran.out, own.tid, &row) && strcmp(row.call, "recvfrom") == 0 && strcmp(row.free, "yes") == 0 &&
	            strstr(row.object, "socket tcp");
	point(ran.status == 0 && seen, "an ordinary user sees own processes in full", "%s", ran.out);
	bool hidden = read_fields(ran.out, others.tid, &row) && strcmp(row.call, "?") == 0 && strcmp(row.free, "?") == 0;
	point(hidden && strstr(ran.err, "1 process may not be looked into (shown with ?): run it as root"),
	      "others show as ?, and one line says how to see them", "%s", ran.err);
	target_end(&own);
	target_end(&others);
}

/* Of another user's process: nothing is said that is not known. */
static void check_no_right(void)
{
	struct target others;
	char pid[16];

	if (geteuid() != 0) {
		point_skip("another user's process: wake with a filter, watch, ps", "needs root to be two users");
		return;
	}
	start_or_end(&others, "tcp-recv");
	snprintf(pid, sizeof(pid), "%d", (int)others.pid);
	user = USER_NOBODY;
	command_run(&ran, "wake", "--call", "recvfrom", pid, NULL);
	point(ran.status == 1 && strstr(ran.err, "no right to see its calls: run it as root"), "wake --call: no right", "%s",
	      ran.err);
	command_run(&ran, "watch", "-b", "1s", pid, NULL);
	point(ran.status == 1 && strstr(ran.err, "may not be looked into: run it as root"),
	      "watch: it says so and ends, when it may look into none", "%s", ran.err);
	command_run(&ran, "ps", pid, NULL);
	point(!strstr(ran.err, "is blocked"), "ps: nobody is said not to be blocked", "%s", ran.err);
	command_run(&ran, "ps", "-b", "1s", pid, NULL);
	point(!ran.out[0] && strstr(ran.err, "may not be looked into (not shown)"), "ps -b: its threads are only counted", "%s%s",
	      ran.out, ran.err);
	user = USER_SELF;
	command_run(&ran, "wake", "--fd", "4711", pid, NULL);
	point(strstr(ran.err, "no thread is as --fd would have it") != NULL, "wake: only the options that were given are named",
	      "%s", ran.err);
	target_end(&others);
}

/* As in some containers: process 1 belongs to another user namespace. */
static void check_closed_to_root(void)
{
	char byte;
	int fd = open("/proc/1/syscall", O_RDONLY | O_CLOEXEC);

	if (geteuid() != 0 || (fd >= 0 && read(fd, &byte, 1) == 1)) {
		point_skip("a process that not even root may look into", "here all may be looked into");
		close(fd);
		return;
	}
	close(fd);
	command_run(&ran, "ps", "1", NULL);
	point(strstr(ran.err, "not even root may") != NULL && !strstr(ran.err, "run it as"),
	      "a process that not even root may look into", "%s", ran.err);
	command_run(&ran, "doctor", NULL);
	point(strstr(ran.out, "all but 1 (PID 1)") != NULL, "doctor names it", "%s", ran.out);
}

/* ---- fds on a mount whose daemon is silent */

static void check_dead_mount(void)
{
	struct hung_fuse fuse;
	struct fields row;
	bool seen = false;

	if (geteuid() != 0 || hung_fuse_start(&fuse, false) < 0) {
		point_skip("a process with fds on a dead mount", geteuid() ? "needs root to mount" : fuse.keeper.why);
		return;
	}
	pid_t reader = fork();
	if (reader == 0) {
		char byte;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		open(fuse.mute, O_RDONLY | O_CLOEXEC);
		open(fuse.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int fd = open(fuse.direct, O_RDONLY | O_CLOEXEC);
		_exit(read(fd, &byte, 1) == 1);
	}
	for (int tries = 0; !seen && tries < 1000; tries++)
		seen = run_ps_on(reader) && read_fields(ran.out, reader, &row) && strcmp(row.call, "read") == 0;
	point(seen && strcmp(row.object, fuse.direct) == 0 && strcmp(row.free, "no") == 0 && strstr(row.why, "FUSE"),
	      "a process with fds on a dead mount is listed, and who waits for it", "%s", ran.out);
	point(thread_state(reader, reader) == 'S', "and it can still be killed: its state is S", "%c",
	      thread_state(reader, reader));
	hung_fuse_end(&fuse);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
}

int main(void)
{
	check_matrix();
	static const char *const with_holder[] = {"flock", "setlkw", "ofd-setlkw", "unix-recv", "tcp-recv", "wait4"};
	for (size_t i = 0; i < sizeof(with_holder) / sizeof(with_holder[0]); i++)
		holder_is_named(with_holder[i]);
	pipe_between_processes();
	check_options();
	check_choice();
	check_rights();
	check_no_right();
	check_closed_to_root();
	check_dead_mount();
	return points_end();
}
