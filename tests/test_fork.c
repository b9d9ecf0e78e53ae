/* SPDX-License-Identifier: MIT
 *
 * fork(): the child has one thread, no scopes and no monitor; its tokens are its own; the library works in it, deadlines included.
 * Each child returns the number of the first thing that was wrong.
 */
#include "helpers.h"
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>

static int fds[2];

static void setup(void)
{
	pipe_empty(fds);
}

TestSuite(fork, .init = setup);

static bool is_readable(int fd)
{
	struct pollfd one = {.fd = fd, .events = POLLIN};
	return poll(&one, 1, 0) == 1;
}

static long own_read(void)
{
	char byte;
	return unstick_read(fds[0], &byte, 1);
}

/* ---- scopes */

static int scope_of_parent_is_nothing(void *scope)
{
	if (unstick_check())
		return 1;
	if (unstick_scope_allow(scope, SYS_ioctl) != -EINVAL)
		return 2;
	if (unstick_scope_end(scope))
		return 3;
	if (threads_named("unstick"))
		return 4;
	return 0;
}

Test(fork, in_a_scope_the_child_has_none)
{
	struct unstick_scope scope, fired;
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_scope_begin(&scope, token, UNSTICK_NEVER), 0);
	assert_right_in_child(scope_of_parent_is_nothing, &scope);
	unstick_token_cancel(token);
	assert_right_in_child(scope_of_parent_is_nothing, &scope);
	cr_assert_eq(unstick_scope_begin(&fired, NULL, 0), 0);
	cr_assert_eq(unstick_check(), -ECANCELED);
	assert_right_in_child(scope_of_parent_is_nothing, &fired);
	cr_assert_eq(unstick_scope_end(&fired), -ECANCELED, "and the parent still has them");
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED);
}

static long read_in_scope(void *deadline)
{
	struct unstick_scope scope;
	char byte;
	unstick_scope_start(&scope, NULL, *(unstick_time *)deadline);
	ssize_t n = read(fds[0], &byte, 1); /* foreign */
	long result = n < 0 ? -errno : n;
	int error = unstick_scope_end(&scope);
	return error == result ? result : -EPROTO;
}

/* See settle_before_fork(); here the others are to be busy. */
static void skip_under_asan(void)
{
#ifdef TESTS_WITH_ASAN
	cr_skip_test("ASan's allocator does not survive a fork beside busy threads");
#endif
}

static int works_in_child(void *unused)
{
	struct unstick_scope scope;
	struct unstick_token *token = NULL;
	unstick_time soon = unstick_after_ms(5);
	(void)unused;
	if (unstick_scope_begin(&scope, NULL, soon) || own_read() != -ETIMEDOUT || unstick_now() < soon)
		return 1;
	if (unstick_scope_end(&scope) != -ETIMEDOUT)
		return 2;
	soon = unstick_after_ms(5);
	if (read_in_scope(&soon) != -ETIMEDOUT)
		return 3; /* the monitor of the child must send to the child */
	if (unstick_token_new(&token, NULL) || unstick_token_set_deadline(token, unstick_after_ms(2)))
		return 4;
	if (unstick_token_wait(token, UNSTICK_NEVER) || unstick_token_error(token) != -ETIMEDOUT)
		return 5;
	return threads_named("unstick") == 1 ? 0 : 6;
}

Test(fork, the_library_works_in_the_child_deadlines_included)
{
	struct unstick_scope scope;
	cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0);
	assert_right_in_child(works_in_child, NULL);
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

Test(fork, the_library_works_in_a_child_that_was_forked_before_its_first_use)
{
	assert_right_in_child(works_in_child, NULL);
}

Test(fork, tokens_alone_work_in_the_child_of_a_program_without_scopes)
{
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_token_set_deadline(token, unstick_after_ms(3600000)), 0);
	assert_right_in_child(works_in_child, NULL);
}

static int grandchild_works(void *arg)
{
	if (works_in_child(arg))
		return 10;
	int status = 0;
	settle_before_fork();
	pid_t pid = fork();
	if (pid == 0)
		_exit(works_in_child(arg));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 11;
}

Test(fork, the_library_works_in_the_childs_child)
{
	assert_right_in_child(grandchild_works, NULL);
}

/* ---- tokens */

static int deadline_of_parent_fires(void *token)
{
	struct unstick_scope scope;
	if (unstick_scope_begin(&scope, token, UNSTICK_NEVER))
		return 1;
	return own_read() == -ETIMEDOUT && unstick_scope_end(&scope) == -ETIMEDOUT ? 0 : 2;
}

Test(fork, a_tokens_deadline_holds_in_the_child)
{
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_token_set_deadline(token, unstick_after_ms(50)), 0);
	assert_right_in_child(deadline_of_parent_fires, token);
}

struct forked {
	struct unstick_token *fired, *open, *below;
	int fired_fd, open_fd, below_fd;
};

static int cancels_its_own(void *arg)
{
	struct forked *forked = arg;
	if (unstick_token_error(forked->fired) != -ECANCELED || unstick_token_error(forked->open))
		return 1;
	if (unstick_token_fd(forked->open) != forked->open_fd || unstick_token_fd(forked->fired) != forked->fired_fd)
		return 2;
	if (!is_readable(forked->fired_fd) || is_readable(forked->open_fd))
		return 3;
	unstick_token_cancel(forked->open);
	if (unstick_token_error(forked->below) != -ECANCELED)
		return 4;
	return is_readable(forked->open_fd) && is_readable(forked->below_fd) ? 0 : 5;
}

Test(fork, the_child_cancels_its_own_tokens_and_not_the_parents)
{
	struct forked forked = {.fired = token_make(NULL), .open = token_make(NULL)};
	forked.below = token_make(forked.open);
	forked.fired_fd = unstick_token_fd(forked.fired);
	forked.open_fd = unstick_token_fd(forked.open);
	forked.below_fd = unstick_token_fd(forked.below);
	unstick_token_cancel(forked.fired);
	assert_right_in_child(cancels_its_own, &forked);
	cr_assert_eq(unstick_token_error(forked.open), 0);
	cr_assert(!is_readable(forked.open_fd) && !is_readable(forked.below_fd), "the child's cancel reached the parent's fd");
	cr_assert(is_readable(forked.fired_fd));
}

static _Atomic unsigned seen;

static void see(void *arg, int error)
{
	(void)arg;
	(void)error;
	atomic_fetch_add(&seen, 1);
}

static int only_new_watches_run(void *token)
{
	struct unstick_watch *watch = NULL;
	struct unstick_token *other = NULL;
	unstick_token_cancel(token);
	if (unstick_token_new(&other, NULL) || unstick_token_watch(other, &watch, see, NULL))
		return 1;
	unstick_token_cancel(other);
	while (!atomic_load(&seen)) /* until in_child()'s alarm */
		pause_between_looks();
	unstick_watch_free(watch);
	return atomic_load(&seen) == 1 ? 0 : 2;
}

Test(fork, watches_of_the_parent_are_not_called_in_the_child)
{
	struct unstick_token *token = token_make(NULL);
	struct unstick_watch *watch = NULL;
	cr_assert_eq(unstick_token_watch(token, &watch, see, NULL), 0);
	assert_right_in_child(only_new_watches_run, token);
	cr_assert_eq(seen, 0);
	unstick_token_cancel(token);
	wait_for(seen == 1);
	unstick_watch_free(watch);
}

static int frees_watch(void *watch)
{
	return unstick_watch_free(watch) ? 1 : 0;
}

Test(fork, the_child_may_free_the_parents_watches)
{
	struct unstick_token *token = token_make(NULL);
	struct unstick_watch *watch = NULL;
	cr_assert_eq(unstick_token_watch(token, &watch, see, NULL), 0);
	assert_right_in_child(frees_watch, watch);
}

/* ---- other threads */

static long hold(void *token)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	(void)!own_read();
	return unstick_scope_end(&scope);
}

struct with_thread {
	struct unstick_token *token;
	struct unstick_thread *thread;
};

static int other_threads_are_gone(void *arg)
{
	struct with_thread *with = arg;
	struct unstick_outcome outcome;
	unstick_token_cancel(with->token);
	if (unstick_token_wait(with->token, unstick_after_ms(10000)))
		return 1; /* held by a thread that does not live here */
	if (unstick_thread_interrupt(with->thread, unstick_after_ms(10000), &outcome) || outcome.kind != UNSTICK_GONE)
		return 2;
	unstick_thread_unref(with->thread);
	return works_in_child(NULL);
}

Test(fork, the_other_threads_are_gone_in_the_child_and_unharmed_in_the_parent)
{
	struct with_thread with = {.token = token_make(NULL)};
	struct worker worker;
	worker_start(&worker, hold, with.token);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(unstick_thread_find(&with.thread, worker.tid), 0);
	assert_right_in_child(other_threads_are_gone, &with);
	cr_assert(is_blocked_in(worker.tid, SYS_read));
	unstick_token_cancel(with.token);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}

static _Atomic bool stop;

/* Keeps every lock of the library busy. */
static long make_and_drop(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop)) {
		struct unstick_token *top = NULL, *bottom = NULL;
		struct unstick_scope scope;
		if (unstick_token_new(&top, NULL) || unstick_token_new(&bottom, top))
			return 1;
		unstick_scope_start(&scope, bottom, UNSTICK_NEVER);
		unstick_token_cancel(top);
		(void)!unstick_scope_end(&scope);
		unstick_token_unref(bottom);
		unstick_token_unref(top);
		unstick_thread_unref(unstick_thread_self());
	}
	return 0;
}

Test(fork, at_any_moment_of_other_threads_the_childs_locks_are_free)
{
	skip_under_asan();
	struct worker worker[2];
	for (int i = 0; i < 2; i++)
		worker_start(&worker[i], make_and_drop, NULL);
	for (int i = 0; i < 20; i++)
		assert_right_in_child(works_in_child, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(worker_join(&worker[i]), 0);
}

/* ---- children by other ways: a vfork and an exec inside libc */

Test(fork, system_runs_its_program_in_a_scope_that_has_not_fired)
{
	struct unstick_scope scope;
	cr_assert_eq(unstick_scope_begin(&scope, token_make(NULL), unstick_after_ms(3600000)), 0);
	cr_assert_eq(WEXITSTATUS(system("exit 7")), 7);
	cr_assert_eq(unstick_scope_end(&scope), 0);
}
