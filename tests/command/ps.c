/* SPDX-License-Identifier: MIT
 *
 * unstick ps, on threads that are really stuck: each row names the call, the object and the verdict rightly, and the thread has not
 * moved; options; rights; fds on a dead mount.
 */
#include "outside.h"

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
	run(&ran, RAN_AS_SELF, (const char *const[]){command_path(), "ps", "--json", "--all", word, NULL});
	return ran_exited_with(&ran, 0);
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

static void check_situation(const struct situation *situation)
{
	struct victim victim;
	char why[128] = "", detail[512] = "";

	if (!victim_start(&victim, situation->name, RAN_AS_SELF, why, sizeof(why))) {
		tap_skip(why, "%s", situation->name);
		return;
	}
	long before = thread_switches(victim.pid, victim.tid);
	if (!run_ps_on(victim.pid))
		snprintf(detail, sizeof(detail), "ps failed: %.300s", ran.err);
	else
		compare(situation, victim.tid, detail, sizeof(detail));
	long after = thread_switches(victim.pid, victim.tid);
	if (!detail[0] && before != after)
		snprintf(detail, sizeof(detail), "the thread has moved: %ld switches, then %ld", before, after);
	tap_case(!detail[0], detail, "%s: call, object, verdict; the thread has not moved", situation->name);
	victim_end(&victim);
}

static void check_matrix(void)
{
	const struct situation *situation;

	for (size_t i = 0; (situation = situation_at(i)); i++)
		check_situation(situation);
}

/* ---- who can end the wait */

static void holder_is(const char *name, const char *holder_of)
{
	struct victim victim;
	struct fields row;
	char why[128] = "";

	if (!victim_start(&victim, name, RAN_AS_SELF, why, sizeof(why))) {
		tap_skip(why, "holder of %s", name);
		return;
	}
	bool found = run_ps_on(victim.pid) && read_fields(ran.out, victim.tid, &row) && row.holder[0];
	tap_case(found && fnmatch(holder_of, row.holder, 0) == 0, ran.out, "%s: its holder is named", name);
	victim_end(&victim);
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
	tap_case(found && fnmatch(expected, row.holder, 0) == 0, ran.out, "a pipe: the process at the other end");
	close(fds[1]);
	waitpid(reader, NULL, 0);
}

/* ---- options */

static void fails(const char *what, int code, const char *const arguments[], const char *message)
{
	const char *argv[8] = {command_path(), "ps"};

	for (size_t i = 0; arguments[i]; i++)
		argv[2 + i] = arguments[i];
	run(&ran, RAN_AS_SELF, argv);
	tap_case(ran_exited_with(&ran, code) && strstr(ran.err, message), ran.err, "%s", what);
}

static void check_options(void)
{
	fails("a process that is not there", 1, (const char *const[]){"2147483646", NULL}, "2147483646: no such process");
	fails("a name that nobody has", 1, (const char *const[]){"no-such-name", NULL}, "no-such-name: no such process");
	fails("a wrong time", 2, (const char *const[]){"-b", "soon", NULL}, "--blocked-longer: soon: not a time");
	fails("a wrong column", 2, (const char *const[]){"-c", "pid,size", NULL}, "--columns: size: no such column");
	fails("a column twice", 2, (const char *const[]){"-c", "pid,pid", NULL}, "--columns: pid: no such column, or twice");
	fails("a wrong order", 2, (const char *const[]){"-s", "size", NULL}, "--sort: size: no such column");
	fails("a wrong colour", 2, (const char *const[]){"--color=red", NULL}, "--color: red: neither");
	fails("a wrong option", 2, (const char *const[]){"--colour", NULL}, "unrecognized option");
}

static void check_choice(void)
{
	struct victim one, other;
	char why[128], pid[16], first[16];

	if (!victim_start(&one, "pipe-read", RAN_AS_SELF, why, sizeof(why)) ||
	    !victim_start(&other, "flock", RAN_AS_SELF, why, sizeof(why)))
		exit(2);
	snprintf(pid, sizeof(pid), "%d", (int)one.pid);
	run(&ran, RAN_AS_SELF, (const char *const[]){command_path(), "ps", "-n", "-b", "1h", pid, NULL});
	tap_case(ran_exited_with(&ran, 0) && !ran.out[0] && strstr(ran.err, "is blocked for that long"), ran.err,
	         "--blocked-longer leaves out who is blocked for less");
	run(&ran, RAN_AS_SELF, (const char *const[]){command_path(), "ps", "-n", "-c", "pid,call", "-s", "call", "stuck", NULL});
	snprintf(first, sizeof(first), "%d", (int)other.pid);
	const char *at = strstr(ran.out, first);
	tap_case(at && strncmp(at + strlen(first), " flock", 6) == 0 && strstr(at, pid), ran.out,
	         "a name means all of that name; --sort");
	victim_end(&one);
	victim_end(&other);
}

/* ---- rights */

static void check_rights(void)
{
	struct victim own, others;
	struct fields row;
	char why[128], words[2][16];

	if (geteuid() != 0) {
		tap_skip("needs root to be two users", "an ordinary user sees own processes in full, others with ?");
		return;
	}
	if (!victim_start(&own, "tcp-recv", RAN_AS_NOBODY, why, sizeof(why)) ||
	    !victim_start(&others, "tcp-recv", RAN_AS_SELF, why, sizeof(why)))
		exit(2);
	snprintf(words[0], sizeof(words[0]), "%d", (int)own.pid);
	snprintf(words[1], sizeof(words[1]), "%d", (int)others.pid);
	run(&ran, RAN_AS_NOBODY, (const char *const[]){command_path(), "ps", "--json", words[0], words[1], NULL});
	bool seen = read_fields(ran.out, own.tid, &row) && strcmp(row.call, "recvfrom") == 0 && strcmp(row.free, "yes") == 0 &&
	            strstr(row.object, "socket tcp");
	tap_case(ran_exited_with(&ran, 0) && seen, ran.out, "an ordinary user sees own processes in full");
	bool hidden = read_fields(ran.out, others.tid, &row) && strcmp(row.call, "?") == 0 && strcmp(row.free, "?") == 0;
	tap_case(hidden && strstr(ran.err, "1 process may not be looked into (shown with ?): run it as root"), ran.err,
	         "others show as ?, and one line says how to see them");
	victim_end(&own);
	victim_end(&others);
}

/* ---- fds on a mount whose daemon is silent */

static void check_dead_mount(void)
{
	struct hung_fuse fuse;
	struct fields row;
	bool seen = false;

	if (geteuid() != 0 || hung_fuse_start(&fuse, false) < 0) {
		tap_skip(geteuid() ? "needs root to mount" : fuse.keeper.why, "a process with fds on a dead mount");
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
	tap_case(seen && strcmp(row.object, fuse.direct) == 0 && strcmp(row.free, "no") == 0 && strstr(row.why, "FUSE"), ran.out,
	         "a process with fds on a dead mount is listed, and who waits for it");
	tap_case(thread_state(reader, reader) == 'S', NULL, "and it can still be killed: its state is S");
	hung_fuse_end(&fuse);
	kill(reader, SIGKILL);
	waitpid(reader, NULL, 0);
}

int main(void)
{
	check_matrix();
	holder_is("flock", "[1-9]* (stuck)");
	holder_is("setlkw", "[1-9]* (stuck)");
	holder_is("ofd-setlkw", "[1-9]* (stuck)");
	holder_is("unix-recv", "[1-9]* (stuck)");
	holder_is("tcp-recv", "[1-9]* (stuck)");
	holder_is("wait4", "[1-9]* (stuck)");
	pipe_between_processes();
	check_options();
	check_choice();
	check_rights();
	check_dead_mount();
	return tap_end();
}
