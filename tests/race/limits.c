/* SPDX-License-Identifier: MIT
 *
 * Where the poker must know its limits, and where it must not give up:
 *   a wait for a child that is made again and again is given its error at most three times in a scope (bash's `wait` would spin)
 *   a D state is a state, not a verdict: the call after it is freed
 *   a lock is left alone for as long as it lasts, and the call after it is freed
 *   a handler on top of the canceller: on the lock holder, on the library itself
 */
#include <fcntl.h>
#include <string.h>

#include "case.h"

static struct unstick_outcome outcome_of(pid_t tid)
{
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	require(unstick_thread_find(&thread, tid) == 0, "find");
	require(unstick_thread_outcome(thread, &outcome) == 0, "outcome");
	unstick_thread_unref(thread);
	return outcome;
}

/* ---- a wait for a child, made again */

static _Atomic int errors_given;

static void *wait_like_bash(void *argument)
{
	pid_t child = *(pid_t *)argument, got;
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	do {
		got = waitpid(child, NULL, 0);
		if (got < 0 && errno == ECANCELED)
			atomic_fetch_add(&errors_given, 1);
	} while (got < 0 && (errno == EINTR || errno == ECANCELED));
	require(got == child, "the child was waited for in the end");
	require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	return NULL;
}

static void child_wait_is_not_spun(void)
{
	pid_t child = fork_child();
	if (child == 0) {
		for (;;)
			pause();
	}
	pthread_t thread = start(wait_like_bash, &child);
	wait_for(atomic_load(&worker_tid), 'S', SYS_wait4);
	unstick_token_cancel(token);
	struct unstick_outcome outcome;
	do {
		poll(NULL, 0, 1);
		outcome = outcome_of(atomic_load(&worker_tid));
	} while (outcome.kind != UNSTICK_LOOPING && atomic_load(&errors_given) <= 3);
	for (int i = 0; i < 4; i++) { /* four more looks of the monitor's, which are at most 100 ms apart */
		poll(NULL, 0, 110);
		require(atomic_load(&errors_given) == 3, "three errors, and no more");
	}
	require(outcome.child == child, "the outcome names the child");
	kill(child, SIGKILL);
	pthread_join(thread, NULL);
}

/* ---- D, then a call */

static int spawn_gate[2];

/* The parent of a vfork() is in D until the child has its own program. */
static void *vfork_then_read(void *unused)
{
	struct unstick_scope scope;
	char c;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	pid_t child = vfork();
	if (child == 0) {
		syscall(SYS_read, spawn_gate[0], &c, 1);
		_exit(0);
	}
	waitpid(child, NULL, WNOHANG);
	ssize_t n;
	do {
		n = read(silent[0], &c, 1);
	} while (n < 0 && errno == EINTR);
	require(n == -1 && errno == ECANCELED, "the read after the D state was freed");
	require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	return unused;
}

static void d_state_is_not_final(void)
{
	require(pipe(spawn_gate) == 0, "pipe");
	pthread_t thread = start(vfork_then_read, NULL);
	wait_for(atomic_load(&worker_tid), 'D', -1);
	unstick_token_cancel(token);
	struct unstick_outcome outcome;
	do { /* at least one second look has found it so */
		poll(NULL, 0, 1);
		outcome = outcome_of(atomic_load(&worker_tid));
	} while (outcome.state != 'D');
	require(outcome.signals == 0, "no signal in D");
	poll(NULL, 0, 20);
	require(write(spawn_gate[1], "g", 1) == 1, "open the gate");
	pthread_join(thread, NULL);
}

/* ---- a lock, then a call */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *lock_then_read(void *unused)
{
	struct unstick_scope scope;
	char c;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	require(pthread_mutex_lock(&mutex) == 0, "lock");
	require(atomic_load(&errors_given) == 1, "the lock was got when it was given up, not before");
	pthread_mutex_unlock(&mutex);
	require(read(silent[0], &c, 1) == -1 && (errno == ECANCELED || errno == EINTR), "the read after the lock was freed");
	require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	return unused;
}

static void lock_is_left_alone(void)
{
	pthread_mutex_lock(&mutex);
	pthread_t thread = start(lock_then_read, NULL);
	wait_for(atomic_load(&worker_tid), 'S', SYS_futex);
	unstick_token_cancel(token);
	struct unstick_outcome outcome;
	do {
		poll(NULL, 0, 1);
		outcome = outcome_of(atomic_load(&worker_tid));
	} while (outcome.kind != UNSTICK_LOCK);
	require(outcome.signals == 0, "no signal into a lock");
	atomic_store(&errors_given, 1);
	pthread_mutex_unlock(&mutex);
	pthread_join(thread, NULL);
}

/* ---- cancels from handlers */

static void cancel_in_handler(int signal)
{
	int saved = errno;
	(void)signal;
	unstick_token_cancel(token);
	errno = saved;
}

static void install(int flags)
{
	struct sigaction action = {.sa_handler = cancel_in_handler, .sa_flags = flags};
	require(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
}

static void *own_read(void *unused)
{
	struct unstick_scope scope;
	char c;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	require(unstick_read(silent[0], &c, 1) == -ECANCELED, "the read was cut");
	require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	return unused;
}

static void *foreign_read(void *unused)
{
	struct unstick_scope scope;
	char c;
	ssize_t n;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	do {
		n = read(silent[0], &c, 1);
	} while (n < 0 && errno == EINTR);
	require(n == -1 && errno == ECANCELED, "the read was cut");
	require(unstick_scope_end(&scope) == -ECANCELED, "the scope was cut");
	return unused;
}

static void cancel_on_blocked(void *(*call)(void *), int flags)
{
	install(flags);
	pthread_t thread = start(call, NULL);
	wait_for(atomic_load(&worker_tid), 'S', SYS_read);
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
}

static void handler_on_own_call(void)
{
	cancel_on_blocked(own_read, SA_RESTART);
}

static void handler_on_foreign_call(void)
{
	cancel_on_blocked(foreign_read, SA_RESTART);
}

/* The main thread makes and drops tokens, begins and ends scopes, shields and cancels, all the time; a handler on top of it cancels. */
static void handler_on_library(void)
{
	for (int round = 0; round < 300; round++) {
		pthread_t thread;
		install(SA_RESTART);
		require(round == 0 || unstick_token_new(&token, NULL) == 0, "token");
		thread = start(own_read, NULL);
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		timer_t timer;
		struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
		struct itimerspec soon = {.it_value.tv_nsec = 20000 + 997 * round};
		require(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0, "timer");
		while (!unstick_token_error(token)) {
			struct unstick_token *mine, *below = NULL;
			struct unstick_scope outer, inner;
			require(unstick_token_new(&mine, NULL) == 0, "token");
			require(unstick_token_new(&below, mine) == 0, "token below");
			unstick_scope_start(&outer, below, UNSTICK_NEVER);
			unstick_scope_start(&inner, NULL, unstick_after_ms(1000));
			unstick_shield_begin();
			unstick_shield_end();
			int error = unstick_scope_end(&inner);
			unstick_token_cancel(mine);
			require(error == 0 && unstick_check() == -ECANCELED && unstick_scope_end(&outer) == -ECANCELED, "scopes");
			unstick_token_unref(below);
			unstick_token_unref(mine);
		}
		pthread_join(thread, NULL);
		timer_delete(timer);
		unstick_token_unref(token);
	}
}

/* ---- running them */

static const struct test_case cases[] = {
        {"a wait for a child is given its error three times, then left, and the child is named", child_wait_is_not_spun,
         CASE_IN_PLACE},
        {"D is not final: the call after it is freed", d_state_is_not_final, CASE_IN_PLACE},
        {"a lock is left alone, the call after it is freed", lock_is_left_alone, NULL},
        {"a handler (SA_RESTART) that lies on the own call cancels it", handler_on_own_call, CASE_IN_PLACE},
        {"a handler (SA_RESTART) that lies on the foreign call cancels it", handler_on_foreign_call, CASE_IN_PLACE},
        {"a handler that lies on the library, lock holder and all, cancels", handler_on_library, CASE_IN_PLACE},
};

int main(int argc, char **argv)
{
	return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
