/* SPDX-License-Identifier: MIT
 *
 * The handle and the callback: waiting for one, any, all; references; handles that have gone; what a callback may do.
 */
#include "suite.h"

static char bytes[64];

static struct unstick_op *silent_op(void)
{
	int fds[2];
	make_pipe(fds);
	return begin(&UNSTICK_READ(fds[0], bytes, 1));
}

/* ---- waiting */

static void wait_until(void)
{
	int fds[2];
	make_pipe(fds);
	struct unstick_op *op = begin(&UNSTICK_READ(fds[0], bytes, 8));
	CHECK(unstick_op_result(op) == -EINPROGRESS, "result before the end");
	unstick_time until = unstick_after_ms(20);
	CHECK(unstick_op_wait(op, until) == -ETIMEDOUT && unstick_now() >= until, "the wait ends at `until`, not before");
	CHECK(unstick_op_wait(op, 0) == -ETIMEDOUT, "a moment long past");
	CHECK(unstick_op_result(op) == -EINPROGRESS, "the operation goes on");
	put(fds[1], "abc");
	CHECK(unstick_op_wait(op, UNSTICK_NEVER) == 0 && unstick_op_wait(op, 0) == 0, "once it has ended, at once");
	CHECK(unstick_op_result(op) == 3 && end_of(op) == 3, "result");
}

static void wait_any(void)
{
	int fds[2];
	make_pipe(fds);
	struct unstick_op *ops[] = {NULL, silent_op(), begin(&UNSTICK_READ(fds[0], bytes, 8)), silent_op()};
	unstick_time until = unstick_after_ms(20);
	CHECK(unstick_op_wait_any(ops, 4, until) == -ETIMEDOUT && unstick_now() >= until, "none has ended");
	put(fds[1], "abc");
	CHECK(unstick_op_wait_any(ops, 4, UNSTICK_NEVER) == 2, "the one that ended");
	unstick_op_cancel(ops[1]);
	CHECK(unstick_op_wait(ops[1], UNSTICK_NEVER) == 0, "wait");
	int index = unstick_op_wait_any(ops, 4, 0);
	CHECK(index == 1 || index == 2, "one that had ended: %d", index);
}

static void wait_all(void)
{
	struct unstick_op *ops[] = {silent_op(), begin(&UNSTICK_NOP()), NULL, silent_op()};
	CHECK(unstick_op_wait_all(ops, 4, unstick_after_ms(20)) == -ETIMEDOUT, "two wait");
	unstick_op_cancel(ops[0]);
	CHECK(unstick_op_wait_all(ops, 4, unstick_after_ms(20)) == -ETIMEDOUT, "one waits");
	unstick_op_cancel(ops[3]);
	CHECK(unstick_op_wait_all(ops, 4, UNSTICK_NEVER) == 0, "all have ended");
	CHECK(unstick_op_result(ops[0]) == -ECANCELED && unstick_op_result(ops[1]) == 0 && unstick_op_result(ops[3]) == -ECANCELED,
	      "results");
}

static void wait_in_scope(struct unstick_token *token, unstick_time deadline, int expected)
{
	struct unstick_op *op = silent_op(), *ops[] = {op};
	struct unstick_scope scope;
	for (int which = 0; which < 3; which++) {
		unstick_scope_start(&scope, token, deadline);
		int error = which == 0   ? unstick_op_wait(op, UNSTICK_NEVER)
		            : which == 1 ? unstick_op_wait_any(ops, 1, UNSTICK_NEVER)
		                         : unstick_op_wait_all(ops, 1, UNSTICK_NEVER);
		int end = unstick_scope_end(&scope);
		CHECK(error == expected && end == expected, "wait number %d: %d, the scope: %d", which, error, end);
	}
	CHECK(unstick_op_result(op) == -EINPROGRESS, "the operation was cut short with the wait");
	CHECK(cancelled(op) == -ECANCELED, "cancel");
}

static void wait_in_scope_with_deadline(void)
{
	unstick_time deadline = unstick_after_ms(20);
	wait_in_scope(NULL, deadline, -ETIMEDOUT);
	CHECK(unstick_now() >= deadline, "before the deadline");
}

static pid_t main_tid;

static void *cancel_when_asleep(void *token)
{
	while (proc_state(0, main_tid) != 'S')
		fault_pause();
	unstick_token_cancel(token);
	return NULL;
}

static void wait_in_scope_with_token(void)
{
	pthread_t thread;
	struct unstick_token *token = token_make(NULL);
	main_tid = gettid();
	engine();
	CHECK(pthread_create(&thread, NULL, cancel_when_asleep, token) == 0, "pthread_create");
	wait_in_scope(token, UNSTICK_NEVER, -ECANCELED);
	pthread_join(thread, NULL);
}

static void *wait_and_report(void *op)
{
	return (void *)(intptr_t)unstick_op_wait(op, UNSTICK_NEVER);
}

static void many_waiters(void)
{
	pthread_t threads[8];
	void *error;
	struct unstick_op *op = silent_op();
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], NULL, wait_and_report, op) == 0, "pthread_create");
	settle();
	unstick_op_cancel(op);
	for (int i = 0; i < 8; i++)
		CHECK(pthread_join(threads[i], &error) == 0 && error == NULL, "a waiter got %ld", (long)(intptr_t)error);
}

/* ---- references */

static void references(void)
{
	struct unstick_op *op = begin(&UNSTICK_NOP());
	CHECK(unstick_op_ref(op) == op, "ref");
	CHECK(unstick_op_wait(op, UNSTICK_NEVER) == 0 && unstick_op_unref(op) == NULL, "unref");
	CHECK(unstick_op_result(op) == 0, "one reference is left");
	unstick_op_unref(op);
	CHECK(unstick_op_unref(NULL) == NULL, "unref of NULL");
}

static void gone_handle(void)
{
	struct unstick_op *op = begin(&UNSTICK_NOP());
	CHECK(end_of(op) == 0, "nop");
	settle(); /* the worker has given up its reference too */
	CHECK(unstick_op_result(op) == -ESTALE, "result %ld", unstick_op_result(op));
	CHECK(unstick_op_wait(op, UNSTICK_NEVER) == -ESTALE && unstick_op_wait(op, 0) == -ESTALE, "wait");
	CHECK(unstick_op_wait_all(&op, 1, 0) == -ESTALE && unstick_op_wait_any(&op, 1, 0) == -ESTALE, "wait_all, wait_any");
	CHECK(unstick_op_cancel(op) == 0, "cancel");
	CHECK(unstick_op_unref(op) == NULL, "unref");
}

static void unref_of_a_pending_one(void)
{
	int fds[2];
	struct calls calls = {0};
	make_pipe(fds);
	struct unstick_request request = with_done(UNSTICK_READ(fds[0], bytes, 8), &calls);
	unstick_op_unref(begin(&request));
	settle();
	CHECK(calls.count == 0, "it has ended");
	put(fds[1], "abc");
	WAIT_UNTIL(calls.count == 1);
	CHECK(calls.result == 3 && memcmp(bytes, "abc", 3) == 0, "result %ld", calls.result);
}

static void unref_and_no_callback(void)
{
	int fds[2];
	make_pipe(fds);
	unstick_op_unref(begin(&UNSTICK_WRITE(fds[1], "abc", 3)));
	CHECK(read(fds[0], bytes, 8) == 3, "it goes on");
}

/* ---- callbacks */

static void once_on_a_worker(void)
{
	struct calls calls = {0};
	struct unstick_request request = with_done(UNSTICK_NOP(), &calls);
	for (unsigned i = 1; i <= 1000; i++) {
		struct unstick_op *op = begin(&request);
		CHECK(unstick_op_wait(op, UNSTICK_NEVER) == 0, "wait");
		CHECK(calls.count == i, "round %u: %u calls before the wait returned", i, calls.count);
		CHECK(calls.op == op && calls.result == 0 && calls.tid != gettid(), "its arguments, its thread");
		unstick_op_unref(op);
	}
	settle();
	CHECK(calls.count == 1000, "once each");
}

static void without_ret(void)
{
	struct calls calls = {0};
	struct unstick_request request = with_done(UNSTICK_NOP(), &calls);
	CHECK(unstick_engine_submit(engine(), &request, NULL) == 0, "submit");
	WAIT_UNTIL(calls.count == 1);
	CHECK(calls.op != NULL, "the callback has a handle");
}

static _Atomic int found_in_callback[8];
static _Atomic bool callback_over;

static void use_in_callback(struct unstick_op *op, long result, void *other)
{
	atomic_store(&found_in_callback[0], unstick_op_wait(other, UNSTICK_NEVER));
	atomic_store(&found_in_callback[1], unstick_op_wait_any((struct unstick_op *[]){other}, 1, UNSTICK_NEVER));
	atomic_store(&found_in_callback[2], unstick_op_wait_all((struct unstick_op *[]){other}, 1, UNSTICK_NEVER));
	atomic_store(&found_in_callback[3], unstick_op_result(op) == result);
	atomic_store(&found_in_callback[4], unstick_engine_close(engine(), UNSTICK_NEVER, NULL));
	atomic_store(&found_in_callback[5], unstick_op_cancel(other));
	unstick_op_unref(other);
	atomic_store(&callback_over, true);
}

static void in_a_callback(void)
{
	struct calls calls = {0};
	int fds[2];
	make_pipe(fds);
	struct unstick_request other = with_done(UNSTICK_READ(fds[0], bytes, 1), &calls), request = UNSTICK_NOP();
	request.done = use_in_callback;
	request.arg = begin(&other);
	CHECK(run(&request) == 0 && callback_over, "the wait includes the callback");
	for (int i = 0; i < 3; i++)
		CHECK(found_in_callback[i] == -EDEADLK, "wait number %d: %d", i, found_in_callback[i]);
	CHECK(found_in_callback[3] == 1, "the result is there");
	CHECK(found_in_callback[4] == -EDEADLK, "close: %d", found_in_callback[4]);
	CHECK(found_in_callback[5] == 0, "cancel");
	WAIT_UNTIL(calls.count == 1);
	CHECK(calls.result == -ECANCELED, "cancelled and given up in a callback: %ld", calls.result);
}

enum { CHAIN = 100000 };

static _Atomic unsigned links;
static uintptr_t deepest, highest;

static void next_link(struct unstick_op *op, long result, void *unused)
{
	struct unstick_request request = UNSTICK_NOP();
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	(void)op;
	(void)unused;
	deepest = links == 0 || here < deepest ? here : deepest;
	highest = here > highest ? here : highest;
	CHECK(result == 0, "a nop came to %ld", result);
	request.done = next_link;
	unsigned count = links + 1;
	if (count < CHAIN)
		CHECK(unstick_engine_submit(engine(), &request, NULL) == 0, "submit in a callback");
	atomic_store(&links, count);
}

static void long_chain(void)
{
	struct unstick_request request = UNSTICK_NOP();
	request.done = next_link;
	CHECK(unstick_engine_submit(engine(), &request, NULL) == 0, "submit");
	WAIT_UNTIL(links == CHAIN);
	CHECK(highest - deepest < 65536, "callbacks lay on top of each other: %zu bytes of stack", (size_t)(highest - deepest));
}

static const struct fault cases[] = {
        {0, "op_wait: -ETIMEDOUT at `until`, not before, and the operation goes on", wait_until},
        {0, "op_wait_any: the index of one that has ended", wait_any},
        {0, "op_wait_all: 0 once all have ended", wait_all},
        {0, "the waits in a scope whose deadline passes: -ETIMEDOUT, the operation goes on", wait_in_scope_with_deadline},
        {0, "the waits in a scope whose token fires: -ECANCELED, the operation goes on", wait_in_scope_with_token},
        {0, "eight threads wait for one operation", many_waiters},
        {0, "references are counted", references},
        {0, "a handle that has gone: -ESTALE, and cancel does nothing", gone_handle},
        {0, "a pending operation without references goes on and calls back", unref_of_a_pending_one},
        {0, "an operation without reference and callback is done", unref_and_no_callback},
        {0, "the callback: exactly once, on a worker, before op_wait returns", once_on_a_worker},
        {0, "submit without ret", without_ret},
        {0, "in a callback: waits and close -EDEADLK, result, cancel and unref as ever", in_a_callback},
        {0, "a chain of 100,000 operations, each submitted by the callback of the one before, on a flat stack", long_chain},
};

SUITE_PART(suite_ops);
