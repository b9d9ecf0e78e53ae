/* SPDX-License-Identifier: MIT
 *
 * What a hostile reader of the library found, each kept from coming back: lost wake-ups of unstick_token_wait(), records and scopes whose
 * thread or frame is gone, forks in the middle of things, deadlines that are moved or odd.
 * About the signal itself: findings_signals.c. Those that need a step at every instruction: findings_stepped.c.
 */
#include <dirent.h>
#include <setjmp.h>
#include <string.h>
#include <sys/resource.h>

#include "case.h"

/* ---- unstick_token_wait() */

static void *wait_for_token(void *unused)
{
	atomic_store(&worker_tid, gettid());
	require(unstick_token_wait(token, UNSTICK_NEVER) == 0, "the wait succeeds");
	return unused;
}

static pthread_t start_waiter(void)
{
	pthread_t thread = start(wait_for_token, NULL);
	wait_for(atomic_load(&worker_tid), 'S', SYS_futex);
	return thread;
}

/* Nothing of the wake layer has been set up: the cancel itself must tell the waiter. */
static void wait_without_any_scope(void)
{
	pthread_t waiter = start_waiter();
	unstick_token_cancel(token);
	pthread_join(waiter, NULL);
}

static void wait_for_end_under_shield(void)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	unstick_shield_begin();
	unstick_token_cancel(token);
	pthread_t waiter = start_waiter();
	require(unstick_scope_end(&scope) == 0, "nothing was cut");
	pthread_join(waiter, NULL);
}

/* Left scopes are put deep, so that their memory is below any frame that comes later. */
__attribute__((noinline)) static void leave_scope(unsigned frames, unstick_time deadline)
{
	volatile char frame[4096];
	struct unstick_scope scope;
	frame[0] = 1;
	if (frames)
		leave_scope(frames - 1, deadline);
	else
		unstick_scope_start(&scope, token, deadline);
	frame[1] = frame[0];
}

static void wait_for_left_scope(void)
{
	struct unstick_scope next;
	leave_scope(3, UNSTICK_NEVER);
	unstick_token_cancel(token);
	pthread_t waiter = start_waiter();
	unstick_scope_start(&next, NULL, UNSTICK_NEVER);
	pthread_join(waiter, NULL);
	require(unstick_scope_end(&next) == 0, "nothing was cut");
}

/* ---- records and own calls whose thread is gone */

/* Foreign reads until one gives the scope's error. */
static int read_until_cut(void)
{
	ssize_t n;
	char c;
	do {
		n = read(silent[0], &c, 1);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

/* The same on a deeper stack, whose frames are written over: where an own call was, there may be anything now. */
__attribute__((noinline)) static int read_deeper(unsigned frames)
{
	volatile char frame[4096];
	memset((void *)(uintptr_t)frame, 1, sizeof frame);
	int result = frames ? read_deeper(frames - 1) : read_until_cut();
	frame[0] = frame[1];
	return result;
}

static void *read_in_scope(void *unused)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, NULL, unstick_after_ms(50));
	require(read_deeper(3) == -ETIMEDOUT, "the deadline cuts the read");
	require(unstick_scope_end(&scope) == -ETIMEDOUT, "the scope knows");
	return unused;
}

static void *own_read_for_ever(void *unused)
{
	struct unstick_scope scope;
	char c;
	int before;
	unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
	require(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before) == 0, "asynchronous cancellation");
	atomic_store(&worker_tid, gettid());
	require(unstick_read(silent[0], &c, 1) == 0, "this read does not return");
	return unused;
}

static pthread_t start_own_read(void)
{
	pthread_t thread = start(own_read_for_ever, NULL);
	wait_for(atomic_load(&worker_tid), 'S', SYS_read);
	return thread;
}

/* The background thread has started and sleeps: what a starting thread holds (ASan's allocator) no forked child gets back. */
static void monitor_has_started(void)
{
	char path[64], name[32];
	pid_t found = 0;
	while (!found) {
		DIR *tasks = opendir("/proc/self/task");
		for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
			snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", entry->d_name);
			FILE *file = fopen(path, "re");
			if (file && fgets(name, sizeof name, file) && !strcmp(name, "unstick\n"))
				found = (pid_t)strtol(entry->d_name, NULL, 10);
			if (file)
				fclose(file);
		}
		closedir(tasks);
	}
	wait_for(found, 'S', SYS_futex);
}

static void fork_beside_own_read(void)
{
	start_own_read();
	monitor_has_started();
	pid_t child = fork_child();
	if (child == 0) {
		read_in_scope(NULL);
		_exit(0);
	}
	require(ended_well(child), "the child's read was cut");
}

static void thread_ended_in_own_read(void)
{
	pthread_t thread = start_own_read();
	require(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0, "cancel, join");
	require(pthread_create(&thread, NULL, read_in_scope, NULL) == 0, "a new thread");
	pthread_join(thread, NULL);
}

/* ---- a fork in the middle of a write of an outcome */

static void *fire_all_the_time(void *unused)
{
	struct unstick_token *fired;
	require(unstick_token_new(&fired, NULL) == 0, "token");
	unstick_token_cancel(fired);
	for (;;) {
		struct unstick_scope scope;
		unstick_scope_start(&scope, fired, UNSTICK_NEVER);
		atomic_store(&worker_tid, gettid());
		require(unstick_scope_end(&scope) == 0, "nothing was cut");
	}
	return unused;
}

static void fire_twice(void)
{
	for (int i = 0; i < 2; i++) { /* one round makes the number odd, the next reads */
		struct unstick_scope scope;
		struct unstick_token *fired;
		require(unstick_token_new(&fired, NULL) == 0, "token");
		unstick_scope_start(&scope, fired, UNSTICK_NEVER);
		unstick_token_cancel(fired);
		require(unstick_scope_end(&scope) == 0, "nothing was cut");
	}
}

static void fork_beside_outcomes(void)
{
	start(fire_all_the_time, NULL);
	monitor_has_started();
	unstick_time end = unstick_after_ms(2500);
	for (int i = 0; i < 2000 && unstick_now() < end; i++) {
		pid_t child = fork_child();
		if (child == 0) {
			fire_twice();
			_exit(0);
		}
		require(ended_well(child), "the child's scopes ended");
	}
}

/* ---- a handler that leaps out of an own call */

static sigjmp_buf landing;
static _Atomic bool landed;

static void leap(int signal)
{
	(void)signal;
	siglongjmp(landing, 1);
}

static void *leap_out(void *unused)
{
	struct unstick_scope scope;
	char c;
	unstick_scope_start(&scope, token, UNSTICK_NEVER);
	atomic_store(&worker_tid, gettid());
	if (sigsetjmp(landing, 1) == 0)
		require(unstick_read(silent[0], &c, 1) == 0, "this read does not return");
	atomic_store(&landed, true);
	require(read_deeper(3) == -ETIMEDOUT, "the deadline cuts the deeper read");
	require(unstick_scope_end(&scope) == -ETIMEDOUT, "the scope knows");
	return unused;
}

static void leap_out_of_own_call(void)
{
	struct sigaction action = {.sa_handler = leap};
	require(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	pthread_t thread = start(leap_out, NULL);
	wait_for(atomic_load(&worker_tid), 'S', SYS_read);
	pthread_kill(thread, SIGUSR1);
	while (!atomic_load(&landed))
		poll(NULL, 0, 1);
	wait_for(atomic_load(&worker_tid), 'S', SYS_read);
	require(unstick_token_set_deadline(token, unstick_after_ms(50)) == 0, "deadline");
	pthread_join(thread, NULL);
}

/* ---- a timed own call under a dead scope's deadline */

static int64_t processor_ns(void)
{
	struct rusage usage;
	require(getrusage(RUSAGE_THREAD, &usage) == 0, "getrusage");
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void dead_deadline_does_not_spin(void)
{
	struct pollfd pollfd = {.fd = silent[0], .events = POLLIN};
	leave_scope(3, unstick_after_ms(50));
	int64_t used = processor_ns(), begun = unstick_now();
	require(unstick_poll(&pollfd, 1, 500) == 0, "the poll ends by its own timeout");
	used = processor_ns() - used;
	require(used < (unstick_now() - begun) / 4, "it slept, it did not spin");
}

/* ---- a deadline moved away when it is due */

enum { TOGETHER = 200, MOVES = 40 };

static bool any_fired(struct unstick_token *const *tokens)
{
	for (int i = 0; i < TOGETHER; i++)
		if (unstick_token_error(tokens[i]))
			return true;
	return false;
}

/* All are due at once, and moved when the monitor is seen to be at it (or, every other round, about then); the last comes after all. */
static unsigned move_away(unsigned round)
{
	struct unstick_token *due[TOGETHER], *last;
	int moved[TOGETHER];
	unsigned broken = 0;
	unstick_time when = unstick_after_ms(2);
	for (int i = 0; i < TOGETHER; i++)
		require(unstick_token_new(&due[i], NULL) == 0 && unstick_token_set_deadline(due[i], when) == 0, "token");
	while (round % 2 ? unstick_now() < when + (int64_t)round * 5000 : !any_fired(due))
		;
	for (int i = 0; i < TOGETHER; i++)
		moved[i] = unstick_token_set_deadline(due[i], i % 2 ? UNSTICK_NEVER : when + INT64_C(3600000000000));
	require(unstick_token_new(&last, NULL) == 0 && unstick_token_set_deadline(last, unstick_after_ms(1)) == 0, "the last");
	require(unstick_token_wait(last, UNSTICK_NEVER) == 0, "the last fires");
	for (int i = 0; i < TOGETHER; i++) {
		broken += moved[i] == 0 && unstick_token_error(due[i]) != 0;
		unstick_token_unref(due[i]);
	}
	unstick_token_unref(last);
	return broken;
}

static void moved_deadline_does_not_fire(void)
{
	require(unstick_init(NULL) == 0, "init");
	for (unsigned round = 0; round < MOVES; round++)
		require(move_away(round) == 0, "what was moved away with 0 does not fire");
}

/* ---- a token's deadline in a forked child */

static void wait_in_child(void)
{
	require(unstick_token_wait(token, UNSTICK_NEVER) == 0 && unstick_token_error(token) == -ETIMEDOUT, "the wait");
}

static void poll_in_child(void)
{
	struct pollfd pollfd = {.fd = unstick_token_fd(token), .events = POLLIN};
	require(poll(&pollfd, 1, -1) == 1 && unstick_token_error(token) == -ETIMEDOUT, "the eventfd");
}

static void deadline_in_forked_child(void)
{
	static void (*const ways[])(void) = {wait_in_child, poll_in_child};
	pid_t child[2];
	require(unstick_token_set_deadline(token, unstick_after_ms(300)) == 0, "deadline");
	monitor_has_started();
	for (int i = 0; i < 2; i++)
		if ((child[i] = fork_child()) == 0) {
			ways[i]();
			_exit(0);
		}
	require(ended_well(child[0]) && ended_well(child[1]), "the token fired in the children");
}

/* ---- odd values */

static void errno_is_untouched(void)
{
	struct unstick_scope scope;
	const struct timespec soon = {.tv_nsec = 1};
	const clockid_t no_clock = 77;
	errno = EXFULL;
	unstick_scope_start(&scope, NULL, UNSTICK_NEVER);
	require(unstick_clock_nanosleep(no_clock, 0, &soon, NULL) == -EINVAL, "no such clock");
	require(unstick_scope_end(&scope) == 0 && errno == EXFULL, "errno as it was");
}

static void deadline_before_all_time(void)
{
	struct unstick_scope scope;
	struct timespec left, hour = {.tv_sec = 3600};
	unstick_scope_start(&scope, NULL, unstick_after_ms(INT64_MIN));
	require(unstick_poll(NULL, 0, -1) == -ETIMEDOUT, "poll");
	require(unstick_select(0, NULL, NULL, NULL, NULL) == -ETIMEDOUT, "select");
	require(unstick_nanosleep(&hour, &left) == -ETIMEDOUT && left.tv_sec > 0, "nanosleep");
	require(unstick_scope_end(&scope) == -ETIMEDOUT, "the scope was cut");
	unstick_scope_start(&scope, NULL, INT64_MIN);
	require(unstick_poll(NULL, 0, -1) == -ETIMEDOUT, "poll, the very first moment");
	require(unstick_scope_end(&scope) == -ETIMEDOUT, "the scope was cut");
}

/* ---- */

static const struct test_case cases[] = {
        {"token_wait in a process without any scope is told of the cancel", wait_without_any_scope, NULL},
        {"token_wait is told when a scope ends under a shield", wait_for_end_under_shield, NULL},
        {"token_wait is told when a left scope is dropped", wait_for_left_scope, NULL},
        {"a fork beside an own read: the child's foreign read is cut", fork_beside_own_read, CASE_FORKS},
        {"a thread ended inside an own read: the next thread's foreign read is cut", thread_ended_in_own_read, CASE_IN_PLACE},
        {"a fork beside a write of an outcome: the child's scopes end", fork_beside_outcomes, CASE_FORKS},
        {"siglongjmp out of an own read: a deeper foreign read is cut", leap_out_of_own_call, CASE_IN_PLACE},
        {"a dead scope's deadline does not make a timed own call spin", dead_deadline_does_not_spin, NULL},
        {"a deadline moved away with 0 does not fire", moved_deadline_does_not_fire, NULL},
        {"a token's deadline passes in a forked child", deadline_in_forked_child, CASE_FORKS},
        {"errno is untouched by a clock that does not exist", errno_is_untouched, NULL},
        {"a deadline before all time is past", deadline_before_all_time, NULL},
};

int main(int argc, char **argv)
{
	return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
