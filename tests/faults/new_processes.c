/* SPDX-License-Identifier: MIT
 *
 * fork, exec and vfork inside scopes (faults 12 to 14).
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "victim.h"

enum { FORKS = FAULT_TSAN ? 30 : 300, WAS_PENDING = 42, WAS_NOT_PENDING = 43 };

extern char **environ;

static int fds[2], other_fds[2];

static void reap(pid_t pid, int expected)
{
	int status;
	fault_waiting_for("child %d", (int)pid);
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected, "the child ended with %x", (unsigned)status);
	fault_waiting_for("%s", "");
}

/* ---- fault 12 */

/* The library works in the child: deadlines, tokens, other threads. */
static void use_afresh(void)
{
	struct victim timed = {.call = foreign_read, .deadline = unstick_after_ms(5), .fd = other_fds[0]};
	struct victim cancelled = {.call = own_read, .token = make_token(), .fd = other_fds[0]};
	victim_start(&timed);
	victim_start(&cancelled);
	unstick_token_cancel(cancelled.token);
	victim_join(&timed);
	victim_join(&cancelled);
	CHECK(timed.result == -ETIMEDOUT && timed.end == -ETIMEDOUT, "%ld, %d", timed.result, timed.end);
	CHECK(cancelled.result == -ECANCELED && cancelled.end == -ECANCELED, "%ld, %d", cancelled.result, cancelled.end);
}

/* In a child, in the scope that its parent had open. */
static void child_in_scope(struct unstick_scope *scope)
{
	struct pollfd nothing = {.fd = other_fds[0], .events = POLLIN};
	CHECK(unstick_check() == 0, "the child is in its parent's scope");
	CHECK(poll(&nothing, 1, 20) == 0, "%s", strerror(errno));
	CHECK(unstick_poll(&nothing, 1, 20) == 0, "an own poll was cut short");
	CHECK(unstick_scope_end(scope) == 0, "the end of the parent's scope");
	use_afresh();
}

static void fork_in(bool fired)
{
	struct unstick_scope scope;
	struct unstick_token *token = make_token();
	char byte;
	make_pipe(fds);
	make_pipe(other_fds);
	CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	if (fired)
		unstick_token_cancel(token);
	pid_t pid = fork();
	if (pid == 0) {
		child_in_scope(&scope);
		_exit(0);
	}
	CHECK(pid > 0, "fork: %s", strerror(errno));
	unstick_token_cancel(token);
	CHECK(unstick_read(fds[0], &byte, 1) == -ECANCELED, "the parent's scope was lost");
	CHECK(after_foreign(or_errno(read(fds[0], &byte, 1))) == -ECANCELED, "%s", strerror(errno));
	CHECK(unstick_scope_end(&scope) == -ECANCELED, "the parent's scope");
	reap(pid, 0);
}

static void fork_in_scope(void)
{
	fork_in(false);
}

static void fork_in_fired_scope(void)
{
	fork_in(true);
}

/* The child sleeps on inside the copy of the scope; what the parent fires is the parent's affair. */
static void cancel_stays_home(void)
{
	struct victim victim = {.call = foreign_read_again, .token = make_token()};
	struct unstick_scope scope;
	make_pipe(fds);
	make_pipe(other_fds);
	CHECK(unstick_scope_begin(&scope, victim.token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	pid_t pid = fork();
	if (pid == 0) {
		struct victim inside = {.fd = fds[0]};
		long result = foreign_read_again(&inside);
		CHECK(result == 1 && inside.count == 0, "%ld after %ld EINTR", result, inside.count);
		CHECK(unstick_scope_end(&scope) == 0, "scope");
		_exit(0);
	}
	WAIT_UNTIL(proc_in_call(pid, pid, SYS_read) && proc_state(pid, pid) == 'S');
	CHECK(unstick_scope_end(&scope) == 0, "scope");
	victim.fd = other_fds[0];
	victim_block(&victim, SYS_read);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
	CHECK(proc_in_call(pid, pid, SYS_read) && proc_state(pid, pid) == 'S', "the child was touched");
	feed(fds[1]);
	reap(pid, 0);
}

static long deeper_read(struct victim *victim)
{
	return deep_down(DEEPER, foreign_read_again, victim);
}

/* A thread that was in an own call at the fork is not in the child; its record is taken over by another there. */
static void fork_beside_own_call(void)
{
	struct victim victim = {.call = own_read, .token = make_token()};
	make_pipe(fds);
	make_pipe(other_fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	pid_t pid = fork();
	if (pid == 0) {
		unstick_thread_unref(victim.handle);
		struct victim inside = {.call = deeper_read, .token = make_token(), .fd = other_fds[0]};
		victim_block(&inside, SYS_read);
		unstick_token_cancel(inside.token);
		victim_join(&inside);
		CHECK(inside.result == -ECANCELED && inside.end == -ECANCELED, "%ld, %d", inside.result, inside.end);
		_exit(0);
	}
	reap(pid, 0);
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	CHECK(victim.result == -ECANCELED, "%ld", victim.result);
}

static _Atomic(struct unstick_token *) to_cancel;

/* Scope after scope, each cancelled by the thread beside it. */
static long cut_over_and_over(struct victim *victim)
{
	while (!atomic_load(&victim->stop)) {
		struct unstick_token *token = make_token();
		struct unstick_scope scope;
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		atomic_store(&to_cancel, unstick_token_ref(token));
		long result = foreign_read_again(victim);
		int end = unstick_scope_end(&scope);
		CHECK(result == -ECANCELED && end == -ECANCELED, "%ld, %d", result, end);
		unstick_token_unref(token);
		atomic_fetch_add(&victim->count, 1);
	}
	return 0;
}

static long cancel_over_and_over(struct victim *canceller)
{
	while (!atomic_load(&canceller->stop)) {
		struct unstick_token *token = atomic_exchange(&to_cancel, NULL);
		if (token != NULL)
			unstick_token_cancel(token);
		else
			sched_yield();
		unstick_token_unref(token);
	}
	return 0;
}

/* Whatever the canceller was doing at the moment of the fork, the child's library is whole. */
static void fork_amid_pokes(void)
{
	struct victim canceller = {.call = cancel_over_and_over}, victim = {.call = cut_over_and_over};
	struct unstick_thread *handle;
	struct unstick_outcome outcome;
	make_pipe(fds);
	make_pipe(other_fds);
	victim.fd = fds[0];
	victim_start(&victim);
	victim_start(&canceller);
	WAIT_UNTIL(victim.count > 10);
	CHECK(unstick_thread_find(&handle, victim.tid) == 0, "unstick_thread_find");
	for (int round = 0; round < FORKS; round++) {
		pid_t pid = fork();
		if (pid == 0) {
			fault_waiting_for("the child's look at an outcome");
			CHECK(unstick_thread_outcome(handle, &outcome) == 0, "unstick_thread_outcome");
			unstick_thread_unref(handle);
			if (round % 20 == 0)
				use_afresh();
			_exit(0);
		}
		CHECK(pid > 0, "fork: %s", strerror(errno));
		reap(pid, 0);
	}
	fault_note("%d forks amid %ld cancels", FORKS, victim.count);
	victim.stop = true;
	victim_join(&victim);
	canceller.stop = true;
	victim_join(&canceller);
	unstick_thread_unref(handle);
}

/* ---- fault 13 */

static void *cancel_token(void *token)
{
	unstick_token_cancel(token);
	return NULL;
}

static void exec_with_pending(void)
{
	struct unstick_scope scope;
	struct unstick_token *token = make_token();
	sigset_t ours;
	pthread_t thread;
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	sigemptyset(&ours);
	sigaddset(&ours, unstick_signal());
	sigprocmask(SIG_BLOCK, &ours, NULL);
	CHECK(unstick_scope_begin(&scope, token, UNSTICK_NEVER) == 0, "unstick_scope_begin");
	CHECK(pthread_create(&thread, NULL, cancel_token, token) == 0, "pthread_create");
	WAIT_UNTIL(proc_status_bit(own_tid(), "SigPnd:", unstick_signal()));
	execl("/proc/self/exe", "faults", "--after-exec", (char *)NULL);
	CHECK(false, "execl: %s", strerror(errno));
}

/* In the new program: the signal that is pending still must not end it. */
static int after_exec(void)
{
	sigset_t pending, all;
	sigpending(&pending);
	sigfillset(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	return sigismember(&pending, SIGURG) ? WAS_PENDING : WAS_NOT_PENDING;
}

static void pending_across_exec(void)
{
	pid_t pid = fork();
	if (pid == 0)
		exec_with_pending();
	reap(pid, WAS_PENDING);
}

/* ---- fault 14 */

static long spawn_blocked(struct victim *victim)
{
	static char name[] = "true", *const argv[] = {name, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, victim->arg, O_RDONLY, 0);
	int error = posix_spawn(&pid, "/bin/true", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	atomic_store(&victim->count, pid);
	return -error;
}

static void release_fifo(const char *path)
{
	int fd;
	WAIT_UNTIL((fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0);
	close(fd);
}

/* The parent of a vfork waits, unkillable, until the child has its FIFO open: that wait is not ours to end. */
static void vfork_parent(bool by_interrupt)
{
	char dir[] = "/tmp/unstick-fifo-XXXXXX", path[64];
	struct victim victim = {.call = spawn_blocked, .token = make_token()};
	struct unstick_outcome outcome;
	CHECK(mkdtemp(dir) != NULL, "mkdtemp: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	fault_remove_later(path);
	fault_remove_later(dir);
	CHECK(mkfifo(path, 0600) == 0, "mkfifo: %s", strerror(errno));
	victim.arg = path;
	victim_start(&victim);
	WAIT_UNTIL(proc_state(0, victim.tid) == 'D');
	if (by_interrupt) {
		CHECK(unstick_thread_interrupt(victim.handle, unstick_after_ms(30), &outcome) == 0, "unstick_thread_interrupt");
	} else {
		unstick_token_cancel(victim.token);
		victim_wait_outcome(&victim, UNSTICK_UNINTERRUPTIBLE);
		outcome = victim_outcome(&victim);
	}
	CHECK(outcome.kind == UNSTICK_UNINTERRUPTIBLE && outcome.signals == 0, "%s", outcome_text(&outcome));
	CHECK(proc_state(0, victim.tid) == 'D' && !victim.done, "it came out");
	release_fifo(path);
	victim_join(&victim);
	CHECK(victim.result == 0 && victim.end == 0, "posix_spawn: %ld; %d", victim.result, victim.end);
	reap((pid_t)victim.count, 0);
}

static void vfork_in_scope(void)
{
	vfork_parent(false);
}

static void vfork_interrupted(void)
{
	vfork_parent(true);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {12, "fork in a scope: the child is in none, and the parent's holds", fork_in_scope},
	        {12, "fork in a fired scope: the child is not cut short, the parent is", fork_in_fired_scope},
	        {12, "a cancel after fork does not reach the child", cancel_stays_home},
	        {12, "fork while another thread is in an own call: the child's foreign calls are freed", fork_beside_own_call},
	        {12, "fork at any moment of a poke leaves the child's library whole", fork_amid_pokes},
	        {13, "the signal pending across exec: the new program lives", pending_across_exec},
	        {14, "a vfork child in a scope: its parent is told as uninterruptible, and undisturbed", vfork_in_scope},
	        {14, "a vfork child: an interrupt of its parent comes to uninterruptible", vfork_interrupted},
	};
	if (argc == 2 && strcmp(argv[1], "--after-exec") == 0)
		return after_exec();
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
