/* SPDX-License-Identifier: MIT
 *
 * Programs as jobs: what they get, what comes back, how they are ended, and that their group ends with them. Each case is an
 * application of its own (see fault.h) with the shared library; what it needs to know of a program that runs the program tells on
 * its standard error, which is the application's.
 */
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../faults/fault.h"
#include "unstick.h"

#define SHELL(script)                                                       \
	.size = sizeof(struct unstick_job_options), .argv = (char *const[]) \
	{                                                                   \
		"sh", "-c", (char *)(script), NULL                          \
	}
#define PROGRAM(...)                                                        \
	.size = sizeof(struct unstick_job_options), .argv = (char *const[]) \
	{                                                                   \
		__VA_ARGS__, NULL                                           \
	}

enum { LONG_GRACE_S = 1000 }; /* longer than the watchdog: what waits for its end fails */
static const int64_t LONG_GRACE = (int64_t)LONG_GRACE_S * 1000000000;

static struct unstick_pool *pool;
static int told[2]; /* standard error: what programs tell */

static void open_pool(unsigned threads)
{
	const struct unstick_pool_options options = {.size = sizeof options, .threads = threads};
	CHECK(unstick_pool_new(&pool, &options) == 0, "no pool");
}

static void listen_to_programs(void)
{
	CHECK(pipe2(told, O_CLOEXEC) == 0, "no pipe");
	CHECK(dup2(told[1], STDERR_FILENO) == STDERR_FILENO, "no standard error");
}

/* The number that a program has told. */
static pid_t hear(void)
{
	char line[32];
	size_t n = 0;
	fault_waiting_for("a program to tell a number");
	while (n < sizeof line - 1 && read(told[0], line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = '\0';
	fault_waiting_for("%s", "");
	return (pid_t)atol(line);
}

static struct unstick_job *begin(struct unstick_job_options options)
{
	struct unstick_job *job = NULL;
	if (!pool)
		open_pool(4);
	int error = unstick_job_start(pool, &options, &job);
	CHECK(error == 0, "unstick_job_start: %d", error);
	return job;
}

struct end {
	struct unstick_job *job;
	int error, state;
	char *text;
	struct unstick_exit exit;
};

static struct end join(struct unstick_job *job)
{
	struct end end = {.job = job};
	void *text;
	fault_waiting_for("the job");
	end.error = unstick_job_join(job, UNSTICK_NEVER, &text);
	fault_waiting_for("%s", "");
	end.text = text;
	end.state = unstick_job_state(job);
	if (unstick_job_exit(job, &end.exit) != 0)
		end.exit = (struct unstick_exit){.status = -1};
	return end;
}

static struct end run(struct unstick_job_options options)
{
	return join(begin(options));
}

static bool done(const struct end *end, int status)
{
	return end->error == 0 && end->state == UNSTICK_JOB_DONE && end->exit.status == status;
}

#define CHECK_DONE(end, wanted)                                                                  \
	CHECK(done(&(end), (wanted)), "error %d, %s, status %#x, output \"%.60s\"", (end).error, \
	      unstick_job_state_name((end).state), (unsigned)(end).exit.status, (end).text ? (end).text : "(none)")
#define CHECK_TEXT(text, wanted) CHECK(strcmp((text), (wanted)) == 0, "\"%.200s\"", (text))

/* Ended, reaped or not: the parent of these cases takes orphans, and may not have looked yet. */
static bool is_gone(pid_t pid)
{
	char state = proc_state(pid, pid);
	return state == '?' || state == 'Z' || state == 'X';
}

/* ---- what comes back */

static void output_and_exit(void)
{
	struct end end = run((struct unstick_job_options){SHELL("echo one; echo two")});
	CHECK_DONE(end, 0);
	CHECK_TEXT(end.text, "one\ntwo\n");
	CHECK(end.exit.output == end.text && end.exit.output_size == 8 && !end.exit.output_cut, "size %zu", end.exit.output_size);
	CHECK(end.exit.result_size == 0 && end.exit.result[0] == '\0', "a result");
	CHECK(end.exit.pid > 0 && !end.exit.status_taken && end.exit.last_signal == 0, "pid %d", (int)end.exit.pid);
	CHECK(end.exit.max_rss > 100000 && end.exit.user_ns >= 0 && end.exit.system_ns >= 0, "rss %ld", (long)end.exit.max_rss);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1, "a child is left");
}

static void status(void)
{
	struct end end = run((struct unstick_job_options){SHELL("exit 3")});
	CHECK_DONE(end, 3 << 8);
	CHECK(WEXITSTATUS(end.exit.status) == 3, "%#x", (unsigned)end.exit.status);
	end = run((struct unstick_job_options){SHELL("kill -9 $$")});
	CHECK_DONE(end, SIGKILL);
	end = run((struct unstick_job_options){SHELL("ulimit -c 0; kill -SEGV $$")});
	CHECK(WTERMSIG(end.exit.status) == SIGSEGV, "%#x", (unsigned)end.exit.status);
	end = run((struct unstick_job_options){SHELL("i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done")});
	CHECK(end.exit.user_ns + end.exit.system_ns > 1000000, "%ld ns", (long)end.exit.user_ns);
}

static void result_pipe(void)
{
	struct end end = run((struct unstick_job_options){SHELL("echo out; echo res >&3"), .flags = UNSTICK_JOB_RESULT});
	CHECK_DONE(end, 0);
	CHECK_TEXT(end.text, "res\n");
	CHECK_TEXT(end.exit.result, "res\n");
	CHECK_TEXT(end.exit.output, "out\n");
	end = run((struct unstick_job_options){PROGRAM("ls", "/proc/self/fd")});
	CHECK_TEXT(end.text, "0\n1\n2\n3\n"); /* 3 is the directory */
	end = run((struct unstick_job_options){PROGRAM("ls", "/proc/self/fd"), .flags = UNSTICK_JOB_RESULT});
	CHECK_TEXT(end.exit.output, "0\n1\n2\n3\n4\n");
}

static void standard_error(void)
{
	listen_to_programs();
	struct end end = run((struct unstick_job_options){SHELL("echo 7 >&2; echo out"), .flags = UNSTICK_JOB_STDERR});
	CHECK_TEXT(end.text, "7\nout\n");
	end = run((struct unstick_job_options){SHELL("echo 8 >&2; echo out")});
	CHECK_TEXT(end.text, "out\n");
	CHECK(hear() == 8, "it did not come to the caller's");
}

/* ---- input */

static char *make_input(size_t size)
{
	char *input = malloc(size);
	for (size_t i = 0; i < size; i++)
		input[i] = (char)(i % 251);
	return input;
}

static void much_input_and_output(void)
{
	const size_t size = 3000000;
	char *input = make_input(size), *copy = make_input(size);
	struct unstick_job *job = begin((struct unstick_job_options){PROGRAM("cat"), .input = copy, .input_size = size});
	memset(copy, 0, size); /* it has its own */
	struct end end = join(job);
	CHECK_DONE(end, 0);
	CHECK(end.exit.output_size == size && memcmp(end.exit.output, input, size) == 0, "%zu bytes", end.exit.output_size);
	end = run((struct unstick_job_options){SHELL("cat >&3; echo x"), .input = input, .input_size = size,
	                                       .flags = UNSTICK_JOB_RESULT});
	CHECK(end.exit.result_size == size && memcmp(end.exit.result, input, size) == 0, "%zu bytes", end.exit.result_size);
	end = run((struct unstick_job_options){SHELL("cat; [ /dev/null -ef /proc/self/fd/0 ] && echo null")});
	CHECK_TEXT(end.text, "null\n");
}

static _Atomic unsigned sigpipes;

static void count_sigpipe(int sig)
{
	(void)sig;
	sigpipes++;
}

static void *pending_sigpipe(void *blocked)
{
	sigset_t set;
	sigpending(&set);
	bool pending = sigismember(&set, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	return pending || (sigismember(&set, SIGPIPE) == 1) != (blocked != NULL) ? &sigpipes : NULL;
}

/* The pool has one thread: the second job looks at the thread that had the EPIPE. */
static void input_that_nobody_reads(void)
{
	static char input[1000000];
	for (int way = 0; way < 4; way++) {
		sigset_t set;
		void *wrong;
		signal(SIGPIPE, way == 0 ? count_sigpipe : way == 1 ? SIG_IGN : SIG_DFL);
		sigemptyset(&set);
		sigaddset(&set, SIGPIPE);
		pthread_sigmask(way == 3 ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
		open_pool(1);
		struct end end =
		        run((struct unstick_job_options){SHELL("exec <&-; exit 5"), .input = input, .input_size = sizeof input});
		CHECK_DONE(end, 5 << 8);
		struct unstick_job *look = begin((struct unstick_job_options){
		        .size = sizeof(struct unstick_job_options), .run = pending_sigpipe, .arg = way == 3 ? &set : NULL});
		CHECK(unstick_job_join(look, UNSTICK_NEVER, &wrong) == 0, "the look failed");
		CHECK(wrong == NULL, "a SIGPIPE is pending, or the mask has changed (way %d)", way);
	}
	CHECK(sigpipes == 0, "%u SIGPIPE", sigpipes);
}

static void too_much_output(void)
{
	struct end end = run((struct unstick_job_options){SHELL("head -c 300000 /dev/zero; echo end >&3"),
	                                                  .flags = UNSTICK_JOB_RESULT, .most_output = 1000});
	CHECK_DONE(end, 0);
	CHECK(end.exit.output_size == 1000 && end.exit.output_cut, "%zu bytes", end.exit.output_size);
	CHECK(end.exit.output[999] == '\0' && end.exit.output[1000] == '\0' && !end.exit.result_cut, "another end");
	CHECK_TEXT(end.text, "end\n");
	end = run((struct unstick_job_options){PROGRAM("head", "-c", "1000", "/dev/zero"), .most_output = 1000});
	CHECK(end.exit.output_size == 1000 && !end.exit.output_cut, "%zu bytes", end.exit.output_size);
	end = run((struct unstick_job_options){PROGRAM("head", "-c", "70000", "/dev/zero"), .most_output = 69999});
	CHECK(end.exit.output_size == 69999 && end.exit.output_cut, "%zu bytes", end.exit.output_size);
}

/* ---- environment, directory */

static void *wait_for_byte(void *fds)
{
	char byte;
	ssize_t n = read(*(int *)fds, &byte, 1);
	return n == 1 ? fds : NULL;
}

static void environment_and_directory(void)
{
	char *env[] = {(char *)"X=given", NULL};
	int fds[2];
	CHECK(pipe(fds) == 0, "no pipe");
	struct end end = run((struct unstick_job_options){SHELL("echo $X$HOME; pwd"), .env = env, .dir = "/usr"});
	CHECK_TEXT(end.text, "given\n/usr\n");

	/* This process's is that of the moment when the job was started, not when it runs. */
	open_pool(1);
	setenv("WHEN", "then", 1);
	struct unstick_job *first = begin(
	        (struct unstick_job_options){.size = sizeof(struct unstick_job_options), .run = wait_for_byte, .arg = &fds[0]});
	struct unstick_job *second = begin((struct unstick_job_options){SHELL("echo $WHEN")});
	setenv("WHEN", "later", 1);
	CHECK(write(fds[1], "x", 1) == 1, "no byte");
	CHECK(unstick_job_join(first, UNSTICK_NEVER, NULL) == 0, "the first");
	end = join(second);
	CHECK_TEXT(end.text, "then\n");
}

/* ---- what cannot be started */

static char last_line[256];

static void keep_line(void *arg, const char *message)
{
	(void)arg;
	snprintf(last_line, sizeof last_line, "%s", message);
}

static void fails(struct unstick_job_options options, int error, const char *line)
{
	struct end end = run(options);
	struct unstick_exit unused;
	CHECK(end.error == error && end.state == UNSTICK_JOB_FAILED, "error %d, %s", end.error, unstick_job_state_name(end.state));
	CHECK(end.text == NULL, "a result");
	CHECK(unstick_job_exit(end.job, &unused) == -ESRCH, "an exit");
	CHECK(strstr(last_line, line) != NULL, "log: %s", last_line);
	CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1, "a child is left");
}

static void failures(void)
{
	struct unstick_options options = {.size = sizeof options, .log = keep_line};
	CHECK(unstick_init(&options) == 0, "unstick_init");
	fails((struct unstick_job_options){PROGRAM("no-such-program"), .input = "x", .input_size = 1, .flags = UNSTICK_JOB_RESULT},
	      -ENOENT, "program \"no-such-program\" was not started: no such program in the PATH of its environment");
	fails((struct unstick_job_options){PROGRAM("true"), .dir = "/nowhere"}, -ENOENT, "no such directory as options.dir");
	fails((struct unstick_job_options){PROGRAM("true"), .dir = "/etc/passwd"}, -ENOTDIR, "options.dir is not a directory");
	fails((struct unstick_job_options){PROGRAM("/no/such/program"), .name = "mine"}, -ENOENT,
	      "job \"mine\": program \"/no/such/program\" was not started: no such program, or it is a script without its "
	      "interpreter");
	fails((struct unstick_job_options){PROGRAM("/etc/passwd")}, -EACCES, "it may not be executed");
	struct rlimit limit = {.rlim_cur = 3, .rlim_max = 3};
	open_pool(4);
	struct end end = run((struct unstick_job_options){PROGRAM("true")});
	CHECK_DONE(end, 0); /* the pool has what it needs */
	CHECK(prlimit(0, RLIMIT_NOFILE, &limit, NULL) == 0, "no limit");
	fails((struct unstick_job_options){PROGRAM("true"), .input = "x", .input_size = 1}, -EMFILE, "RLIMIT_NOFILE");
}

/* ---- cut short */

static void check_cut(const struct end *end, int error, int state, int last_signal)
{
	CHECK(end->error == error && end->state == state, "error %d, %s", end->error, unstick_job_state_name(end->state));
	CHECK(end->exit.last_signal == last_signal, "last signal %d", end->exit.last_signal);
	struct unstick_outcome outcome;
	char text[200];
	CHECK(unstick_job_outcome(end->job, &outcome) == 0, "no outcome");
	unstick_outcome_print(&outcome, text, sizeof text);
	CHECK(outcome.kind == UNSTICK_WOKEN && outcome.error == error && outcome.tid == end->exit.pid && outcome.nr == -1 &&
	              outcome.signals == (last_signal == SIGKILL ? 2 : 1),
	      "not of the program: %s", text);
}

static void term_is_honoured(void)
{
	listen_to_programs();
	struct unstick_job *job = begin((struct unstick_job_options){
	        SHELL("trap 'echo bye; exit 3' TERM; echo hello; echo 1 >&2; while :; do sleep 0.01; done"),
	        .grace_ns = LONG_GRACE});
	hear();
	CHECK(unstick_job_cancel(job) == 0, "cancel");
	struct end end = join(job);
	check_cut(&end, -ECANCELED, UNSTICK_JOB_CANCELLED, SIGTERM);
	CHECK(end.exit.status == 3 << 8, "%#x", (unsigned)end.exit.status);
	CHECK_TEXT(end.text, "hello\nbye\n");
}

static const char *const stubborn =
        "trap '' TERM; sleep 1000 & echo $! >&2; sleep 1000 & echo $! >&2; echo $$ >&2; cat; wait; sleep 1000";

/* By a cancel, or by the deadline of its token. */
static void end_stubborn(struct unstick_job *job, struct unstick_token *token, int error, int state)
{
	pid_t one = hear(), two = hear(), leader = hear();
	int cut = token ? unstick_token_set_deadline(token, unstick_now()) : unstick_job_cancel(job);
	CHECK(cut == 0, "error %d", cut);
	struct end end = join(job);
	check_cut(&end, error, state, SIGKILL);
	CHECK(end.exit.pid == leader && end.exit.status == (end.exit.status_taken ? -1 : SIGKILL), "pid %d status %#x",
	      (int)end.exit.pid, (unsigned)end.exit.status);
	WAIT_UNTIL(is_gone(one) && is_gone(two));
	CHECK(kill(leader, 0) == -1 && errno == ESRCH, "the program is there");
}

static void term_is_ignored(void)
{
	listen_to_programs();
	end_stubborn(begin((struct unstick_job_options){SHELL(stubborn), .grace_ns = 20000000}), NULL, -ECANCELED,
	             UNSTICK_JOB_CANCELLED);
}

static void deadline(void)
{
	struct unstick_token *token;
	struct end end = run(
	        (struct unstick_job_options){PROGRAM("sleep", "1000"), .grace_ns = LONG_GRACE, .deadline = unstick_after_ms(50)});
	CHECK(end.error == -ETIMEDOUT && end.state == UNSTICK_JOB_TIMED_OUT, "error %d", end.error);
	listen_to_programs();
	CHECK(unstick_token_new(&token, NULL) == 0, "no token");
	struct unstick_job *job = begin((struct unstick_job_options){SHELL(stubborn), .grace_ns = 1, .token = token});
	end_stubborn(job, token, -ETIMEDOUT, UNSTICK_JOB_TIMED_OUT);
}

static void never_ran(void)
{
	struct unstick_exit unused;
	struct end end = run((struct unstick_job_options){SHELL("exit 1"), .deadline = 1});
	CHECK(end.error == -ETIMEDOUT && end.text == NULL, "error %d", end.error);
	CHECK(unstick_job_exit(end.job, &unused) == -ESRCH, "an exit");
	CHECK(unstick_job_exit(end.job, NULL) == -EINVAL, "NULL");
}

static void running_has_no_exit(void)
{
	struct unstick_exit unused;
	listen_to_programs();
	struct unstick_job *job = begin((struct unstick_job_options){SHELL("echo 1 >&2; exec sleep 1000")});
	hear();
	CHECK(unstick_job_exit(job, &unused) == -EINPROGRESS, "an exit");
	CHECK(unstick_job_join(job, unstick_now(), NULL) == -EBUSY, "it has ended");
	unstick_job_cancel(job);
	struct end end = join(job);
	check_cut(&end, -ECANCELED, UNSTICK_JOB_CANCELLED, SIGTERM);
}

static void stopped(void)
{
	listen_to_programs();
	struct unstick_job *job =
	        begin((struct unstick_job_options){SHELL("echo $$ >&2; kill -STOP $$; exit 1"), .grace_ns = LONG_GRACE});
	pid_t pid = hear();
	WAIT_UNTIL(proc_state(pid, pid) == 'T');
	unstick_job_cancel(job);
	struct end end = join(job);
	check_cut(&end, -ECANCELED, UNSTICK_JOB_CANCELLED, SIGTERM);
	CHECK(end.exit.status == SIGTERM, "%#x", (unsigned)end.exit.status);
}

static void leader_leaves_its_group(void)
{
	const char *leave = "setpgrp(0, getpgrp(getppid())) or exit 1; $| = 1; print STDERR \"$$\\n\"; sleep 1000";
	listen_to_programs();
	struct unstick_job *job = begin((struct unstick_job_options){PROGRAM("perl", "-e", (char *)leave), .grace_ns = LONG_GRACE});
	pid_t pid = hear();
	CHECK(getpgid(pid) == getpgrp(), "it has not left");
	unstick_job_cancel(job);
	struct end end = join(job);
	check_cut(&end, -ECANCELED, UNSTICK_JOB_CANCELLED, SIGTERM);
}

/* The signal to the group finds somebody there, but not the program. */
static void leader_leaves_others_in_its_group(void)
{
	const char *leave =
	        "$SIG{TERM} = 'IGNORE'; my $kid = fork; if (!$kid) { sleep 1000 } setpgrp(0, getpgrp(getppid())) or exit 1; "
	        "$| = 1; print STDERR \"$kid\\n$$\\n\"; sleep 1000";
	listen_to_programs();
	struct unstick_job *job = begin((struct unstick_job_options){PROGRAM("perl", "-e", (char *)leave), .grace_ns = 1});
	pid_t other = hear(), pid = hear();
	CHECK(getpgid(pid) == getpgrp() && getpgid(other) == pid, "they are in other groups");
	unstick_job_cancel(job);
	struct end end = join(job);
	check_cut(&end, -ECANCELED, UNSTICK_JOB_CANCELLED, SIGKILL);
	WAIT_UNTIL(is_gone(other));
}

static void pool_close_ends_programs(void)
{
	struct unstick_left left;
	listen_to_programs();
	struct unstick_job *job = begin((struct unstick_job_options){SHELL(stubborn), .grace_ns = 1000000});
	pid_t one = hear(), two = hear(), leader = hear();
	int error = unstick_pool_close(pool, unstick_after_ms(10000), &left);
	CHECK(error == 0, "unstick_pool_close: %d: %s", error, left.what);
	WAIT_UNTIL(is_gone(one) && is_gone(two) && is_gone(leader));
	CHECK(join(job).exit.last_signal == SIGKILL, "no SIGKILL");
}

static void *own_tid(void *tid)
{
	*(pid_t *)tid = gettid();
	return NULL;
}

static void interrupt_is_no_cut(void)
{
	pid_t tid = 0;
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	listen_to_programs();
	open_pool(1);
	struct unstick_job *look =
	        begin((struct unstick_job_options){.size = sizeof(struct unstick_job_options), .run = own_tid, .arg = &tid});
	CHECK(unstick_job_join(look, UNSTICK_NEVER, NULL) == 0, "the look failed");
	struct unstick_job *job = begin((struct unstick_job_options){SHELL("echo $$ >&2; kill -STOP $$; echo went on")});
	pid_t pid = hear();
	WAIT_UNTIL(proc_state(pid, pid) == 'T' && proc_in_call(0, tid, SYS_ppoll));
	CHECK(unstick_thread_find(&thread, tid) == 0, "no thread");
	CHECK(unstick_thread_interrupt(thread, unstick_after_ms(10000), &outcome) == 0, "interrupt");
	CHECK(outcome.kind == UNSTICK_WOKEN, "%s", unstick_kind_name(outcome.kind));
	kill(pid, SIGCONT);
	struct end end = join(job);
	CHECK_DONE(end, 0);
	CHECK_TEXT(end.text, "went on\n");
}

/* ---- what it leaves behind */

static void left_in_its_group(void)
{
	listen_to_programs();
	struct end end = run((struct unstick_job_options){SHELL("trap '' TERM; sleep 1000 & echo $! >&2; echo out")});
	CHECK_DONE(end, 0);
	CHECK_TEXT(end.text, "out\n");
	CHECK(end.exit.last_signal == 0, "last signal %d", end.exit.last_signal);
	pid_t left = hear();
	WAIT_UNTIL(is_gone(left));
}

static void writes_on_in_its_group(void)
{
	struct end end = run((struct unstick_job_options){
	        SHELL("yes & until grep -q 'wchar: ......' /proc/$!/io; do sleep 0.01; done; exit 2")});
	CHECK_DONE(end, 2 << 8);
	CHECK(end.exit.output_size > 0 && end.exit.output[0] == 'y', "no output");
}

static void escaped(void)
{
	listen_to_programs();
	struct end end = run((struct unstick_job_options){
	        SHELL("setsid sh -c 'echo $$ >&2; exec sleep 1000' & "
	              "until [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do sleep 0.01; done; exit 4")});
	CHECK_DONE(end, 4 << 8); /* it has the output still: that is not waited for */
	pid_t left = hear();
	CHECK(!is_gone(left), "ended with it, against what the manual says");
	kill(left, SIGKILL);
	WAIT_UNTIL(is_gone(left));
}

/* ---- an application that takes the status */

static void check_taken(void)
{
	listen_to_programs();
	struct end end = run((struct unstick_job_options){SHELL("sleep 1000 & echo $! >&2; echo out; exit 3")});
	CHECK(end.error == 0 && end.state == UNSTICK_JOB_DONE, "error %d", end.error);
	CHECK(end.exit.status_taken == 1 && end.exit.status == -1, "status %#x", (unsigned)end.exit.status);
	CHECK(end.exit.user_ns == -1 && end.exit.system_ns == -1 && end.exit.max_rss == -1, "rusage");
	CHECK_TEXT(end.text, "out\n");
	pid_t left = hear();
	WAIT_UNTIL(is_gone(left));
	end_stubborn(begin((struct unstick_job_options){SHELL(stubborn), .grace_ns = 1}), NULL, -ECANCELED, UNSTICK_JOB_CANCELLED);
}

static void sigchld_ignored(void)
{
	signal(SIGCHLD, SIG_IGN);
	check_taken();
}

static _Atomic pid_t reaped;

static void *reap_any(void *unused)
{
	for (;;) {
		pid_t pid = waitpid(-1, NULL, 0);
		if (pid > 0)
			reaped = pid;
		else
			fault_pause();
	}
	return unused;
}

/* Who of the two is first is open: until the application was, once. */
static void waitpid_in_a_loop(void)
{
	pthread_t thread;
	unsigned taken = 0;
	CHECK(pthread_create(&thread, NULL, reap_any, NULL) == 0, "no thread");
	while (taken == 0) {
		struct end end = run((struct unstick_job_options){SHELL("echo out; exit 3")});
		CHECK(end.error == 0 && end.state == UNSTICK_JOB_DONE, "error %d", end.error);
		CHECK_TEXT(end.text, "out\n");
		CHECK(end.exit.status == (end.exit.status_taken ? -1 : 3 << 8), "status %#x", (unsigned)end.exit.status);
		CHECK(!end.exit.status_taken || reaped == end.exit.pid, "taken by nobody");
		taken += (unsigned)end.exit.status_taken;
	}
}

/* ---- a kernel before 6.9 */

static void no_group_signals(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	CHECK(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(pidfd_send_signal), 1, SCMP_A3(SCMP_CMP_NE, 0, 0)) == 0 &&
	              seccomp_load(filter) == 0,
	      "no filter");
	seccomp_release(filter);
	listen_to_programs();
	end_stubborn(begin((struct unstick_job_options){SHELL(stubborn), .grace_ns = 1}), NULL, -ECANCELED, UNSTICK_JOB_CANCELLED);
	struct end end = run((struct unstick_job_options){SHELL("sleep 1000 & echo $! >&2")});
	CHECK_DONE(end, 0);
	pid_t left = hear();
	WAIT_UNTIL(is_gone(left));
}

static const struct fault cases[] = {
        {1, "a program's output, exit, rusage come back", output_and_exit},
        {2, "its status is that of waitpid()", status},
        {3, "its fd 3 is a pipe for its result, and it has no other fds", result_pipe},
        {4, "its standard error goes to its output, or is the caller's", standard_error},
        {5, "large input and output at the same time", much_input_and_output},
        {6, "input that it does not read makes no SIGPIPE", input_that_nobody_reads},
        {7, "output beyond the limit is dropped, and told", too_much_output},
        {8, "environment and directory are given, or those of the start", environment_and_directory},
        {9, "what cannot be started has failed, with a reason", failures},
        {10, "a cancelled program that ends on SIGTERM has its grace", term_is_honoured},
        {11, "one that ignores SIGTERM and forks is gone with its group", term_is_ignored},
        {12, "a deadline ends it likewise", deadline},
        {13, "one cut short before it began never ran", never_ran},
        {14, "while it runs it has no exit, and can be joined later", running_has_no_exit},
        {15, "a stopped one is let go on, to end", stopped},
        {16, "one that has left its group is ended all the same", leader_leaves_its_group},
        {17, "closing the pool ends programs", pool_close_ends_programs},
        {18, "an interrupt of the pool's thread does not end it", interrupt_is_no_cut},
        {19, "what is left of its group ends with it", left_in_its_group},
        {20, "what writes on in its group does not hold up its end", writes_on_in_its_group},
        {21, "what has left the group stays, and is not waited for", escaped},
        {22, "with SIGCHLD ignored: status taken, done all the same", sigchld_ignored},
        {23, "an application that waits for any child takes the status", waitpid_in_a_loop},
        {24, "a kernel without group signals by pidfd", no_group_signals},
        {25, "one that has left others in its group is ended, and they are", leader_leaves_others_in_its_group},
};

int main(int argc, char **argv)
{
	setenv("PATH", "/usr/bin:/bin", 1); /* with a directory that may not be looked into ENOENT would be EACCES */
	return fault_main(argc, argv, cases, sizeof cases / sizeof cases[0]);
}
