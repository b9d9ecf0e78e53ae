/* SPDX-License-Identifier: MIT
 *
 * Scopes: what cuts a call short, what scope_end tells, nesting, limits and misuse, foreign calls. Own calls one by one: test_call.c.
 */
#include "helpers.h"
#include <poll.h>
#include <sched.h>
#include <time.h>

static int fds[2];

static void setup(void)
{
	pipe_empty(fds);
}

TestSuite(scope, .init = setup);

static long own_read(void)
{
	char byte;
	return unstick_read(fds[0], &byte, 1);
}

static void begin(struct unstick_scope *scope, struct unstick_token *token, unstick_time deadline)
{
	cr_assert_eq(unstick_scope_begin(scope, token, deadline), 0);
}

/* ---- alone */

Test(scope, without_token_and_deadline_changes_nothing)
{
	struct unstick_scope scope;
	begin(&scope, NULL, UNSTICK_NEVER);
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1);
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

Test(scope, begins_although_it_has_fired_and_cuts_from_the_first_call_on)
{
	struct unstick_scope scope;
	struct unstick_token *token = token_make(token_make(NULL)), *top = token_make(NULL), *below = token_make(token_make(top));
	begin(&scope, NULL, 0);
	cr_assert_eq(own_read(), -ETIMEDOUT);
	cr_assert_eq(own_read(), -ETIMEDOUT, "and for ever");
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	unstick_token_cancel(token);
	begin(&scope, token, UNSTICK_NEVER);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED);
	unstick_token_cancel(top);
	begin(&scope, below, UNSTICK_NEVER);
	cr_assert_eq(unstick_check(), -ECANCELED, "fired by the parent of its parent");
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED);
}

Test(scope, end_tells_of_calls_cut_short_not_of_a_fired_token)
{
	struct unstick_scope scope;
	struct unstick_token *token = token_make(NULL);
	begin(&scope, token, UNSTICK_NEVER);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_scope_end(&scope), 0, "nothing in it was cut short");
	begin(&scope, token, UNSTICK_NEVER);
	cr_assert_eq(unstick_check(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED, "a check counts");
}

Test(scope, check_sees_a_deadline_pass)
{
	struct unstick_scope scope;
	unstick_time deadline = unstick_after_ms(3);
	begin(&scope, NULL, deadline);
	wait_for(unstick_check());
	cr_assert_geq(unstick_now(), deadline);
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
	cr_assert_eq(unstick_check(), 0);
}

Test(scope, a_second_one_has_nothing_of_the_first)
{
	struct unstick_scope scope;
	struct unstick_token *token = token_make(NULL);
	begin(&scope, token, UNSTICK_NEVER);
	unstick_token_cancel(token);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&scope), -ECANCELED);
	begin(&scope, NULL, UNSTICK_NEVER);
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1);
	cr_assert_eq(unstick_scope_end(&scope), 0);
}

Test(scope, the_block_form_ends_it_and_its_error_can_be_asked_before)
{
	int error;
	{
		UNSTICK_SCOPE(scope, NULL, 0);
		cr_assert_eq(unstick_check(), -ETIMEDOUT);
		error = unstick_scope_end(&scope);
	}
	cr_assert_eq(error, -ETIMEDOUT);
	{
		UNSTICK_SCOPE(scope, NULL, 0);
	}
	cr_assert_eq(unstick_check(), 0, "the block's end did not end it");
}

/* ---- nested */

Test(scope, the_earliest_deadline_wins_outer_or_inner)
{
	struct unstick_scope outer, inner;
	begin(&outer, NULL, 0);
	begin(&inner, NULL, UNSTICK_NEVER);
	cr_assert_eq(own_read(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&inner), -ETIMEDOUT, "a call in it was cut short, by the one around it");
	cr_assert_eq(unstick_scope_end(&outer), -ETIMEDOUT);
	begin(&outer, NULL, UNSTICK_NEVER);
	begin(&inner, NULL, 0);
	cr_assert_eq(own_read(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&inner), -ETIMEDOUT);
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1, "the outer one has not fired");
	cr_assert_eq(unstick_scope_end(&outer), 0);
}

Test(scope, an_outer_token_that_fires_in_the_inner_scope_cuts_both)
{
	struct unstick_scope outer, inner;
	struct unstick_token *token = token_make(NULL);
	begin(&outer, token, UNSTICK_NEVER);
	begin(&inner, NULL, unstick_after_ms(3600000));
	unstick_token_cancel(token);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&inner), -ECANCELED);
	cr_assert_eq(own_read(), -ECANCELED, "it goes on after the inner one");
	cr_assert_eq(unstick_scope_end(&outer), -ECANCELED);
}

Test(scope, an_outer_token_that_fired_in_the_inner_scope_is_seen_after_its_end)
{
	struct unstick_scope outer, inner;
	struct unstick_token *token = token_make(NULL);
	begin(&outer, token, UNSTICK_NEVER);
	begin(&inner, NULL, UNSTICK_NEVER);
	unstick_token_cancel(token);
	cr_assert_eq(unstick_scope_end(&inner), 0);
	cr_assert_eq(own_read(), -ECANCELED);
	cr_assert_eq(unstick_scope_end(&outer), -ECANCELED);
}

Test(scope, ending_the_outer_one_ends_those_inside)
{
	struct unstick_scope outer, middle, inner;
	begin(&outer, NULL, UNSTICK_NEVER);
	begin(&middle, NULL, 0);
	begin(&inner, NULL, 0);
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&outer), 0, "nothing of its own was cut short");
	cr_assert_eq(unstick_check(), 0);
	cr_assert_eq(unstick_scope_end(&inner), -ETIMEDOUT, "it has ended, and tells what became of it");
	cr_assert_eq(unstick_scope_end(&middle), -ETIMEDOUT);
}

/* ---- limits and misuse */

Test(scope, sixteen_can_be_open_and_one_more_is_inert)
{
	struct unstick_scope scope[17];
	for (int i = 0; i < 16; i++)
		begin(&scope[i], NULL, UNSTICK_NEVER);
	cr_assert_eq(unstick_scope_begin(&scope[16], NULL, 0), -EOVERFLOW);
	cr_assert_eq(unstick_check(), 0, "inert: calls in it just run");
	write_byte(fds[1]);
	cr_assert_eq(own_read(), 1);
	cr_assert_eq(unstick_scope_end(&scope[16]), -EOVERFLOW);
	cr_assert_eq(unstick_scope_end(&scope[16]), -EOVERFLOW, "the same once more");
	for (int i = 15; i >= 0; i--)
		cr_assert_eq(unstick_scope_end(&scope[i]), 0);
	begin(&scope[0], NULL, 0);
	cr_assert_eq(unstick_scope_end(&scope[0]), 0);
}

Test(scope, the_outer_ones_are_in_force_after_an_inert_one)
{
	struct unstick_scope scope[16], inert;
	struct unstick_token *token = token_make(NULL);
	begin(&scope[0], token, UNSTICK_NEVER);
	for (int i = 1; i < 16; i++)
		begin(&scope[i], NULL, UNSTICK_NEVER);
	cr_assert_eq(unstick_scope_begin(&inert, NULL, UNSTICK_NEVER), -EOVERFLOW);
	unstick_token_cancel(token);
	cr_assert_eq(own_read(), -ECANCELED);
}

Test(scope, end_of_what_was_never_begun_is_misuse_and_ended_twice_it_tells_the_same)
{
	struct unstick_scope never, twice, copy;
	memset(&never, 0, sizeof never);
	cr_assert_eq(unstick_scope_end(&never), -EINVAL);
	cr_assert_eq(unstick_scope_end(NULL), -EINVAL);
	cr_assert_eq(unstick_scope_begin(NULL, NULL, 0), -EINVAL);
	begin(&twice, NULL, 0);
	copy = twice;
	cr_assert_eq(unstick_scope_end(&copy), -EINVAL, "a copy is not the scope");
	cr_assert_eq(unstick_check(), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&twice), -ETIMEDOUT);
	cr_assert_eq(unstick_scope_end(&twice), -ETIMEDOUT);
	cr_assert_eq(unstick_check(), 0);
}

static long end_from_here(void *scope)
{
	return unstick_scope_end(scope);
}

Test(scope, another_thread_cannot_end_it)
{
	struct unstick_scope scope;
	struct worker other;
	begin(&scope, NULL, 0);
	worker_start(&other, end_from_here, &scope);
	cr_assert_eq(worker_join(&other), -EPERM);
	cr_assert_eq(unstick_check(), -ETIMEDOUT, "it is open still");
	cr_assert_eq(unstick_scope_end(&scope), -ETIMEDOUT);
}

Test(scope, allow_refuses_what_must_never_get_an_errno)
{
	static const long never[] = {SYS_futex, SYS_close, SYS_fsync, SYS_execve, SYS_exit, SYS_mmap, SYS_rt_sigreturn, -1};
	struct unstick_scope scope;
	cr_assert_eq((memset(&scope, 0, sizeof scope), unstick_scope_allow(&scope, SYS_ioctl)), -EINVAL);
	begin(&scope, NULL, UNSTICK_NEVER);
	for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
		cr_assert_eq(unstick_scope_allow(&scope, never[i]), -EPERM, "call %ld", never[i]);
	static const long four[] = {SYS_ioctl, SYS_pause, SYS_ioctl, SYS_epoll_wait, SYS_wait4};
	for (size_t i = 0; i < sizeof four / sizeof four[0]; i++)
		cr_assert_eq(unstick_scope_allow(&scope, four[i]), 0, "call %ld", four[i]);
	cr_assert_eq(unstick_scope_allow(&scope, SYS_getrandom), -ENOSPC);
	cr_assert_eq(unstick_scope_allow(&scope, SYS_pause), 0, "it is allowed already");
	cr_assert_eq(unstick_scope_end(&scope), 0);
	cr_assert_eq(unstick_scope_allow(&scope, SYS_ioctl), -EINVAL);
}

/* ---- foreign calls: each returns -errno as libc code saw it, then the worker ends its scope */

struct foreign {
	struct unstick_token *token;
	unstick_time deadline;
	long allow; /* 0: none */
	long (*call)(void);
	int end;
};

static long run_foreign(void *arg)
{
	struct foreign *foreign = arg;
	struct unstick_scope scope;
	unstick_scope_start(&scope, foreign->token, foreign->deadline);
	int refused = foreign->allow ? unstick_scope_allow(&scope, foreign->allow) : 0;
	long result = refused ? refused : foreign->call();
	foreign->end = unstick_scope_end(&scope);
	return result;
}

static long libc_read(void)
{
	char byte;
	ssize_t n = read(fds[0], &byte, 1);
	return n < 0 ? -errno : n;
}

/* As every client library does it: only another error than EINTR ends it. */
static long retrying_read(void)
{
	long n;
	while ((n = libc_read()) == -EINTR)
		;
	return n;
}

static long libc_sleep(void)
{
	const struct timespec hour = {.tv_sec = 3600};
	return nanosleep(&hour, NULL) ? -errno : 0;
}

static long libc_poll(void)
{
	struct pollfd one = {.fd = fds[0], .events = POLLIN};
	int n = poll(&one, 1, -1);
	return n < 0 ? -errno : n;
}

static long libc_pause(void)
{
	return pause() ? -errno : 0;
}

static const struct {
	const char *name;
	long (*call)(void);
	long nr;
} foreign_calls[] = {
        {"read", libc_read, SYS_read},
        {"read, made again on EINTR", retrying_read, SYS_read},
        {"nanosleep", libc_sleep, SYS_clock_nanosleep},
        {"poll", libc_poll, SYS_poll},
};

Test(scope, foreign_calls_come_out_when_it_is_cancelled)
{
	for (size_t i = 0; i < sizeof foreign_calls / sizeof foreign_calls[0]; i++) {
		struct foreign foreign = {.token = token_make(NULL), .deadline = UNSTICK_NEVER, .call = foreign_calls[i].call};
		struct worker worker;
		worker_start(&worker, run_foreign, &foreign);
		worker_wait_blocked(&worker, foreign_calls[i].nr);
		unstick_token_cancel(foreign.token);
		cr_assert_eq(worker_join(&worker), -ECANCELED, "%s: %ld", foreign_calls[i].name, worker.result);
		cr_assert_eq(foreign.end, -ECANCELED);
	}
}

Test(scope, foreign_calls_come_out_at_its_deadline_and_not_before)
{
	for (size_t i = 0; i < sizeof foreign_calls / sizeof foreign_calls[0]; i++) {
		struct foreign foreign = {.deadline = unstick_after_ms(10), .call = foreign_calls[i].call};
		struct worker worker;
		worker_start(&worker, run_foreign, &foreign);
		cr_assert_eq(worker_join(&worker), -ETIMEDOUT, "%s: %ld", foreign_calls[i].name, worker.result);
		cr_assert_geq(unstick_now(), foreign.deadline);
		cr_assert_eq(foreign.end, -ETIMEDOUT);
	}
}

/* pause() fails with EINTR by contract: only a scope that allows it gives it another error. */
Test(scope, a_wait_that_knows_only_eintr_gets_another_error_only_if_allowed)
{
	static const long allow[] = {0, SYS_pause}, expected[] = {-EINTR, -ECANCELED};
	for (int i = 0; i < 2; i++) {
		struct foreign foreign = {
		        .token = token_make(NULL), .deadline = UNSTICK_NEVER, .call = libc_pause, .allow = allow[i]};
		struct worker worker;
		worker_start(&worker, run_foreign, &foreign);
		worker_wait_blocked(&worker, SYS_pause);
		unstick_token_cancel(foreign.token);
		cr_assert_eq(worker_join(&worker), expected[i]);
		cr_assert_eq(foreign.end, -ECANCELED, "it was cut short, whatever it saw");
	}
}

/* ---- promises */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static long lock_mutex(void)
{
	int error = pthread_mutex_lock(&mutex);
	if (!error)
		pthread_mutex_unlock(&mutex);
	return error ? error : unstick_check();
}

static int outcome_kind(pid_t tid)
{
	struct unstick_thread *thread = NULL;
	struct unstick_outcome outcome;
	cr_assert_eq(unstick_thread_find(&thread, tid), 0);
	cr_assert_eq(unstick_thread_outcome(thread, &outcome), 0);
	unstick_thread_unref(thread);
	return outcome.kind;
}

Test(scope, promise_4_no_harm_a_thread_in_a_lock_is_left_alone_and_reported)
{
	struct foreign foreign = {.token = token_make(NULL), .deadline = UNSTICK_NEVER, .call = lock_mutex};
	struct worker worker;
	struct unstick_thread *thread = NULL;
	struct unstick_outcome outcome;
	pthread_mutex_lock(&mutex);
	worker_start(&worker, run_foreign, &foreign);
	worker_wait_blocked(&worker, SYS_futex);
	cr_assert_eq(unstick_thread_find(&thread, worker.tid), 0);
	unstick_token_cancel(foreign.token);
	wait_for(outcome_kind(worker.tid) == UNSTICK_LOCK);
	cr_assert_eq(unstick_thread_outcome(thread, &outcome), 0);
	cr_assert(outcome.signals == 0 && outcome.nr == SYS_futex && outcome.error == 0 && outcome.tid == worker.tid);
	cr_assert(is_blocked_in(worker.tid, SYS_futex));
	pthread_mutex_unlock(&mutex);
	cr_assert_eq(worker_join(&worker), -ECANCELED, "the lock was got, the check after it sees the cancel");
	cr_assert_eq(foreign.end, -ECANCELED);
}

/* The end races with the cancel. What follows it is a libc call that sleeps a moment: a signal or errno that came late would hit it. */
static struct unstick_token *_Atomic offered; /* a reference for whoever takes it */

static long end_and_go_on(void *arg)
{
	const struct timespec moment = {.tv_nsec = 20000};
	long harmed = 0;
	(void)arg;
	for (int i = 0; i < 3000; i++) {
		struct unstick_scope scope;
		struct unstick_token *token = atomic_exchange(&offered, NULL);
		unstick_scope_start(&scope, token, UNSTICK_NEVER);
		nanosleep(&moment, NULL);
		(void)!unstick_scope_end(&scope);
		harmed += nanosleep(&moment, NULL) != 0;
		unstick_token_unref(token);
	}
	return harmed;
}

Test(scope, promise_3_no_collateral_calls_after_the_end_are_not_hit)
{
	struct worker worker;
	long cancels = 0;
	worker_start(&worker, end_and_go_on, NULL);
	while (!atomic_load(&worker.over)) {
		struct unstick_token *token = token_make(NULL);
		atomic_store(&offered, unstick_token_ref(token));
		while (atomic_load(&offered) && !atomic_load(&worker.over))
			sched_yield();
		for (long spin = cancels % 2000; spin > 0; spin--) /* meets the scope at its begin, in the call, at its end */
			atomic_signal_fence(memory_order_seq_cst);
		cancels += 37;
		unstick_token_cancel(token);
		unstick_token_unref(token);
	}
	cr_assert_eq(worker_join(&worker), 0, "%ld calls after an end were hit", worker.result);
	cr_assert_gt(cancels, 37 * 100, "hardly anything raced");
}

/* ---- outcomes */

Test(scope, its_outcome_says_what_became_of_the_call)
{
	struct foreign foreign = {.token = token_make(NULL), .deadline = UNSTICK_NEVER, .call = libc_read};
	struct worker worker;
	struct unstick_thread *thread = NULL;
	struct unstick_outcome outcome;
	worker_start(&worker, run_foreign, &foreign);
	worker_wait_blocked(&worker, SYS_read);
	cr_assert_eq(unstick_thread_find(&thread, worker.tid), 0);
	cr_assert_eq(unstick_thread_outcome(thread, &outcome), 0);
	cr_assert_eq(outcome.kind, UNSTICK_NONE);
	unstick_token_cancel(foreign.token);
	worker_join(&worker);
	cr_assert_eq(unstick_thread_outcome(thread, &outcome), 0);
	cr_assert_eq(outcome.kind, UNSTICK_WOKEN);
	cr_assert_eq(outcome.error, -ECANCELED);
	cr_assert(outcome.nr == SYS_read && outcome.fd == fds[0] && outcome.tid == worker.tid);
	cr_assert_geq(outcome.signals, 1);
	cr_assert_geq(outcome.ns, 0);
	unstick_thread_unref(thread);
}
