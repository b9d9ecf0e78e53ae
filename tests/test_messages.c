/* SPDX-License-Identifier: MIT
 *
 * What the likeliest misuses and dead ends are answered with: the error, and where there are words, the exact words. Each line says what
 * failed, on what, why, and what to do. The texts are part of what users see: a change here is a change for them.
 */
#include "helpers.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

/* ---- what the log callback got */

enum { LINES = 8 };
static char lines[LINES][512];
static _Atomic unsigned line_count;

static void keep_line(void *arg, const char *message)
{
	unsigned at = atomic_load(&line_count);
	if (arg == lines && at < LINES) {
		snprintf(lines[at], sizeof lines[at], "%s", message);
		atomic_fetch_add(&line_count, 1);
	}
}

static struct unstick_options options_with_log(void)
{
	return (struct unstick_options){.size = sizeof(struct unstick_options), .log = keep_line, .log_arg = lines};
}

/* ---- refused options */

struct refused {
	struct unstick_options options;
	const char *line;
};

#define SIZE sizeof(struct unstick_options)

static const struct refused refused_options[] = {
        {{.size = 0}, "unstick_init: size 0 is not that of struct unstick_options: set it to sizeof"},
        {{.size = SIZE, .flags = 0x100}, "unstick_init: flag 0x100 is not known to this version of the library"},
        {{.size = SIZE, .signal = SIGKILL},
         "unstick_init: signal 9 cannot be used: take URG, USR1, USR2, IO, PWR, WINCH or a real-time one"},
        {{.size = SIZE, .signal = SIGSEGV},
         "unstick_init: signal 11 cannot be used: take URG, USR1, USR2, IO, PWR, WINCH or a real-time one"},
        {{.size = SIZE, .signal = 33},
         "unstick_init: signal 33 cannot be used: take URG, USR1, USR2, IO, PWR, WINCH or a real-time one"},
};

Test(messages, refused_options_are_named)
{
	for (size_t i = 0; i < sizeof refused_options / sizeof refused_options[0]; i++) {
		struct unstick_options options = refused_options[i].options;
		options.log = keep_line;
		options.log_arg = lines;
		line_count = 0;
		cr_assert_eq(unstick_init(&options), -EINVAL, "options %zu", i);
		cr_assert_eq(line_count, 1, "options %zu: %u lines for: %s", i, line_count, refused_options[i].line);
		cr_assert_str_eq(lines[0], refused_options[i].line);
	}
	cr_assert_eq(unstick_signal(), 0, "refused, and still initialised");
}

Test(messages, an_option_of_a_newer_header_is_named)
{
	struct {
		struct unstick_options options;
		uint64_t newer;
	} larger = {.options = options_with_log(), .newer = 1};
	larger.options.size = sizeof larger;
	char expected[120];
	snprintf(expected, sizeof expected, "unstick_init: the option at byte %zu is not known to this version of the library",
	         SIZE);
	cr_assert_eq(unstick_init(&larger.options), -EINVAL);
	cr_assert_str_eq(lines[0], expected);
	larger.newer = 0;
	cr_assert_eq(unstick_init(&larger.options), 0, "zero means that it is not asked for");
}

Test(messages, initialising_twice_or_too_late_is_told)
{
	struct unstick_scope scope;
	struct unstick_options options = options_with_log();
	cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_init(&options), -EALREADY);
	cr_assert_eq(unstick_init(NULL), -EALREADY);
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

Test(messages, a_signal_in_the_environment_that_cannot_be_used_is_named)
{
	static const char *const values[] = {"KILL", "RTMIN+", "12x", "nonsense"};
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		char expected[160];
		snprintf(expected, sizeof expected,
		         "unstick: UNSTICK_SIGNAL=%s: not a signal that can be used (URG, USR1, USR2, IO, RTMIN+n): ignored",
		         values[i]);
		setenv("UNSTICK_SIGNAL", values[i], 1);
		pid_t pid = fork(); /* one initialisation a process */
		if (pid == 0) {
			struct unstick_options options = options_with_log();
			_exit(unstick_init(&options) == 0 && line_count == 1 && !strcmp(lines[0], expected) &&
			                      unstick_signal() == SIGURG
			              ? 0
			              : 1);
		}
		int status = -1;
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert_eq(status, 0, "UNSTICK_SIGNAL=%s", values[i]);
	}
}

Test(messages, no_free_signal_is_told_with_the_way_out)
{
	struct unstick_options options = options_with_log();
	struct unstick_scope scope;
	for (int signal = SIGURG; signal <= SIGRTMAX; signal = signal == SIGURG ? SIGRTMIN : signal + 1)
		count_signal(signal, 0);
	cr_assert_eq(unstick_init(&options), -ENOSYS);
	cr_assert_str_eq(lines[0],
	                 "unstick: no signal is free: SIGURG and all real-time signals have handlers; name one in UNSTICK_SIGNAL");
	cr_assert_eq(unstick_scope_begin(&scope, NULL, 0), -ENOSYS);
	cr_assert_eq(unstick_check(), 0, "the scope is inert");
	cr_assert_eq(unstick_scope_end(&scope), -ENOSYS);
	cr_assert_null(unstick_thread_self());
}

/* ---- without a callback */

struct choice {
	const char *variable;
	const char *text; /* on standard error */
};

static int ask_for_null_pool(void *choice)
{
	const struct choice *wanted = choice;
	char text[400] = "";
	int ends[2];
	if (pipe(ends) || dup2(ends[1], STDERR_FILENO) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK))
		return 1;
	if (wanted->variable)
		setenv("UNSTICK_LOG", wanted->variable, 1);
	else
		unsetenv("UNSTICK_LOG");
	if (unstick_pool_new(NULL, NULL) != -EINVAL)
		return 2;
	(void)!read(ends[0], text, sizeof text - 1);
	return strcmp(text, wanted->text) ? 3 : 0;
}

Test(messages, without_a_callback_the_variable_says_whether_stderr_gets_them)
{
	const struct choice choices[] = {{NULL, ""}, {"stdout", ""}, {"stderr", "unstick_pool_new: ret is NULL\n"}};
	for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
		assert_right_in_child(ask_for_null_pool, (void *)(uintptr_t)&choices[i]);
}

static int log_to_full_pipe(void *unused)
{
	int ends[2];
	(void)unused;
	pipe_full(ends);
	setenv("UNSTICK_LOG", "stderr", 1);
	return dup2(ends[1], STDERR_FILENO) < 0 || unstick_pool_new(NULL, NULL) != -EINVAL;
}

Test(messages, a_full_stderr_holds_nobody_up, .timeout = 20)
{
	assert_right_in_child(log_to_full_pipe, NULL);
}

/* ---- errors without words: the code alone must tell the misuses apart */

Test(messages, null_where_something_is_needed_is_einval_everywhere)
{
	struct unstick_token *token = token_make(NULL);
	struct unstick_watch *watch;
	struct unstick_outcome outcome;
	struct unstick_report report;
	struct unstick_thread *self = unstick_thread_self();
	const int results[] = {unstick_token_new(NULL, NULL),
	                       unstick_token_cancel(NULL),
	                       unstick_token_set_deadline(NULL, 0),
	                       unstick_token_error(NULL),
	                       unstick_token_wait(NULL, 0),
	                       unstick_token_fd(NULL),
	                       unstick_token_watch(NULL, &watch, (void (*)(void *, int))(uintptr_t)1, NULL),
	                       unstick_token_watch(token, NULL, (void (*)(void *, int))(uintptr_t)1, NULL),
	                       unstick_token_watch(token, &watch, NULL, NULL),
	                       unstick_scope_begin(NULL, NULL, 0),
	                       unstick_scope_end(NULL),
	                       unstick_scope_allow(NULL, SYS_ioctl),
	                       unstick_thread_find(NULL, 1),
	                       unstick_thread_interrupt(NULL, 0, &outcome),
	                       unstick_thread_outcome(NULL, &outcome),
	                       unstick_thread_outcome(self, NULL),
	                       unstick_look(0, 0, NULL),
	                       unstick_outcome_print(NULL, NULL, 0),
	                       unstick_outcome_print(&outcome, NULL, 5)};
	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
		cr_assert_eq(results[i], -EINVAL, "result %zu: %d", i, results[i]);
	cr_assert_eq(unstick_look(0, (pid_t)syscall(SYS_gettid), &report), 0);
}

Test(messages, a_span_given_as_a_moment_is_long_past)
{
	struct unstick_scope scope;
	cr_assert_eq(unstick_scope_begin(&scope, NULL, 200 * 1000000), 0);
	cr_assert_eq(unstick_check(), -ETIMEDOUT, "at once, so that it is found in the first run");
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
}

/* ---- outcomes: one line a kind */

struct told {
	struct unstick_outcome outcome;
	const char *line;
};

static const struct told told_outcomes[] = {
        {{.kind = UNSTICK_NONE, .tid = 1240, .nr = -1}, "1240: no attempt was made (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_NONE, .nr = -1}, "no attempt was made"},
        {{.kind = UNSTICK_NONE, .tid = 1240, .nr = SYS_read, .fd = 5, .signals = 1},
         "1240 in read on fd 5: it was sent a signal, and has not come out yet (1 signal, 0.000 ms)"},
        {{.kind = UNSTICK_SHIELDED, .tid = 7, .nr = SYS_read, .fd = 5},
         "7 in read on fd 5: behind a shield: its clean-up has not ended, nothing is done to it; raise grace_ns, or give it a "
         "scope of its own (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_WOKEN,
          .tid = 1240,
          .nr = SYS_read,
          .fd = 5,
          .wait = "anon_pipe_read",
          .error = -ECANCELED,
          .signals = 1,
          .ns = 31000},
         "1240 in read on fd 5 (anon_pipe_read): freed, ECANCELED (1 signal, 0.031 ms)"},
        {{.kind = UNSTICK_WOKEN,
          .tid = 7,
          .nr = SYS_wait4,
          .fd = -1,
          .error = -ETIMEDOUT,
          .child = 99,
          .signals = 2,
          .ns = 1500000},
         "7 in wait4: freed, ETIMEDOUT; child 99 lives on (2 signals, 1.500 ms)"},
        {{.kind = UNSTICK_FINISHED_FIRST, .tid = 7, .nr = SYS_flock, .fd = 0},
         "7 in flock on fd 0: the call ended by itself (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_NOT_BLOCKED, .tid = 7, .nr = -1},
         "7: it computes, in no call: let its loop call unstick_check() (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_LOCK, .tid = 7, .nr = SYS_futex, .fd = -1, .wait = "futex_do_wait"},
         "7 in futex (futex_do_wait): a lock: only its owner can free it; a condition: who signals it (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_EVENT_LOOP, .tid = 7, .nr = SYS_epoll_wait, .fd = 4, .signals = 1},
         "7 in epoll_wait on fd 4: an event loop's wait: it got EINTR and waits again; wake it through an fd that it watches (1 "
         "signal, "
         "0.000 ms)"},
        {{.kind = UNSTICK_UNINTERRUPTIBLE, .tid = 7, .nr = SYS_read, .fd = 3, .wait = "request_wait_answer"},
         "7 in read on fd 3 (request_wait_answer): no signal can end this call: see to what it waits for (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_SIGNAL_BLOCKED, .tid = 7, .nr = SYS_read, .fd = 3, .signals = 1},
         "7 in read on fd 3: the thread blocks our signal: unblock it there, or choose another with UNSTICK_SIGNAL (1 signal, "
         "0.000 ms)"},
        {{.kind = UNSTICK_HANDLER_REPLACED, .tid = 7, .nr = SYS_read, .fd = 3, .signals = 1},
         "7 in read on fd 3: our signal's handler was replaced: choose another signal with UNSTICK_SIGNAL (by SIG_DFL) (1 signal, "
         "0.000 ms)"},
        {{.kind = UNSTICK_STOPPED, .tid = 7, .nr = SYS_read, .fd = 3},
         "7 in read on fd 3: stopped by SIGSTOP, a tracer or a freezer: let it continue (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_LOOPING, .tid = 7, .nr = SYS_pause, .fd = -1, .signals = 3},
         "7 in pause: the same call was ended three times and made again: the code around it retries for ever (3 signals, 0.000 "
         "ms)"},
        {{.kind = UNSTICK_NOT_INSPECTABLE, .tid = 7, .nr = -1, .signals = 1},
         "7: /proc does not show its call: it got a plain EINTR; mount /proc, or use UNSTICK_KEEP_PROC_FD (1 signal, 0.000 ms)"},
        {{.kind = UNSTICK_GONE, .tid = 7, .nr = -1}, "7: the thread has ended (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_LEFT_ALONE, .tid = 7, .nr = SYS_close, .fd = 9},
         "7 in close on fd 9: this call must not be cut short (0 signals, 0.000 ms)"},
        {{.kind = UNSTICK_LEFT_ALONE, .tid = 7, .nr = 999, .fd = -1},
         "7 in call 999: this call must not be cut short (0 signals, 0.000 ms)"},
        {{.kind = 999, .tid = 7, .nr = -1}, "7: unknown outcome (0 signals, 0.000 ms)"},
};

Test(messages, each_outcome_says_what_on_what_why_and_what_to_do)
{
	char line[512];
	for (size_t i = 0; i < sizeof told_outcomes / sizeof told_outcomes[0]; i++) {
		int length = unstick_outcome_print(&told_outcomes[i].outcome, line, sizeof line);
		cr_assert_str_eq(line, told_outcomes[i].line);
		cr_assert_eq(length, (int)strlen(line));
		cr_assert_eq(unstick_outcome_print(&told_outcomes[i].outcome, NULL, 0), length);
		cr_assert_eq(unstick_outcome_print(&told_outcomes[i].outcome, line, 5), length, "as snprintf()");
		cr_assert_eq(strlen(line), 4);
	}
}

Test(messages, each_kind_has_a_name)
{
	static const char *const names[] = {"no attempt", "woken",           "finished first", "not blocked",      "lock",
	                                    "event loop", "uninterruptible", "signal blocked", "handler replaced", "stopped",
	                                    "looping",    "not inspectable", "gone",           "left alone",       "shielded"};
	for (int kind = UNSTICK_NONE; kind <= UNSTICK_SHIELDED; kind++)
		cr_assert_str_eq(unstick_kind_name(kind), names[kind]);
	cr_assert_str_eq(unstick_kind_name(-1), "unknown");
	cr_assert_str_eq(unstick_kind_name(UNSTICK_SHIELDED + 1), "unknown");
}

/* ---- in the field: what the operator's log and unstick_look() say of a thread that cannot be freed */

static int fds[2];

static long read_in_scope(void *token)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	ssize_t n = read(fds[0], &byte, 1);
	return unstick_scope_end(&scope) + n;
}

static long read_deaf_in_scope(void *token)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return read_in_scope(token);
}

/* Without what the kernel and the clock put in: the tid, "(wait function)", "(1 signal, 1.234 ms)". */
static void assert_log_line(pid_t tid, const char *after_where)
{
	char begin[64], where[64];
	int end = 0;
	snprintf(begin, sizeof begin, "unstick: %d in read on fd %d (", (int)tid, fds[0]);
	cr_assert(!strncmp(lines[0], begin, strlen(begin)), "%s", lines[0]);
	cr_assert_eq(sscanf(lines[0] + strlen(begin), "%63[a-z_]): %n", where, &end), 1, "%s", lines[0]);
	const char *rest = lines[0] + strlen(begin) + end;
	cr_assert(!strncmp(rest, after_where, strlen(after_where)), "%s", lines[0]);
	cr_assert(!strcmp(lines[0] + strlen(lines[0]) - 4, " ms)"), "cut off: %s", lines[0]);
}

static void start_with_log(void)
{
	struct unstick_options options = options_with_log();
	pipe_empty(fds);
	cr_assert_eq(unstick_init(&options), 0);
}

Test(messages, a_deaf_thread_in_a_fired_scope_is_logged_once)
{
	struct unstick_token *token = token_make(NULL);
	struct worker worker;
	start_with_log();
	worker_start(&worker, read_deaf_in_scope, token);
	worker_wait_blocked(&worker, SYS_read);
	unstick_token_cancel(token);
	wait_for(line_count);
	assert_log_line(worker.tid, "the thread blocks our signal: unblock it there, or choose another with UNSTICK_SIGNAL (");
	struct unstick_report report;
	cr_assert_eq(unstick_look(0, worker.tid, &report), 0);
	cr_assert_str_eq(report.why, "it blocks the signal that unstick uses");
	cr_assert(report.freeable == 0 && report.expect == UNSTICK_SIGNAL_BLOCKED);
	write_byte(fds[1]);
	worker_join(&worker);
	cr_assert_eq(line_count, 1);
}

static void theirs(int signal)
{
	(void)signal;
}

Test(messages, a_replaced_handler_is_logged_with_whose_it_is)
{
	struct unstick_token *token = token_make(NULL);
	struct sigaction action = {.sa_handler = theirs, .sa_flags = SA_RESTART};
	struct worker worker;
	start_with_log();
	worker_start(&worker, read_in_scope, token);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(sigaction(unstick_signal(), &action, NULL), 0);
	unstick_token_cancel(token);
	wait_for(line_count);
	assert_log_line(worker.tid,
	                "our signal's handler was replaced: choose another signal with UNSTICK_SIGNAL (by a handler in ");
	write_byte(fds[1]);
	worker_join(&worker);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static long lock(void *arg)
{
	(void)arg;
	return pthread_mutex_lock(&mutex) + pthread_mutex_unlock(&mutex);
}

Test(messages, a_look_says_why_not)
{
	struct worker worker;
	struct unstick_report report;
	pthread_mutex_lock(&mutex);
	worker_start(&worker, lock, NULL);
	worker_wait_blocked(&worker, SYS_futex);
	cr_assert_eq(unstick_look(0, worker.tid, &report), 0);
	cr_assert_str_eq(report.why, "a lock: only its owner can free it; a condition: who signals it");
	pthread_mutex_unlock(&mutex);
	worker_join(&worker);
	wait_for(state_of(worker.tid) == '?');
	cr_assert_eq(unstick_look(0, worker.tid, &report), -ESRCH);
	cr_assert_eq(unstick_look(0, 0, &report), 0);
	cr_assert_str_eq(report.why, "it runs: it is blocked in no call");
}
