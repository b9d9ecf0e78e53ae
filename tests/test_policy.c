/* SPDX-License-Identifier: MIT
 *
 * wake/policy.h: what is said of threads that are really blocked, and above all of those that must not be signalled.
 */
#include "silent_fuse.h"
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "unstick.h"
#include "wake/policy.h"

static struct policy_verdict judge(pid_t pid, pid_t tid, unsigned how)
{
	struct policy_verdict verdict;
	struct task_call call;

	cr_assert_eq(task_read_call(pid, tid, &call), TASK_BLOCKED);
	policy_judge(pid, tid, &call, how, &verdict);
	cr_expect(verdict.why != NULL && verdict.why[0] != '\0' && strlen(verdict.why) < 80);
	return verdict;
}

static void check(pid_t pid, pid_t tid, unsigned how, enum call_verdict verdict, int kind)
{
	struct policy_verdict is = judge(pid, tid, how);

	cr_expect_eq(is.verdict, verdict, "how %u: verdict %u, not %u: %s (%c, %s)", how, is.verdict, verdict, is.why, is.state,
	             is.wait);
	cr_expect_eq(is.kind, kind, "how %u: kind %d, not %d: %s (%c, %s)", how, is.kind, kind, is.why, is.state, is.wait);
}

/* Whatever the depth of the judgement, in a scope or not. */
static void check_all(pid_t tid, enum call_verdict verdict, int kind)
{
	for (unsigned how = 0; how < 4; how++)
		check(0, tid, how, verdict, kind);
}

static void end_reader(struct blocked *reader, int write_fd)
{
	cr_assert_eq(write(write_fd, "xxxxxxxx", 8), 8);
	blocked_join(reader);
}

/* ---- What can be freed ---- */

static void check_read(int read_fd, int write_fd)
{
	struct blocked reader;

	blocked_start(&reader, read_one_byte, &read_fd);
	blocked_wait_call(&reader, SYS_read);
	check_all(reader.tid, CALL_REWRITE, UNSTICK_WOKEN);
	cr_expect_eq(judge(0, reader.tid, POLICY_FIRST).fd, read_fd);
	end_reader(&reader, write_fd);
}

Test(policy, reads_of_pipes_and_sockets_are_rewritten, .timeout = 60)
{
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	check_read(fds[0], fds[1]);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	check_read(fds[0], fds[1]);
}

Test(policy, a_read_whose_fd_was_closed_is_judged_by_its_wait, .timeout = 60)
{
	struct blocked reader;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	blocked_start(&reader, read_one_byte, &fds[0]);
	blocked_wait_call(&reader, SYS_read);
	close(fds[0]);
	if (judge(0, reader.tid, POLICY_FIRST).wait[0] == '\0')
		check_all(reader.tid, CALL_LEAVE, UNSTICK_NOT_INSPECTABLE);
	else
		check_all(reader.tid, CALL_REWRITE, UNSTICK_WOKEN);
	end_reader(&reader, fds[1]);
}

static void epoll_on(void *arg)
{
	struct epoll_event event;
	int n = epoll_wait(*(int *)arg, &event, 1, -1);
	(void)n;
}

Test(policy, an_event_loop_gets_eintr_and_counts_as_freed_in_a_scope, .timeout = 60)
{
	struct epoll_event interest = {.events = EPOLLIN};
	struct blocked loop;
	int fds[2], epoll = epoll_create1(0);

	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &interest), 0);
	blocked_start(&loop, epoll_on, &epoll);
	blocked_wait_call(&loop, SYS_epoll_wait);
	check(0, loop.tid, POLICY_FIRST, CALL_EINTR_ONLY, UNSTICK_EVENT_LOOP);
	check(0, loop.tid, POLICY_FULL, CALL_EINTR_ONLY, UNSTICK_EVENT_LOOP);
	check(0, loop.tid, POLICY_FIRST | POLICY_IN_SCOPE, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	end_reader(&loop, fds[1]);
}

static void wait_for_child(void *arg)
{
	waitpid(*(pid_t *)arg, NULL, 0);
}

Test(policy, a_wait_for_a_child_is_rewritten_only_in_a_scope, .timeout = 60)
{
	struct blocked waiter;
	pid_t child = fork_child();

	if (child == 0) {
		alarm(60);
		pause();
		_exit(0);
	}
	blocked_start(&waiter, wait_for_child, &child);
	blocked_wait_call(&waiter, SYS_wait4);
	check(0, waiter.tid, POLICY_FIRST, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	check(0, waiter.tid, POLICY_FULL, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	check(0, waiter.tid, POLICY_FIRST | POLICY_IN_SCOPE, CALL_REWRITE, UNSTICK_WOKEN);
	check(0, waiter.tid, POLICY_FULL | POLICY_IN_SCOPE, CALL_REWRITE, UNSTICK_WOKEN);
	kill(child, SIGKILL);
	blocked_join(&waiter);
}

static char fifo_path[40];

static void open_fifo(void *arg)
{
	*(int *)arg = open(fifo_path, O_RDONLY);
}

Test(policy, the_open_of_a_fifo_gets_eintr, .timeout = 60)
{
	struct blocked opener;
	int fd = -1;

	snprintf(fifo_path, sizeof(fifo_path), "/tmp/unstick-fifo-%d", getpid());
	cr_assert_eq(mkfifo(fifo_path, 0600), 0);
	blocked_start(&opener, open_fifo, &fd);
	blocked_wait_call(&opener, SYS_openat);
	if (shows(getpid(), opener.tid, "wchan", "0"))
		check_all(opener.tid, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	else
		check_all(opener.tid, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	close(open(fifo_path, O_WRONLY));
	blocked_join(&opener);
	unlink(fifo_path);
}

static void lock_whole(void *arg)
{
	struct flock whole = {.l_type = F_WRLCK};
	int r = fcntl(*(int *)arg, F_OFD_SETLKW, &whole);
	(void)r;
}

static void lock_with_flock(void *arg)
{
	flock(*(int *)arg, LOCK_EX);
}

static void check_lock(void (*run)(void *), long nr, const char *path)
{
	struct flock whole = {.l_type = F_WRLCK};
	struct blocked waiter;
	int holder = open(path, O_RDWR), other = open(path, O_RDWR);

	cr_assert_eq(nr == SYS_flock ? flock(holder, LOCK_EX) : fcntl(holder, F_OFD_SETLK, &whole), 0);
	blocked_start(&waiter, run, &other);
	blocked_wait_call(&waiter, nr);
	check_all(waiter.tid, CALL_REWRITE, UNSTICK_WOKEN);
	close(holder);
	blocked_join(&waiter);
	close(other);
}

Test(policy, waits_for_file_locks_are_rewritten, .timeout = 60)
{
	char path[] = "/tmp/unstick-lock-XXXXXX";

	close(mkstemp(path));
	check_lock(lock_whole, SYS_fcntl, path);
	check_lock(lock_with_flock, SYS_flock, path);
	unlink(path);
}

static int transfer_fds[2];

static void send_file(void *arg)
{
	off_t offset = 0;
	ssize_t n = sendfile(transfer_fds[1], *(int *)arg, &offset, 1 << 20);
	(void)n;
}

Test(policy, a_sendfile_that_waits_for_its_reader_is_rewritten, .timeout = 60)
{
	struct blocked sender;
	int file = memfd_create("m", 0);

	cr_assert_eq(ftruncate(file, 1 << 20), 0);
	cr_assert_eq(pipe(transfer_fds), 0);
	cr_assert_gt(sendfile(transfer_fds[1], file, &(off_t){0}, 1 << 20), 0); /* fills the pipe and returns */
	blocked_start(&sender, send_file, &file);
	blocked_wait_call(&sender, SYS_sendfile);
	if (shows(getpid(), sender.tid, "wchan", "0"))
		check_all(sender.tid, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	else
		check_all(sender.tid, CALL_REWRITE, UNSTICK_WOKEN);
	signal(SIGPIPE, SIG_IGN);
	close(transfer_fds[0]);
	blocked_join(&sender);
}

/* ---- What is left alone ---- */

static void wait_on_futex(void *arg)
{
	syscall(SYS_futex, arg, FUTEX_WAIT, 0, NULL, NULL, 0);
}

Test(policy, a_futex_is_a_lock_and_no_scope_allows_it, .timeout = 60)
{
	struct blocked waiter;
	int word = 0;

	blocked_start(&waiter, wait_on_futex, &word);
	blocked_wait_call(&waiter, SYS_futex);
	check_all(waiter.tid, CALL_LEAVE, UNSTICK_LOCK);
	check(0, waiter.tid, POLICY_FIRST | POLICY_ALLOWED, CALL_LEAVE, UNSTICK_LOCK);
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0);
	blocked_join(&waiter);
}

/* A judgement of a call that the thread, which sleeps in a pipe read, is said to be in. */
static void check_as_if(pid_t tid, struct task_call call, unsigned how, enum call_verdict verdict, int kind)
{
	struct policy_verdict is;

	call.sp = call.pc = (unsigned long)1 << 40;
	policy_judge(0, tid, &call, how, &is);
	cr_expect_eq(is.verdict, verdict, "call %ld, how %u: verdict %u: %s", call.nr, how, is.verdict, is.why);
	cr_expect_eq(is.kind, kind, "call %ld, how %u: kind %d: %s", call.nr, how, is.kind, is.why);
}

Test(policy, regular_files_and_unknown_calls_are_left, .timeout = 60)
{
	unsigned long file = (unsigned long)open("/proc/self/maps", O_RDONLY);
	struct blocked reader;
	int fds[2];

	cr_assert_eq(pipe(fds), 0);
	blocked_start(&reader, read_one_byte, &fds[0]);
	blocked_wait_call(&reader, SYS_read);
	check_as_if(gettid(), (struct task_call){SYS_read, {file}, 0, 0}, POLICY_FIRST, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	check_as_if(gettid(), (struct task_call){SYS_read, {file}, 0, 0}, POLICY_ALLOWED, CALL_REWRITE, UNSTICK_WOKEN);
	/* The fd has been closed and is a file's now, but the thread waits for a pipe still. */
	check_as_if(reader.tid, (struct task_call){SYS_read, {file}, 0, 0}, POLICY_FIRST, CALL_REWRITE, UNSTICK_WOKEN);
	check_as_if(reader.tid, (struct task_call){.nr = 400}, POLICY_FIRST, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	check_as_if(reader.tid, (struct task_call){.nr = 400}, POLICY_ALLOWED, CALL_REWRITE, UNSTICK_WOKEN);
	check_as_if(reader.tid, (struct task_call){SYS_close, {file}, 0, 0}, POLICY_ALLOWED, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	check_as_if(reader.tid, (struct task_call){SYS_fcntl, {file, F_SETLEASE}, 0, 0}, POLICY_FIRST, CALL_LEAVE,
	            UNSTICK_LEFT_ALONE);
	check_as_if(reader.tid, (struct task_call){SYS_fcntl, {file, F_SETLKW}, 0, 0}, POLICY_FIRST, CALL_REWRITE, UNSTICK_WOKEN);
	check_as_if(reader.tid, (struct task_call){SYS_openat, {0}, 0, 0}, POLICY_FIRST, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	check_as_if(reader.tid, (struct task_call){.nr = SYS_restart_syscall}, POLICY_FIRST, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	check_as_if(reader.tid, (struct task_call){.nr = SYS_pause}, POLICY_FULL, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	end_reader(&reader, fds[1]);
}

Test(policy, a_stopped_process_is_stopped_in_whatever_call, .timeout = 60)
{
	pid_t child = fork_child();

	if (child == 0) {
		alarm(60);
		pause();
		_exit(0);
	}
	wait_until_in_call(child, child, SYS_pause);
	check(child, child, POLICY_FULL, CALL_EINTR_ONLY, UNSTICK_WOKEN);
	kill(child, SIGSTOP);
	wait_until_shows(child, child, "stat", "T");
	check(child, child, POLICY_FULL, CALL_LEAVE, UNSTICK_STOPPED);
	end_child(child);
}

Test(policy, a_32_bit_program_is_not_guessed_at, .timeout = 60)
{
	const struct task_call call = {.nr = SYS_pause, .sp = 0xff000000, .pc = 0x8048000};
	struct policy_verdict verdict;
	pid_t child = fork_child();

	if (child == 0) {
		alarm(60);
		pause();
		_exit(0);
	}
	wait_until_in_call(child, child, SYS_pause);
	policy_judge(child, child, &call, POLICY_FULL, &verdict);
	cr_expect_eq(verdict.kind, UNSTICK_NOT_INSPECTABLE);
	cr_expect_eq(verdict.verdict, CALL_LEAVE);
	end_child(child);
}

static void be_a_vfork_parent(void)
{
	pid_t child = vfork();

	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	_exit(0);
}

Test(policy, uninterruptible_sleep_is_named, .timeout = 60)
{
	pid_t child = fork_child();
	char path[64], line[64] = "";
	FILE *children;

	if (child == 0)
		be_a_vfork_parent();
	wait_until_shows(child, child, "stat", "D");
	check(child, child, POLICY_FULL, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE);
	check(child, child, POLICY_FIRST, CALL_LEAVE, UNSTICK_LEFT_ALONE);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", child, child);
	children = fopen(path, "re");
	cr_assert(children != NULL && fgets(line, sizeof(line), children) != NULL, "%s", path);
	fclose(children);
	kill(atoi(line), SIGKILL);
	waitpid(child, NULL, 0);
}

/* ---- What a signal would make worse ---- */

struct fuse_case {
	const char *name;
	long nr;
	void (*run)(void *fuse);
};

static void fuse_read(void *arg)
{
	char byte;
	ssize_t n = read(open(((struct silent_fuse *)arg)->file, O_RDWR), &byte, 1);
	(void)n;
}

static void fuse_stat(void *arg)
{
	struct stat unused;
	int r = stat(((struct silent_fuse *)arg)->hidden, &unused);
	(void)r;
}

static void fuse_open(void *arg)
{
	int fd = open(((struct silent_fuse *)arg)->hidden, O_RDONLY);
	(void)fd;
}

static void fuse_poll(void *arg)
{
	struct pollfd pollfd = {.fd = open(((struct silent_fuse *)arg)->file, O_RDWR), .events = POLLIN};
	poll(&pollfd, 1, -1);
}

static void fuse_lock(void *arg)
{
	struct flock whole = {.l_type = F_WRLCK};
	int r = fcntl(open(((struct silent_fuse *)arg)->file, O_RDWR), F_SETLKW, &whole);
	(void)r;
}

static void fuse_connect(void *arg)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", ((struct silent_fuse *)arg)->hidden);
	r = connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof(address));
	(void)r;
}

static void fuse_send(void *arg)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	ssize_t n;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", ((struct silent_fuse *)arg)->hidden);
	n = sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&address, sizeof(address));
	(void)n;
}

static void fuse_sendfile(void *arg)
{
	ssize_t n = sendfile(transfer_fds[1], open(((struct silent_fuse *)arg)->file, O_RDWR), NULL, 4096);
	(void)n;
}

static void check_fuse(struct silent_fuse *fuse, const struct fuse_case *fuse_case)
{
	struct blocked blocked;

	blocked_start(&blocked, fuse_case->run, fuse);
	blocked_wait_call(&blocked, fuse_case->nr);
	if (!shows(getpid(), blocked.tid, "wchan", "request_wait_answer"))
		cr_log_warn("%s: another wait function than expected", fuse_case->name);
	for (unsigned how = 0; how < 8; how++) {
		struct policy_verdict is = judge(0, blocked.tid, how);
		cr_expect_eq(is.verdict, CALL_LEAVE, "%s, how %u: would be signalled: %s (%s)", fuse_case->name, how, is.why,
		             is.wait);
		if ((how & POLICY_FULL) != 0 || (how & POLICY_ALLOWED) != 0 || fuse_case->nr != SYS_newfstatat)
			cr_expect_eq(is.kind, UNSTICK_UNINTERRUPTIBLE, "%s, how %u: kind %d: %s", fuse_case->name, how, is.kind,
			             is.why);
	}
	cr_expect_eq(task_state(0, blocked.tid), 'S', "%s: made worse by looking", fuse_case->name);
	pthread_detach(blocked.thread); /* comes out when the daemon has ended */
}

Test(policy, no_wait_for_a_fuse_daemon_is_signalled, .timeout = 60)
{
	static const struct fuse_case cases[] = {
	        {"read", SYS_read, fuse_read},
	        {"stat", SYS_newfstatat, fuse_stat},
	        {"open", SYS_openat, fuse_open},
	        {"F_SETLKW", SYS_fcntl, fuse_lock},
	        {"connect", SYS_connect, fuse_connect},
	        {"sendto", SYS_sendto, fuse_send},
	        {"sendfile", SYS_sendfile, fuse_sendfile},
	        {"poll", SYS_poll, fuse_poll},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct silent_fuse fuse; /* one each: a second look-up of the same name waits for the first, in D */
		cr_assert_eq(pipe(transfer_fds), 0);
		if (!silent_fuse_start(&fuse))
			return;
		check_fuse(&fuse, &cases[i]);
		silent_fuse_end(&fuse);
	}
}

Test(policy, a_local_lock_on_a_fuse_file_can_be_freed, .timeout = 60)
{
	struct silent_fuse fuse;

	if (!silent_fuse_start(&fuse))
		return;
	check_lock(lock_with_flock, SYS_flock, fuse.file);
	silent_fuse_end(&fuse);
}

struct fault {
	int userfault;
	char *page;
	int pipe_fd;
};

static void start_fault(struct fault *fault)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.range.len = 4096, .mode = UFFDIO_REGISTER_MODE_MISSING};

	fault->userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fault->userfault < 0 || ioctl(fault->userfault, UFFDIO_API, &api) < 0)
		cr_skip_test("no userfaultfd here: %s", strerror(errno));
	fault->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(fault->page, MAP_FAILED);
	range.range.start = (unsigned long)fault->page;
	cr_assert_eq(ioctl(fault->userfault, UFFDIO_REGISTER, &range), 0);
}

static void end_fault(struct fault *fault, struct blocked *blocked)
{
	struct uffdio_zeropage zero = {.range = {.start = (unsigned long)fault->page, .len = 4096}};

	cr_assert_eq(ioctl(fault->userfault, UFFDIO_ZEROPAGE, &zero), 0);
	blocked_join(blocked);
	close(fault->userfault);
}

static void touch_page(void *arg)
{
	*(volatile char *)((struct fault *)arg)->page = 1;
}

static void read_into_page(void *arg)
{
	struct fault *fault = arg;
	ssize_t n = read(fault->pipe_fd, fault->page, 1);
	(void)n;
}

Test(policy, a_page_fault_is_no_call_to_cut_short, .timeout = 60)
{
	struct blocked blocked;
	struct fault fault;

	start_fault(&fault);
	blocked_start(&blocked, touch_page, &fault);
	wait_until_shows(getpid(), blocked.tid, "syscall", "-1 ");
	check_all(blocked.tid, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE);
	end_fault(&fault, &blocked);
}

Test(policy, a_read_into_a_faulting_page_is_seen_by_the_full_judgement, .timeout = 60)
{
	struct blocked blocked;
	struct fault fault;
	int fds[2];

	start_fault(&fault);
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(write(fds[1], "x", 1), 1);
	fault.pipe_fd = fds[0];
	blocked_start(&blocked, read_into_page, &fault);
	blocked_wait_call(&blocked, SYS_read);
	if (!shows(getpid(), blocked.tid, "wchan", "0"))
		check(0, blocked.tid, POLICY_FULL, CALL_LEAVE, UNSTICK_UNINTERRUPTIBLE);
	end_fault(&fault, &blocked);
}
