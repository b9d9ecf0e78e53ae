/* SPDX-License-Identifier: MIT
 *
 * unstick_look(): what the report says of threads here and in other processes.
 */
#include "silent_fuse.h"
#include <limits.h>
#include <linux/futex.h>
#include "unstick.h"

static int pipe_fds[2];
static struct blocked reader;

static void start_reader(void)
{
	cr_assert_eq(pipe(pipe_fds), 0);
	blocked_start(&reader, read_one_byte, &pipe_fds[0]);
	blocked_wait_call(&reader, SYS_read);
}

static void end_reader(void)
{
	cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
	blocked_join(&reader);
}

static struct unstick_report look(pid_t pid, pid_t tid)
{
	struct unstick_report report;

	memset(&report, 0x55, sizeof(report));
	cr_assert_eq(unstick_look(pid, tid, &report), 0);
	cr_expect(report.why[0] != '\0');
	return report;
}

Test(look, a_blocked_reader_is_told_in_full, .timeout = 60)
{
	struct unstick_report report;

	start_reader();
	report = look(0, reader.tid);
	cr_expect_eq(report.pid, getpid());
	cr_expect_eq(report.tid, reader.tid);
	cr_expect_eq(report.state, 'S');
	cr_expect_eq(report.nr, SYS_read);
	cr_expect_str_eq(report.call, "read");
	cr_expect_eq(report.fd, pipe_fds[0]);
	cr_expect_eq(report.args[2], 1);
	cr_expect(report.sp != 0 && report.pc != 0);
	cr_expect_eq(strncmp(report.object, "pipe:[", 6), 0, "%s", report.object);
	cr_expect_eq(report.freeable, 1);
	cr_expect_eq(report.expect, UNSTICK_WOKEN);
	cr_expect(shows(getpid(), reader.tid, "comm", report.name) && report.name[0] != '\0');
	cr_expect(report.wait[0] == '\0' || shows(getpid(), reader.tid, "wchan", report.wait));
	for (size_t i = 0; i < sizeof(report.reserved) / sizeof(report.reserved[0]); i++)
		cr_expect_eq(report.reserved[i], 0);
	end_reader();
}

Test(look, a_thread_that_looks_at_itself_runs)
{
	struct unstick_report report = look(0, 0);

	cr_expect_eq(report.tid, getpid());
	cr_expect_eq(report.nr, -2);
	cr_expect_eq(report.state, 'R');
	cr_expect_eq(report.freeable, 0);
	cr_expect_eq(report.expect, UNSTICK_NOT_BLOCKED);
	cr_expect_eq(report.fd, -1);
	cr_expect_str_eq(report.object, "");
}

Test(look, who_has_ended_or_never_was_is_gone, .timeout = 60)
{
	struct unstick_report report = {.nr = 77};

	start_reader();
	end_reader();
	cr_expect_eq(unstick_look(0, reader.tid, &report), -ESRCH);
	cr_expect_eq(unstick_look(INT_MAX, 0, &report), -ESRCH);
	cr_expect_eq(unstick_look(0, getppid(), &report), -ESRCH);
	cr_expect_eq(unstick_look(-1, 0, &report), -ESRCH);
	cr_expect_eq(unstick_look(0, -1, &report), -ESRCH);
	cr_expect_eq(report.nr, 77, "wrote into the report");
}

static void wait_on_futex(void *arg)
{
	syscall(SYS_futex, arg, FUTEX_WAIT, 0, NULL, NULL, 0);
}

Test(look, a_lock_is_not_freeable, .timeout = 60)
{
	struct unstick_report report;
	struct blocked waiter;
	int word = 0;

	blocked_start(&waiter, wait_on_futex, &word);
	blocked_wait_call(&waiter, SYS_futex);
	report = look(0, waiter.tid);
	cr_expect_str_eq(report.call, "futex");
	cr_expect_eq(report.args[0], (unsigned long)&word);
	cr_expect_eq(report.freeable, 0);
	cr_expect_eq(report.expect, UNSTICK_LOCK);
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
	blocked_join(&waiter);
}

static void read_with_signals_blocked(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	read_one_byte(arg);
}

Test(look, a_thread_that_blocks_our_signal_is_not_freeable, .timeout = 60)
{
	const struct unstick_options options = {.size = sizeof(options), .signal = SIGUSR2};
	struct unstick_report report;

	cr_assert_eq(unstick_init(&options), 0);
	cr_assert_eq(unstick_signal(), SIGUSR2);
	cr_assert_eq(pipe(pipe_fds), 0);
	blocked_start(&reader, read_with_signals_blocked, &pipe_fds[0]);
	blocked_wait_call(&reader, SYS_read);
	report = look(0, reader.tid);
	cr_expect_eq(report.freeable, 0);
	cr_expect_eq(report.expect, UNSTICK_SIGNAL_BLOCKED);
	end_reader();
	start_reader();
	report = look(0, reader.tid);
	cr_expect_eq(report.freeable, 1, "%s", report.why);
	end_reader();
}

static pid_t start_child(int block_signals)
{
	pid_t child = fork_child();

	if (child == 0) {
		alarm(60);
		if (block_signals)
			read_with_signals_blocked(&pipe_fds[0]);
		read_one_byte(&pipe_fds[0]);
		_exit(0);
	}
	wait_until_in_call(child, child, SYS_read);
	return child;
}

Test(look, another_process_is_judged_without_its_mask, .timeout = 60)
{
	struct unstick_report report;
	pid_t child;

	cr_assert_eq(pipe(pipe_fds), 0);
	child = start_child(1);
	report = look(child, 0);
	cr_expect_eq(report.pid, child);
	cr_expect_eq(report.tid, child);
	cr_expect_eq(report.nr, SYS_read);
	cr_expect_eq(report.freeable, 1, "%s", report.why);
	cr_expect_eq(strncmp(report.object, "pipe:[", 6), 0);
	end_child(child);
}

Test(look, a_stopped_process_is_stopped, .timeout = 60)
{
	struct unstick_report report;
	pid_t child;

	cr_assert_eq(pipe(pipe_fds), 0);
	child = start_child(0);
	kill(child, SIGSTOP);
	wait_until_shows(child, child, "stat", "T");
	report = look(child, child);
	cr_expect_eq(report.state, 'T');
	cr_expect_eq(report.expect, UNSTICK_STOPPED);
	cr_expect_eq(report.freeable, 0);
	end_child(child);
}

Test(look, a_zombie_has_ended, .timeout = 60)
{
	struct unstick_report report;
	pid_t child = fork_child();

	if (child == 0)
		_exit(0);
	wait_until_shows(child, child, "stat", "Z");
	report = look(child, child);
	cr_expect_eq(report.state, 'Z');
	cr_expect_eq(report.expect, UNSTICK_GONE);
	waitpid(child, NULL, 0);
}

static int look_as_nobody(pid_t target)
{
	struct unstick_report report;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 2;
	if (unstick_look(target, target, &report) != 0)
		return 3;
	return report.nr == -3 && report.freeable == -1 && report.expect == UNSTICK_NOT_INSPECTABLE && report.state == 'S' &&
	                       report.name[0] != '\0' && report.fd == -1 && strstr(report.why, "right") != NULL
	               ? 0
	               : 1;
}

Test(look, a_missing_right_leaves_fields_unknown_and_is_named, .timeout = 60)
{
	pid_t target, child;
	int status;

	if (geteuid() != 0)
		cr_skip_test("needs root: another user to look from");
	cr_assert_eq(pipe(pipe_fds), 0);
	target = start_child(0);
	child = fork_child();
	if (child == 0)
		_exit(look_as_nobody(target));
	cr_expect_eq(waitpid(child, &status, 0), child);
	cr_expect_eq(status, 0, "status %#x", status);
	end_child(target);
}

static void read_file(void *arg)
{
	read_one_byte(arg);
}

Test(look, a_reader_of_a_silent_fuse_file_is_uninterruptible, .timeout = 60)
{
	struct unstick_report report;
	struct blocked blocked;
	struct silent_fuse fuse;
	int fd;

	if (!silent_fuse_start(&fuse))
		return;
	fd = open(fuse.file, O_RDWR);
	blocked_start(&blocked, read_file, &fd);
	blocked_wait_call(&blocked, SYS_read);
	report = look(0, blocked.tid);
	cr_expect_eq(report.freeable, 0);
	cr_expect_eq(report.expect, UNSTICK_UNINTERRUPTIBLE);
	cr_expect_str_eq(report.object, fuse.file);
	cr_expect(shows(getpid(), blocked.tid, "stat", "S"), "made worse by looking");
	silent_fuse_end(&fuse);
	blocked_join(&blocked);
}

static void look_at_reader(void *arg)
{
	*(int *)arg = unstick_look(0, reader.tid, &(struct unstick_report){0});
}

Test(look, fits_on_the_smallest_stack, .timeout = 60)
{
	struct blocked looker = {.run = look_at_reader};
	pthread_attr_t attr;
	int result = -1;

	start_reader();
	looker.arg = &result;
	cr_assert_eq(pthread_attr_init(&attr), 0);
	cr_assert_eq(pthread_attr_setstacksize(&attr, 16384), 0);
	cr_assert_eq(pthread_create(&looker.thread, &attr, blocked_main, &looker), 0);
	blocked_join(&looker);
	cr_expect_eq(result, 0);
	pthread_attr_destroy(&attr);
	end_reader();
}

/* Its registers read as zeros: a read() of fd 0. */
Test(look, a_thread_of_the_kernel_is_in_no_call)
{
	struct unstick_report report;

	if (!shows(2, 2, "comm", "kthreadd") || unstick_look(2, 2, &report) < 0 || report.expect == UNSTICK_NOT_INSPECTABLE)
		cr_skip_test("no thread of the kernel can be looked into");
	cr_expect_eq(report.nr, -3);
	cr_expect_eq(report.fd, -1);
	cr_expect_str_eq(report.call, "(kernel)");
	cr_expect_eq(report.freeable, 0);
	cr_expect_eq(report.expect, UNSTICK_LEFT_ALONE);
}
