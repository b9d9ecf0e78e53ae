/* SPDX-License-Identifier: MIT
 *
 * Memory is short (fault 35): the n-th allocation of the process fails, for each n that there is; and all of them fail while
 * threads are freed, where the library must not make any. This program's malloc(3) is in front of the C library's.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "failing_malloc.h"
#include "victim.h"

static int fds[2];

/* ---- the n-th allocation fails */

static void on_fire(void *arg, int error)
{
	atomic_store((_Atomic int *)arg, error);
}

static bool monitor_runs; /* else one block of the C library for that thread may have come */

/* A failed step has left nothing behind. */
static void expect_error(const char *step, int error, long live_before)
{
	CHECK(error == -ENOMEM || error == -EAGAIN, "%s: %d", step, error);
	CHECK(allocator_live == live_before || (!monitor_runs && allocator_live == live_before + 1), "%s: %ld blocks leaked", step,
	      allocator_live - live_before);
}

static void use_scope(struct unstick_token *token)
{
	struct unstick_scope scope;
	struct pollfd nothing = {.fd = -1};
	long before = allocator_live;
	int error = unstick_scope_begin(&scope, token, unstick_after_ms(5));
	if (error != 0) {
		expect_error("unstick_scope_begin", error, before);
		CHECK(unstick_poll(&nothing, 1, 10) == 0, "an inert scope cut a call short");
		CHECK(unstick_scope_end(&scope) == error, "the end of an inert scope");
		return;
	}
	CHECK(unstick_poll(&nothing, 1, -1) == -ETIMEDOUT, "own");
	CHECK(unstick_scope_end(&scope) == -ETIMEDOUT, "scope");
}

/* The functions that allocate. Each succeeds or says -ENOMEM or -EAGAIN, and what has succeeded works. */
static void use_all(pid_t other_tid)
{
	struct unstick_token *token = NULL;
	struct unstick_watch *watch = NULL;
	struct unstick_thread *thread = NULL;
	_Atomic int fired = 0;
	long before = allocator_live;
	int error = unstick_token_new(&token, NULL);
	if (error != 0) {
		expect_error("unstick_token_new", error, before);
		token = NULL;
	} else {
		before = allocator_live;
		error = unstick_token_set_deadline(token, unstick_after_ms(3600000));
		if (error != 0)
			expect_error("unstick_token_set_deadline", error, before);
		before = allocator_live;
		error = unstick_token_watch(token, &watch, on_fire, &fired);
		if (error != 0)
			expect_error("unstick_token_watch", error, before);
	}
	use_scope(token);
	before = allocator_live;
	error = unstick_thread_find(&thread, other_tid);
	if (error != 0)
		expect_error("unstick_thread_find", error, before);
	else
		unstick_thread_unref(thread);
	if (token != NULL)
		unstick_token_cancel(token);
	if (watch != NULL)
		WAIT_UNTIL(fired == -ECANCELED);
	unstick_watch_free(watch);
	unstick_token_unref(token);
}

/* In a process of its own. `monitor`: it runs already. */
_Noreturn static void try_with_failure(long n, bool monitor)
{
	struct victim other = {.call = foreign_read, .fd = fds[0]};
	victim_block(&other, SYS_read);
	if (monitor) {
		struct unstick_scope scope;
		CHECK(unstick_scope_begin(&scope, NULL, UNSTICK_NEVER) == 0 && unstick_scope_end(&scope) == 0, "scope");
	}
	monitor_runs = monitor;
	allocator_watch(n);
	use_all(other.tid);
	bool reached = allocator_calls >= n;
	allocator_rest();
	use_all(other.tid); /* and with memory all is well again */
	_exit(reached ? 2 : 3);
}

static void each_fails(bool monitor)
{
	long n = 0;
	int status = 0;
	allocator_need();
	make_pipe(fds);
	do {
		n++;
		pid_t pid = fork();
		if (pid == 0)
			try_with_failure(n, monitor);
		fault_waiting_for("the child with failure %ld", n);
		CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "failure %ld: status %x", n, (unsigned)status);
		CHECK(WEXITSTATUS(status) == 2 || WEXITSTATUS(status) == 3, "failure %ld", n);
	} while (WEXITSTATUS(status) == 2);
	fault_note("%ld allocations", n - 1);
	CHECK(n > 3, "hardly anything was allocated");
}

static void each_of_first_use(void)
{
	each_fails(false);
}

static void each_of_later_use(void)
{
	each_fails(true);
}

/* ---- the cancel path */

static void cancel_allocates_nothing(void)
{
	struct victim victims[4] = {{.call = foreign_read_again}, {.call = own_read}, {.call = foreign_poll}, {.call = own_poll}};
	static const long nrs[4] = {SYS_read, SYS_read, SYS_poll, SYS_ppoll};
	struct unstick_token *parent = make_token();
	struct unstick_outcome outcome;
	char line[400];
	allocator_need();
	make_pipe(fds);
	for (int i = 0; i < 4; i++) {
		victims[i].fd = fds[0];
		victims[i].after = linger;
		CHECK(unstick_token_new(&victims[i].token, parent) == 0, "unstick_token_new");
		victim_block(&victims[i], nrs[i]);
	}
	CHECK(unstick_token_fd(parent) >= 0, "unstick_token_fd");
	allocator_watch(-1);
	unstick_token_cancel(parent);
	for (int i = 0; i < 4; i++)
		WAIT_UNTIL(victims[i].end != 0);
	for (int i = 0; i < 4; i++) {
		outcome = victim_outcome(&victims[i]);
		unstick_outcome_print(&outcome, line, sizeof(line));
	}
	long made = allocator_calls;
	allocator_rest();
	CHECK(made == 0, "%ld allocations", made);
	for (int i = 0; i < 4; i++) {
		victim_let_go(&victims[i]);
		CHECK(victims[i].result == -ECANCELED && victims[i].end == -ECANCELED, "%ld, %d", victims[i].result,
		      victims[i].end);
	}
}

/* The second looks of the monitor, for a thread that does not come out. */
static void second_look_allocates_nothing(void)
{
	struct victim victim = {.call = foreign_epoll_again, .token = make_token(), .after = linger};
	allocator_need();
	make_pipe(fds);
	victim.fd = fds[0];
	victim.deadline = unstick_after_ms(50);
	victim_block(&victim, SYS_epoll_wait);
	allocator_watch(-1);
	WAIT_UNTIL(victim.end != 0);
	long made = allocator_calls;
	allocator_rest();
	CHECK(made == 0, "%ld allocations", made);
	victim_let_go(&victim);
	CHECK(victim.end == -ETIMEDOUT, "%d", victim.end);
}

static void interrupt_allocates_nothing(void)
{
	struct victim victim = {.call = foreign_read, .after = linger};
	struct unstick_thread *thread;
	struct unstick_outcome outcome;
	struct unstick_report report;
	allocator_need();
	make_pipe(fds);
	victim.fd = fds[0];
	victim_block(&victim, SYS_read);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0, "unstick_thread_find");
	CHECK(unstick_init(NULL) == 0, "unstick_init");
	allocator_watch(-1);
	CHECK(unstick_look(0, victim.tid, &report) == 0 && report.freeable == 1, "unstick_look");
	CHECK(unstick_thread_interrupt(thread, UNSTICK_NEVER, &outcome) == 0 && outcome.kind == UNSTICK_WOKEN,
	      "unstick_thread_interrupt");
	long made = allocator_calls;
	allocator_rest();
	CHECK(made == 0, "%ld allocations", made);
	victim_let_go(&victim);
	unstick_thread_unref(thread);
}

/* ---- nothing grows */

static void cycle(void)
{
	struct victim victim = {.call = own_read, .token = make_token(), .fd = fds[0]};
	struct unstick_watch *watch;
	struct unstick_thread *thread;
	_Atomic int fired = 0;
	CHECK(unstick_token_watch(victim.token, &watch, on_fire, &fired) == 0, "unstick_token_watch");
	victim_start(&victim);
	CHECK(unstick_thread_find(&thread, victim.tid) == 0 || thread == NULL, "unstick_thread_find");
	unstick_token_cancel(victim.token);
	victim_join(&victim);
	unstick_thread_unref(thread);
	unstick_watch_free(watch);
	unstick_token_unref(victim.token);
}

static void nothing_grows(void)
{
	allocator_need();
	make_pipe(fds);
	for (int i = 0; i < 100; i++)
		cycle();
	allocator_watch(0);
	for (int i = 0; i < 500; i++)
		cycle();
	long left = allocator_live;
	allocator_rest();
	CHECK(left == 0, "%ld blocks more after 500 threads with scopes", left);
}

int main(int argc, char **argv)
{
	static const struct fault faults[] = {
	        {35, "each allocation of the first use fails once: an error, and all works afterwards", each_of_first_use},
	        {35, "each allocation of a later use fails once: an error, no leak, and all works afterwards", each_of_later_use},
	        {35, "a cancel of own and foreign calls allocates nothing", cancel_allocates_nothing},
	        {35, "a deadline's second looks allocate nothing", second_look_allocates_nothing},
	        {35, "a look and an interrupt allocate nothing", interrupt_allocates_nothing},
	        {35, "threads with scopes, tokens, watches come and go, and nothing grows", nothing_grows},
	};
	return fault_main(argc, argv, faults, sizeof(faults) / sizeof(faults[0]));
}
