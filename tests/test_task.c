/* SPDX-License-Identifier: MIT
 *
 * inspect/task.h on real threads and children: blocked, running, stopped, gone, out of sight.
 */
#include "blocked.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include "inspect/task.h"

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

Test(task, a_blocked_thread_shows_its_call, .timeout = 60)
{
	struct task_call call;

	start_reader();
	cr_assert_eq(task_read_call(0, reader.tid, &call), TASK_BLOCKED);
	cr_assert_eq(call.nr, SYS_read);
	cr_assert_eq(call.args[0], (unsigned long)pipe_fds[0]);
	cr_assert_eq(call.args[2], 1);
	cr_assert(call.args[1] - call.sp < 65536, "the buffer of read_one_byte() is on the stack that sp is in");
	cr_assert_neq(call.pc, 0);
	cr_assert_eq(task_read_call(getpid(), reader.tid, &call), TASK_BLOCKED);
	end_reader();
}

Test(task, a_kept_fd_reads_again_and_tells_when_it_is_gone, .timeout = 60)
{
	struct task_call call;
	int fd;

	start_reader();
	fd = task_open_call(reader.tid);
	cr_assert_geq(fd, 0);
	for (int i = 0; i < 2; i++) {
		call.nr = -7;
		cr_assert_eq(task_read_call_fd(fd, &call), TASK_BLOCKED);
		cr_assert_eq(call.nr, SYS_read);
	}
	end_reader();
	cr_assert_eq(task_read_call_fd(fd, &call), -ESRCH);
	close(fd);
}

static _Atomic bool keep_running;

static void run(void *arg)
{
	(void)arg;
	while (atomic_load(&keep_running))
		;
}

Test(task, a_running_thread_is_running, .timeout = 60)
{
	struct task_call call = {.nr = -7};
	struct blocked spinner;

	atomic_store(&keep_running, true);
	blocked_start(&spinner, run, NULL);
	wait_until_shows(getpid(), spinner.tid, "syscall", "running");
	cr_assert_eq(task_read_call(0, spinner.tid, &call), TASK_RUNNING);
	cr_assert_eq(call.nr, -7, "wrote into ret");
	cr_assert_eq(task_state(0, spinner.tid), 'R');
	atomic_store(&keep_running, false);
	blocked_join(&spinner);
}

Test(task, a_thread_that_has_ended_is_gone, .timeout = 60)
{
	struct task_call call;
	uint64_t start_time;
	char name[16];

	start_reader();
	end_reader();
	cr_assert_eq(task_read_call(0, reader.tid, &call), -ESRCH);
	cr_assert_eq(task_open_call(reader.tid), -ESRCH);
	cr_assert_eq(task_state(0, reader.tid), '?');
	cr_assert_eq(task_start_time(0, reader.tid, &start_time), -ESRCH);
	cr_assert_eq(task_name(0, reader.tid, name), -ESRCH);
	cr_assert_eq(task_blocks_signal(0, reader.tid, SIGUSR1), -ESRCH);
	cr_assert_eq(task_blocked_ns(0, reader.tid), -1);
}

Test(task, a_thread_of_another_process_is_not_found_here, .timeout = 60)
{
	struct task_call call;

	cr_assert_eq(task_read_call(0, getppid(), &call), -ESRCH);
}

Test(task, state_and_wait_function, .timeout = 60)
{
	char function[40];

	start_reader();
	cr_assert_eq(task_state(0, reader.tid), 'S');
	cr_assert_geq(task_wait_function(0, reader.tid, function, sizeof(function)), 0);
	cr_assert(shows(getpid(), reader.tid, "wchan", function[0] != '\0' ? function : "0"));
	cr_assert_not(task_is_stopped('S', function));
	end_reader();
}

static void read_with_odd_name(void *arg)
{
	prctl(PR_SET_NAME, ") R (x) 7");
	read_one_byte(arg);
}

Test(task, a_name_with_parentheses_deceives_nobody, .timeout = 60)
{
	uint64_t mine, its;
	char name[16];

	cr_assert_eq(pipe(pipe_fds), 0);
	blocked_start(&reader, read_with_odd_name, &pipe_fds[0]);
	blocked_wait_call(&reader, SYS_read);
	cr_assert_eq(task_state(0, reader.tid), 'S');
	cr_assert_eq(task_name(0, reader.tid, name), 0);
	cr_assert_str_eq(name, ") R (x) 7");
	cr_assert_eq(task_start_time(0, reader.tid, &its), 0);
	cr_assert_eq(task_start_time(0, getpid(), &mine), 0);
	cr_assert(its >= mine && its - mine < 6000, "it began %lu, this process %lu", its, mine);
	end_reader();
}

static void poll_with_mask(void *arg)
{
	struct pollfd pollfd = {.fd = *(int *)arg, .events = POLLIN};
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, 64);
	ppoll(&pollfd, 1, NULL, &mask);
}

Test(task, the_mask_of_ppoll_counts_as_blocked, .timeout = 60)
{
	cr_assert_eq(pipe(pipe_fds), 0);
	blocked_start(&reader, poll_with_mask, &pipe_fds[0]);
	blocked_wait_call(&reader, SYS_ppoll);
	cr_assert_eq(task_blocks_signal(0, reader.tid, SIGUSR1), 1);
	cr_assert_eq(task_blocks_signal(0, reader.tid, 64), 1);
	cr_assert_eq(task_blocks_signal(0, reader.tid, SIGUSR2), 0);
	cr_assert_eq(task_blocks_signal(0, reader.tid, 0), -EINVAL);
	cr_assert_eq(task_blocks_signal(0, reader.tid, 65), -EINVAL);
	end_reader();
}

static _Atomic bool in_handler, may_return;

static void spin_in_handler(int sig)
{
	(void)sig;
	atomic_store(&in_handler, true);
	while (!atomic_load(&may_return))
		;
}

Test(task, the_mask_of_a_signals_own_handler_does_not_hold_it_back, .timeout = 60)
{
	struct sigaction action = {.sa_handler = spin_in_handler};
	sigfillset(&action.sa_mask);
	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	start_reader();
	cr_assert_not(task_holds_back_signal(0, reader.tid, SIGUSR1), "it is not blocked");
	cr_assert_eq(tgkill(getpid(), reader.tid, SIGUSR1), 0);
	while (!atomic_load(&in_handler))
		;
	cr_assert_eq(task_blocks_signal(0, reader.tid, SIGUSR1), 1);
	cr_assert_not(task_holds_back_signal(0, reader.tid, SIGUSR1), "it has arrived");
	cr_assert_eq(tgkill(getpid(), reader.tid, SIGUSR2), 0);
	cr_assert(task_holds_back_signal(0, reader.tid, SIGUSR2), "it waits for the handler's end");
	action.sa_handler = SIG_IGN;
	cr_assert_eq(sigaction(SIGUSR2, &action, NULL), 0); /* and is dropped by this */
	atomic_store(&may_return, true);
	end_reader();
}

static void read_twice(void *arg)
{
	read_one_byte(arg);
	read_one_byte(arg);
}

Test(task, switches_grow_when_it_moves, .timeout = 60)
{
	struct timespec pause = {.tv_nsec = 1000000};
	int64_t before, after;

	cr_assert_eq(pipe(pipe_fds), 0);
	blocked_start(&reader, read_twice, &pipe_fds[0]);
	blocked_wait_call(&reader, SYS_read);
	before = task_switches(0, reader.tid);
	cr_assert_gt(before, 0);
	cr_assert_eq(task_switches(0, reader.tid), before);
	cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
	while ((after = task_switches(0, reader.tid)) == before)
		nanosleep(&pause, NULL);
	cr_assert_gt(after, before);
	end_reader();
}

Test(task, blocked_time_grows_while_it_waits, .timeout = 60)
{
	struct timespec pause = {.tv_nsec = 1000000}, began, now;
	int64_t blocked, span;
	cpu_set_t one;

	CPU_ZERO(&one); /* each CPU has its own scheduler clock */
	CPU_SET((size_t)sched_getcpu(), &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	clock_gettime(CLOCK_MONOTONIC, &began);
	start_reader();
	blocked = task_blocked_ns(0, reader.tid);
	if (blocked < 0) {
		end_reader();
		cr_skip_test("this kernel has no /proc/PID/sched");
	}
	while ((blocked = task_blocked_ns(0, reader.tid)) < 30000000)
		nanosleep(&pause, NULL);
	clock_gettime(CLOCK_MONOTONIC, &now);
	span = (now.tv_sec - began.tv_sec) * 1000000000 + now.tv_nsec - began.tv_nsec;
	cr_assert_leq(blocked, span + 20000000, "says %ld ns, and %ld ns ago it did not exist", blocked, span);
	end_reader();
}

Test(task, a_stopped_child_is_stopped, .timeout = 60)
{
	char function[40];
	pid_t child = fork_child();

	if (child == 0) {
		pause();
		_exit(0);
	}
	wait_until_in_call(child, child, SYS_pause);
	kill(child, SIGSTOP);
	wait_until_shows(child, child, "stat", "T");
	cr_assert_eq(task_state(child, child), 'T');
	cr_assert_geq(task_wait_function(child, child, function, sizeof(function)), 0);
	cr_assert(task_is_stopped('T', ""));
	if (function[0] != '\0')
		cr_assert(task_is_stopped('?', function), "%s", function);
	end_child(child);
	cr_assert_eq(task_state(child, child), '?');
}

Test(task, freezers_are_told_by_their_wait_function)
{
	cr_assert(task_is_stopped('D', "__refrigerator"));
	cr_assert(task_is_stopped('S', "do_freezer_trap"));
	cr_assert(task_is_stopped('S', "get_signal"));
	cr_assert(task_is_stopped('t', ""));
	cr_assert_not(task_is_stopped('S', "get_signal_from_nowhere"));
	cr_assert_not(task_is_stopped('D', ""));
	cr_assert_not(task_is_stopped('S', "anon_pipe_read"));
}

Test(task, without_a_free_fd_it_says_so, .timeout = 60)
{
	struct rlimit none = {.rlim_cur = 0, .rlim_max = 1024};
	struct task_call call;
	pid_t child = fork_child();

	if (child == 0) {
		setrlimit(RLIMIT_NOFILE, &none);
		_exit(task_read_call(0, getpid(), &call) == -EMFILE ? 0 : 1);
	}
	int status;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
}

/* In a child, because there is no way back from either. */
static int look_without_rights(pid_t target)
{
	struct task_call call;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 2;
	return task_read_call(target, target, &call) == -EACCES && task_state(target, target) != '?' ? 0 : 1;
}

static int look_without_proc(pid_t target)
{
	struct task_call call;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", 0, NULL) < 0)
		return 2;
	return task_read_call(target, target, &call) == -ENOENT && task_read_call(0, target, &call) == -ENOENT ? 0 : 1;
}

static void check_in_child(int (*look)(pid_t), const char *needs)
{
	pid_t target = getpid(), child;
	int status;

	if (geteuid() != 0)
		cr_skip_test("needs root: %s", needs);
	child = fork_child();
	if (child == 0)
		_exit(look(target));
	cr_assert_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		cr_skip_test("refused: %s", needs);
	cr_assert_eq(status, 0);
}

Test(task, a_missing_right_is_told_from_a_missing_thread, .timeout = 60)
{
	check_in_child(look_without_rights, "another user to look from");
}

Test(task, a_missing_proc_is_told_from_a_missing_thread, .timeout = 60)
{
	check_in_child(look_without_proc, "a mount namespace without /proc");
}
