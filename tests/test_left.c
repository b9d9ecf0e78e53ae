/* SPDX-License-Identifier: MIT
 *
 * Scopes left without an end: by return, longjmp(), siglongjmp() out of a handler that lies on an own call, pthread_exit(), fork().
 * Whatever was left, the next scope is right, and what runs now is not hit by the one that is gone.
 * The frames that are left are deep ones: a struct that lies above the stack pointer still, unspoilt, cannot be told from a living one.
 */
#include "helpers.h"
#include <setjmp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "wake/thread.h"

enum { DEEP = 4096 };

static int fds[2], sv[2];

static void setup(void)
{
	pipe_empty(fds);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
}

TestSuite(left, .init = setup);

static void *(*volatile fill)(void *, int, size_t) = memset; /* the compiler must not see that nobody reads it */

/* Runs fn in a frame far below. */
static __attribute__((noinline)) void far_below(void (*fn)(void *), void *arg)
{
	char room[DEEP];
	fill(room, 0, sizeof room);
	fn(arg);
	fill(room, 1, 1);
}

static void begin_and_return(void *token)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, token ? UNSTICK_NEVER : 0);
}

static long own_read(void)
{
	char byte;
	return unstick_read(fds[0], &byte, 1);
}

/* A scope that works: fired by its own token only. */
static void assert_next_scope_is_right(void)
{
	struct unstick_scope scope;
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_scope_begin(&scope, token, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_check(), 0, "cut short by a scope that is gone");
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1, "cut short by a scope that is gone");
	unstick_token_cancel(token);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED);
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(thread_current->depth, 0, "the scope that was left is open still");
}

/* ---- return and longjmp */

Test(left, by_return_the_next_scope_is_right)
{
	far_below(begin_and_return, NULL);
	assert_next_scope_is_right();
}

Test(left, by_return_checks_and_own_calls_are_not_cut_short)
{
	struct unstick_token *token = token_make(NULL);
	far_below(begin_and_return, token);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_check(), 0);
	far_below(begin_and_return, NULL);
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1);
}

Test(left, many_times_the_slots_do_not_run_out)
{
	for (int i = 0; i < 100; i++)
		far_below(begin_and_return, NULL);
	assert_next_scope_is_right();
}

static jmp_buf back;

static void begin_and_jump(void *with_shield)
{
	struct unstick_scope outer, inner;
	unstick_scope_start(&outer, NULL, UNSTICK_NEVER);
	unstick_scope_start(&inner, NULL, 0);
	if (with_shield)
		unstick_shield_begin();
	longjmp(back, 1);
}

Test(left, by_longjmp_two_and_a_shield_the_next_scope_is_right)
{
	if (setjmp(back) == 0)
		far_below(begin_and_jump, "with a shield");
	assert_next_scope_is_right();
}

Test(left, inside_another_the_outer_one_stays)
{
	struct unstick_scope outer;
	struct unstick_token *token = token_make(NULL);
	cr_assert_eq(unstick_scope_begin(&outer, token, UNSTICK_NEVER), 0);
	if (setjmp(back) == 0)
		far_below(begin_and_jump, NULL);
	cr_assert_eq(unstick_check(), 0, "the inner one's deadline had passed");
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1);
	unstick_token_cancel(token);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&outer), -ECANCELED);
}

/* What was left is dropped by the next begin: until then a shield that was left with its scope holds still. */
Test(left, inside_another_with_a_shield_the_outer_one_is_back_at_the_next_begin)
{
	struct unstick_scope outer, next;
	cr_assert_eq(unstick_scope_begin(&outer, NULL, 0), 0);
	if (setjmp(back) == 0)
		far_below(begin_and_jump, "with a shield");
	cr_assert_eq(unstick_scope_begin(&next, NULL, UNSTICK_NEVER), 0);
	cr_assert_eq(own_read(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&next), -ETIMEDOUT);
	cr_assert_eq(own_read(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&outer), -ETIMEDOUT);
}

Test(left, begun_again_at_the_same_place_it_is_the_new_one)
{
	struct unstick_scope scope;
	cr_assert_eq(unstick_scope_begin(&scope, NULL, 0), 0);
	cr_assert_eq(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER), 0); /* a loop body left by continue */
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(unstick_scope_end(&scope), 0);
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(thread_current->depth, 0);
}

/* ---- a frame that is gone and does not look so at first: its struct lies above the stack pointer */

/* The next frame of the same depth has its scope where the one that was left had it, but not quite. */
Test(left, partly_covered_by_the_next_one_it_is_gone, .timeout = 20)
{
	_Alignas(64) char frame[3 * sizeof(struct unstick_scope)];
	for (int shift = -112; shift <= 112; shift += 16) {
		struct unstick_scope *left = (struct unstick_scope *)(void *)(frame + 128);
		struct unstick_scope *next = (struct unstick_scope *)(void *)(frame + 128 + shift);
		cr_assert_eq(unstick_scope_begin(left, NULL, 0), 0);
		cr_assert_eq(unstick_scope_begin(next, NULL, UNSTICK_NEVER), 0);
		cr_assert_eq(unstick_check(), 0, "cut short by a scope that is gone, %d bytes away", shift);
		write_byte(fds[1]);
		cr_assert_eq(own_read(), 1);
		cr_assert_eq(unstick_scope_end(next), 0);
		assert_next_scope_is_right();
	}
}

/* It lies under a living one when its memory is used for something else. */
Test(left, overwritten_under_a_living_one_it_is_gone, .timeout = 20)
{
	struct unstick_scope left, next;
	cr_assert_eq(unstick_scope_begin(&left, NULL, 0), 0);
	cr_assert_eq(unstick_scope_begin(&next, NULL, UNSTICK_NEVER), 0);
	fill(&left, 0x55, sizeof left);
	cr_assert_eq(unstick_check(), 0);
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1, "a hang here is a call that is made again and again");
	cr_assert_eq(unstick_scope_end(&next), 0);
	assert_next_scope_is_right();
}

static long leave_then_read(void *token)
{
	char byte;
	far_below(begin_and_return, token);
	ssize_t n = read(fds[0], &byte, 1); /* foreign */
	return n < 0 ? -errno : n;
}

/* One plain EINTR is allowed: nobody knows that the frame is gone before the handler looks. Never a forced errno. */
Test(left, a_foreign_call_after_it_is_not_given_its_error)
{
	struct unstick_token *token = token_make(NULL);
	struct worker worker;
	worker_start(&worker, leave_then_read, token);
	worker_wait_blocked(&worker, SYS_read);
	unstick_token_cancel(token);
	unstick_token_unref(token);
	if (!atomic_load(&worker.over))
		write_byte(fds[1]);
	long result = worker_join(&worker);
	cr_assert(result == 1 || result == -EINTR, "%ld", result);
}

/* ---- heap and static scopes: nobody can tell that they were left; only end ends them */

Test(left, on_the_heap_it_is_open_until_it_is_ended)
{
	struct unstick_scope *scope = malloc(sizeof *scope), inner;
	cr_assert_eq(unstick_scope_begin(scope, NULL, 0), 0);
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_begin(&inner, NULL, UNSTICK_NEVER), 0);
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&inner), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(scope), -ETIMEDOUT);
	cr_assert_eq(unstick_check(), 0);
	free(scope);
}

Test(left, inside_a_heap_scope_a_stack_scope_is_dropped_all_the_same)
{
	struct unstick_scope *scope = malloc(sizeof *scope);
	cr_assert_eq(unstick_scope_begin(scope, NULL, UNSTICK_NEVER), 0);
	far_below(begin_and_return, NULL);
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(unstick_scope_end(scope), 0);
	assert_next_scope_is_right();
	free(scope);
}

/* ---- a thread that ends, a process that forks */

static void begin_and_exit(void *token)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	pthread_exit(NULL);
}

static void *exit_below(void *token)
{
	far_below(begin_and_exit, token);
	return NULL;
}

Test(left, by_pthread_exit_nothing_holds_the_token)
{
	struct unstick_token *token = token_make(NULL);
	pthread_t thread;
	cr_assert_eq(pthread_create(&thread, NULL, exit_below, token), 0);
	pthread_join(thread, NULL);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_token_wait(token, unstick_after_ms(10000)), 0);
	assert_next_scope_is_right();
}

static int next_scope_in_child(void *arg)
{
	struct unstick_scope scope;
	(void)arg;
	if (unstick_check() || unstick_scope_begin(&scope, NULL, UNSTICK_NEVER))
		return 1;
	if (unstick_check() || thread_current->depth != 1)
		return 2;
	return unstick_scope_end(&scope) ? 3 : 0;
}

Test(left, by_fork_the_childs_next_scope_is_right)
{
	struct unstick_scope scope;
	cr_assert_eq(unstick_scope_begin(&scope, token_make(NULL), unstick_after_ms(3600000)), 0);
	assert_right_in_child(next_scope_in_child, NULL);
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

/* ---- siglongjmp() out of a handler that lies on an own call: the timeout of old */

static sigjmp_buf out;

static void jump_out(int signal)
{
	(void)signal;
	siglongjmp(out, 1);
}

static void handle_by_jump(int signal)
{
	struct sigaction action = {.sa_handler = jump_out};
	cr_assert_eq(sigaction(signal, &action, NULL), 0);
}

static long receive_retrying(void)
{
	char byte;
	ssize_t n;
	while ((n = recv(sv[0], &byte, 1, 0)) < 0 && errno == EINTR)
		;
	return n < 0 ? -errno : n;
}

static void read_in_a_scope(void *token)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	(void)!own_read();
}

struct two_tokens {
	struct unstick_token *first, *second;
	int end;
};

static long jump_out_of_scope_then_receive(void *arg)
{
	struct two_tokens *tokens = arg;
	struct unstick_scope scope;
	if (sigsetjmp(out, 1) == 0)
		far_below(read_in_a_scope, tokens->first);
	unstick_scope_start(&scope, tokens->second, UNSTICK_NEVER);
	long result = receive_retrying();
	tokens->end = unstick_scope_end(&scope);
	return result;
}

Test(left, by_siglongjmp_from_on_top_of_an_own_call_the_next_scope_cuts_foreign_calls)
{
	struct two_tokens tokens = {.first = token_make(NULL), .second = token_make(NULL)};
	struct worker worker;
	handle_by_jump(SIGUSR1);
	worker_start(&worker, jump_out_of_scope_then_receive, &tokens);
	worker_wait_blocked(&worker, SYS_read);
	pthread_kill(worker.thread, SIGUSR1);
	worker_wait_blocked(&worker, SYS_recvfrom);
	unstick_token_cancel(tokens.first);
	worker_wait_blocked(&worker, SYS_recvfrom);
	unstick_token_cancel(tokens.second);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
	cr_assert_eq(tokens.end, -ECANCELED);
}

static void receive_below(void *result)
{
	*(long *)result = receive_retrying();
}

/* The scope goes on; the foreign call lies deeper than the own call that was left, as a handler on top of it would. */
static long jump_out_of_call_then_receive(void *token)
{
	struct unstick_scope scope;
	long result = 0;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	if (sigsetjmp(out, 1) == 0)
		(void)!own_read();
	far_below(receive_below, &result);
	int error = unstick_scope_end(&scope);
	return error == result ? result : -EPROTO;
}

Test(left, an_own_call_left_by_siglongjmp_does_not_shadow_the_foreign_calls_after_it)
{
	struct unstick_token *token = token_make(NULL);
	struct worker worker;
	handle_by_jump(SIGUSR1);
	worker_start(&worker, jump_out_of_call_then_receive, token);
	worker_wait_blocked(&worker, SYS_read);
	pthread_kill(worker.thread, SIGUSR1);
	worker_wait_blocked(&worker, SYS_recvfrom);
	unstick_token_cancel(token);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}

static long jump_out_of_call_then_read_again(void *token)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	if (sigsetjmp(out, 1) == 0)
		(void)!own_read();
	char byte;
	long result = unstick_recv(sv[0], &byte, 1, 0);
	sigset_t mask;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	int error = unstick_scope_end(&scope);
	return error == result && !sigismember(&mask, unstick_signal()) ? result : -EPROTO;
}

Test(left, an_own_call_after_one_that_was_left_is_cut_short)
{
	struct unstick_token *token = token_make(NULL);
	struct worker worker;
	handle_by_jump(SIGUSR1);
	worker_start(&worker, jump_out_of_call_then_read_again, token);
	worker_wait_blocked(&worker, SYS_read);
	pthread_kill(worker.thread, SIGUSR1);
	worker_wait_blocked(&worker, SYS_recvfrom);
	unstick_token_cancel(token);
	cr_assert_eq(worker_join(&worker), -ECANCELED);
}
