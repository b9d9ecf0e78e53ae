/* SPDX-License-Identifier: MIT
 *
 * Threads that end while they are being freed (faults 10 and 43), and their numbers, which come back for others (fault 11).
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include "victim.h"

enum { ROUNDS = FAULT_TSAN ? 300 : 1000, CANCEL_ROUNDS = FAULT_TSAN ? 60 : 200 };

static int fds[2];

/* ---- fault 10 */

static _Atomic int begun;

static void *end_at_once(void *arg)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, arg, UNSTICK_NEVER);
	atomic_store(&begun, 1);
	unstick_shield_begin();
	unstick_shield_end();
	int end = unstick_scope_end(&scope);
	CHECK(end == 0, "%d", end);
	return NULL;
}

static void *end_inside(void *arg)
{
	struct unstick_scope scope;
	unstick_scope_start(&scope, arg, UNSTICK_NEVER);
	atomic_store(&begun, 1);
	pthread_exit(NULL);
}

static void poked_at_the_end(void *(*run)(void *))
{
	for (int i = 0; i < ROUNDS; i++) {
		struct unstick_token *token = make_token();
		pthread_t thread;
		atomic_store(&begun, 0);
		CHECK(pthread_create(&thread, NULL, run, token) == 0, "pthread_create");
		while (!atomic_load(&begun))
			;
		unstick_token_cancel(token);
		CHECK(unstick_token_wait(token, UNSTICK_NEVER) == 0, "unstick_token_wait");
		pthread_join(thread, NULL);
		unstick_token_unref(token);
	}
}

static void after_its_scope(void)
{
	poked_at_the_end(end_at_once);
}

static void inside_its_scope(void)
{
	poked_at_the_end(end_inside);
}

static _Atomic long sleep_ns;

static void *sleep_and_end(void *arg)
{
	const struct timespec span = {.tv_nsec = atomic_load(&sleep_ns)};
	atomic_store((_Atomic pid_t *)arg, own_tid());
	nanosleep(&span, NULL);
	return NULL;
}

static void interrupted_at_the_end(void)
{
	int kinds[16] = {0}, ended = 0;
	for (int i = 0; i < ROUNDS; i++) {
		_Atomic pid_t tid = 0;
		struct unstick_thread *handle;
		struct unstick_outcome outcome;
		pthread_t thread;
		atomic_store(&sleep_ns, i % 10 * 30000);
		CHECK(pthread_create(&thread, NULL, sleep_and_end, &tid) == 0, "pthread_create");
		while (atomic_load(&tid) == 0)
			;
		int error = unstick_thread_find(&handle, tid);
		CHECK(error == 0 || error == -ESRCH, "unstick_thread_find: %d", error);
		ended += error != 0;
		if (error == 0) {
			CHECK(unstick_thread_interrupt(handle, UNSTICK_NEVER, &outcome) == 0, "unstick_thread_interrupt");
			CHECK(outcome.kind == UNSTICK_WOKEN || outcome.kind == UNSTICK_FINISHED_FIRST ||
			              outcome.kind == UNSTICK_NOT_BLOCKED || outcome.kind == UNSTICK_GONE,
			      "%s", outcome_text(&outcome));
			kinds[outcome.kind]++;
			unstick_thread_unref(handle);
		}
		pthread_join(thread, NULL);
	}
	fault_note("%d woken, %d finished first, %d not blocked, %d gone, %d had ended before", kinds[UNSTICK_WOKEN],
	           kinds[UNSTICK_FINISHED_FIRST], kinds[UNSTICK_NOT_BLOCKED], kinds[UNSTICK_GONE], ended);
}

static void handle_of_ended(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token()};
	struct unstick_thread *found;
	struct unstick_outcome outcome;
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&found, victim.tid) == 0, "unstick_thread_find");
	CHECK(found == victim.handle, "another record for an attached thread");
	feed(fds[1]);
	pthread_join(victim.thread, NULL);
	CHECK(unstick_thread_interrupt(found, UNSTICK_NEVER, &outcome) == 0 && outcome.kind == UNSTICK_GONE, "%s",
	      outcome_text(&outcome));
	unstick_token_cancel(victim.token);
	CHECK(unstick_token_wait(victim.token, UNSTICK_NEVER) == 0, "unstick_token_wait");
	unstick_thread_unref(found);
	unstick_thread_unref(victim.handle);
	CHECK(unstick_thread_find(&found, victim.tid) == -ESRCH, "found");
}

/* ---- fault 11, in a pid namespace of its own, where the next number can be chosen without harm to others */

static void in_pid_namespace(void (*run)(void))
{
	int status;
	if (!is_root())
		fault_skip("needs root, for a pid namespace");
	if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fault_skip("no pid namespace: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0) {
		if (mount("proc", "/proc", "proc", 0, NULL) != 0)
			fault_skip("no /proc in a pid namespace: %s", strerror(errno));
		proc_reopen();
		run();
		_exit(0);
	}
	fault_waiting_for("the pid namespace");
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %x", (unsigned)status);
}

/* A tick later: the start time in /proc/.../stat, by which the library knows a thread, counts those. */
static void pass_a_tick(void)
{
	enum { TICK_NS = 10000000 };
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	long tick = now.tv_nsec / TICK_NS;
	while (now.tv_nsec / TICK_NS == tick) {
		fault_pause();
		clock_gettime(CLOCK_BOOTTIME, &now);
	}
}

static void start_as(struct victim *victim, pid_t tid)
{
	char number[16];
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		fault_skip("no ns_last_pid: %s", strerror(errno));
	int length = snprintf(number, sizeof(number), "%d", (int)tid - 1);
	CHECK(write(fd, number, (size_t)length) == length, "ns_last_pid: %s", strerror(errno));
	close(fd);
	victim_block(victim, SYS_read);
	CHECK(victim->tid == tid, "number %d instead of %d", (int)victim->tid, (int)tid);
}

static void expect_untouched(struct victim *victim)
{
	CHECK(proc_in_call(0, victim->tid, SYS_read) && proc_state(0, victim->tid) == 'S', "it was touched");
	feed(fds[1]);
	victim_join(victim);
	CHECK(victim->result == 1 && victim->count == 0, "%ld after %ld EINTR", victim->result, victim->count);
}

static void reuse(struct unstick_token *token)
{
	struct victim first = {.call = foreign_read, .token = token}, second = {.call = foreign_read_again};
	struct unstick_thread *handle;
	struct unstick_outcome outcome;
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	make_pipe(fds);
	first.fd = second.fd = fds[0];
	victim_block(&first, SYS_read);
	CHECK(unstick_thread_find(&handle, first.tid) == 0, "unstick_thread_find");
	feed(fds[1]);
	pid_t tid = first.tid;
	victim_join(&first);
	pass_a_tick();
	start_as(&second, tid);
	CHECK(unstick_thread_interrupt(handle, unstick_after_ms(50), &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_GONE && outcome.signals == 0, "%s", outcome_text(&outcome));
	if (token != NULL)
		unstick_token_cancel(token);
	expect_untouched(&second);
	unstick_thread_unref(handle);
}

static void reuse_unattached(void)
{
	reuse(NULL);
}

static void reuse_attached(void)
{
	reuse(make_token());
}

/* A new thread of the old number that uses scopes is another thread too. */
static void reuse_by_attached(void)
{
	struct victim first = {.call = foreign_read}, second = {.call = foreign_read_again, .token = make_token()};
	struct unstick_thread *handle;
	struct unstick_outcome outcome;
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	make_pipe(fds);
	first.fd = second.fd = fds[0];
	victim_block(&first, SYS_read);
	CHECK(unstick_thread_find(&handle, first.tid) == 0, "unstick_thread_find");
	feed(fds[1]);
	pid_t tid = first.tid;
	victim_join(&first);
	pass_a_tick();
	start_as(&second, tid);
	CHECK(unstick_thread_interrupt(handle, unstick_after_ms(50), &outcome) == 0, "unstick_thread_interrupt");
	CHECK(outcome.kind == UNSTICK_GONE && outcome.signals == 0, "%s", outcome_text(&outcome));
	expect_untouched(&second);
	unstick_thread_unref(handle);
}

static void reuse_with_handle(void)
{
	in_pid_namespace(reuse_unattached);
}

static void reuse_after_scope(void)
{
	in_pid_namespace(reuse_attached);
}

static void reuse_with_scope(void)
{
	in_pid_namespace(reuse_by_attached);
}

/* ---- fault 43 */

static void *read_until_cancelled(void *arg)
{
	struct victim *victim = arg;
	struct unstick_scope scope;
	atomic_store(&victim->tid, own_tid());
	unstick_scope_start(&scope, victim->token, UNSTICK_NEVER);
	atomic_store(&victim->result, victim->call(victim));
	atomic_store(&victim->end, unstick_scope_end(&scope));
	atomic_store(&victim->done, true);
	while (!atomic_load(&victim->stop))
		sched_yield(); /* no cancellation point */
	pthread_testcancel();
	return NULL;
}

static void start_cancellable(struct victim *victim)
{
	CHECK(pthread_create(&victim->thread, NULL, read_until_cancelled, victim) == 0, "pthread_create");
	WAIT_UNTIL(atomic_load(&victim->tid) != 0);
}

static void join_cancelled(struct victim *victim)
{
	void *result;
	fault_waiting_for("the thread to be cancelled");
	pthread_join(victim->thread, &result);
	CHECK(result == PTHREAD_CANCELED, "not cancelled");
	CHECK(unstick_token_cancel(victim->token) == 0 && unstick_token_wait(victim->token, UNSTICK_NEVER) == 0,
	      "unstick_token_wait");
	unstick_token_unref(victim->token);
}

static void cancelled_in_foreign(void)
{
	struct victim victim = {.call = foreign_read, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	start_cancellable(&victim);
	victim_wait_blocked(&victim, SYS_read);
	pthread_cancel(victim.thread);
	join_cancelled(&victim);
	CHECK(!victim.done, "%ld", victim.result);
}

/* An own call is no cancellation point. */
static void cancelled_in_own(void)
{
	struct victim victim = {.call = own_read, .token = make_token()};
	make_pipe(fds);
	victim.fd = fds[0];
	start_cancellable(&victim);
	victim_wait_blocked(&victim, SYS_read);
	pthread_cancel(victim.thread);
	unstick_token_cancel(victim.token);
	WAIT_UNTIL(victim.done);
	CHECK(victim.result == -ECANCELED && victim.end == -ECANCELED, "%ld, %d", victim.result, victim.end);
	victim.stop = true;
	join_cancelled(&victim);
}

static void cancelled_by_both(long (*call)(struct victim *))
{
	int cut = 0;
	make_pipe(fds);
	for (int i = 0; i < CANCEL_ROUNDS; i++) {
		struct victim victim = {.call = call, .token = make_token(), .fd = fds[0]};
		start_cancellable(&victim);
		if (i % 2)
			pthread_cancel(victim.thread);
		unstick_token_cancel(victim.token);
		if (i % 2 == 0)
			pthread_cancel(victim.thread);
		victim.stop = true;
		join_cancelled(&victim);
		CHECK(!victim.done || victim.result == -ECANCELED || victim.result == -EINTR, "%ld", victim.result);
		cut += victim.done;
	}
	fault_note("%d of %d came out of the call", cut, CANCEL_ROUNDS);
}

static void foreign_by_both(void)
{
	cancelled_by_both(foreign_read);
}

static void own_by_both(void)
{
	cancelled_by_both(own_read);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {10, "threads that leave their scope and end while it is fired", after_its_scope},
	        {10, "threads that end inside their scope while it is fired", inside_its_scope},
	        {10, "threads that end while they are interrupted", interrupted_at_the_end},
	        {10, "a handle to a thread that has ended says gone", handle_of_ended},
	        {11, "a reused number: the handle says gone, the new thread is not touched", reuse_with_handle},
	        {11, "a reused number after a scope: the handle says gone, the new thread is not touched", reuse_after_scope},
	        {11, "a reused number, the new thread in a scope: the old handle says gone", reuse_with_scope},
	        {43, "pthread_cancel in a foreign call in a scope ends the thread", cancelled_in_foreign},
	        {43, "pthread_cancel in an own call waits until the scope cuts it short", cancelled_in_own},
	        {43, "pthread_cancel and a token at once, in a foreign call", foreign_by_both},
	        {43, "pthread_cancel and a token at once, in an own call", own_by_both},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
