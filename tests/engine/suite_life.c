/* SPDX-License-Identifier: MIT
 *
 * The engine itself: its back end, many operations at once, its end, its parent's and its child's.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "suite.h"

static char bytes[64];

/* ---- its back end */

static _Atomic unsigned lines, lines_that_name_it;

static void take_line(void *arg, const char *message)
{
	(void)arg;
	atomic_fetch_add(&lines, 1);
	if (strstr(message, "io_uring") || strstr(message, "poll"))
		atomic_fetch_add(&lines_that_name_it, 1);
	CHECK(!strchr(message, '\n'), "a newline in a message");
}

static void says_its_back_end(void)
{
	struct unstick_options options = {.size = sizeof options, .log = take_line};
	CHECK(unstick_init(&options) == 0, "init");
	engine();
	CHECK(lines == 1 && lines_that_name_it == 1, "%u lines, %u of them name a back end", lines, lines_that_name_it);
}

static void back_end_as_told(void)
{
	const char *told = getenv("UNSTICK_ENGINE"), *expected = getenv("UNSTICK_EXPECT");
	if (!expected)
		expected = told && strcmp(told, "auto") != 0 ? told : NULL;
	if (!expected)
		fault_skip("UNSTICK_ENGINE does not name one");
	CHECK(engine_is_poll() == !strcmp(expected, "poll"), "it is not %s", expected);
}

static void back_end_by_option(void)
{
	struct unstick_engine *poll_engine;
	struct unstick_engine_options options = {.size = sizeof options, .back_end = UNSTICK_ENGINE_POLL};
	struct unstick_stats stats;
	CHECK(unstick_engine_new(&poll_engine, &options) == 0, "new");
	CHECK(unstick_engine_stats(poll_engine, &stats) == 0 && !strcmp(stats.back_end, "poll"), "it is %s", stats.back_end);
	CHECK(unstick_engine_free(poll_engine) == NULL, "free");
}

/* ---- many */

static void submit_many(void)
{
	enum { MANY = 32 };
	int fds[2];
	struct unstick_request requests[MANY];
	struct unstick_op *ops[MANY];
	make_unix(fds);
	for (int i = 0; i < MANY; i++)
		requests[i] = UNSTICK_SEND(fds[1], bytes, (size_t)i + 1);
	CHECK(unstick_engine_submit_many(engine(), requests, MANY, ops) == MANY, "submit_many");
	for (int i = 0; i < MANY; i++)
		CHECK(end_of(ops[i]) == i + 1, "the handles are not in the order of the requests");
}

static void submit_some(void)
{
	struct calls calls = {0};
	struct unstick_request good = with_done(UNSTICK_NOP(), &calls), bad = good;
	struct unstick_op *ops[4] = {NULL, NULL, (struct unstick_op *)bytes, (struct unstick_op *)bytes};
	bad.opcode = 999;
	const struct unstick_request some[] = {good, good, bad, good};
	CHECK(unstick_engine_submit_many(engine(), some, 4, ops) == 2, "two before the bad one");
	CHECK(ops[2] == (struct unstick_op *)bytes && ops[3] == (struct unstick_op *)bytes, "ret beyond what was begun");
	CHECK(end_of(ops[0]) == 0 && end_of(ops[1]) == 0, "results");
	CHECK(unstick_engine_submit_many(engine(), some + 2, 2, ops) == -EINVAL, "the first one is bad");
	CHECK(unstick_engine_submit_many(engine(), some, 1, NULL) == 1, "without ret");
	WAIT_UNTIL(calls.count == 3);
	settle();
	CHECK(calls.count == 3, "%u callbacks", calls.count);
}

static void ping_pong(unsigned pairs, unsigned rounds)
{
	int fds[64][2];
	char in[64], out[64];
	for (unsigned i = 0; i < pairs; i++)
		make_unix(fds[i]);
	for (unsigned round = 0; round < rounds; round++) {
		struct unstick_op *receives[64], *sends[64];
		for (unsigned i = 0; i < pairs; i++) {
			out[i] = (char)(round + i);
			receives[i] = begin(&UNSTICK_RECV(fds[i][0], &in[i], 1));
			sends[i] = begin(&UNSTICK_SEND(fds[i][1], &out[i], 1));
		}
		for (unsigned i = 0; i < pairs; i++)
			CHECK(end_of(receives[i]) == 1 && end_of(sends[i]) == 1 && in[i] == out[i], "pair %u, round %u", i, round);
	}
}

static void three_workers(void)
{
	struct unstick_engine_options options = {.size = sizeof options, .workers = 3};
	engine_with(&options);
	ping_pong(60, 50);
	CHECK(unstick_engine_close(engine(), UNSTICK_NEVER, NULL) == 0, "close");
}

enum { THREADS = 16, ROUNDS = 300 };

static struct calls thread_calls;

static void *submit_and_wait(void *unused)
{
	int fds[2];
	char c;
	make_unix(fds);
	for (int i = 0; i < ROUNDS; i++) {
		struct unstick_request nop = with_done(UNSTICK_NOP(), &thread_calls);
		struct unstick_op *op = begin(&UNSTICK_RECV(fds[0], &c, 1));
		CHECK(unstick_engine_submit(engine(), &nop, NULL) == 0, "submit");
		if (i % 3 == 0)
			CHECK(cancelled(op) == -ECANCELED, "cancel");
		else
			CHECK(run(&UNSTICK_SEND(fds[1], "x", 1)) == 1 && end_of(op) == 1, "send and recv");
	}
	return unused;
}

static void many_threads(void)
{
	pthread_t threads[THREADS];
	engine();
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, submit_and_wait, NULL) == 0, "pthread_create");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	WAIT_UNTIL(thread_calls.count == THREADS * ROUNDS);
}

static void two_engines(void)
{
	int fds[2];
	struct unstick_engine *second;
	struct unstick_op *op;
	make_unix(fds);
	struct unstick_op *first = begin(&UNSTICK_RECV(fds[0], bytes, 8));
	CHECK(unstick_engine_new(&second, NULL) == 0, "the second one");
	CHECK(unstick_engine_submit(second, &UNSTICK_RECV(fds[1], bytes + 8, 8), &op) == 0, "submit");
	CHECK(unstick_engine_close(second, UNSTICK_NEVER, NULL) == 0, "close");
	CHECK(unstick_op_result(op) == -ECANCELED && unstick_engine_free(second) == NULL, "its operation ended");
	CHECK(unstick_op_result(op) == -ECANCELED, "handles stay good after the engine");
	unstick_op_unref(op);
	CHECK(unstick_op_result(first) == -EINPROGRESS, "the first engine's goes on");
	put(fds[1], "abc");
	CHECK(end_of(first) == 3, "the first one's operation");
}

static void statistics(void)
{
	int fds[2];
	struct unstick_stats stats;
	make_pipe(fds);
	CHECK(run(&UNSTICK_NOP()) == 0, "nop");
	struct unstick_request late = with_deadline(UNSTICK_READ(fds[0], bytes, 1), unstick_after_ms(5));
	CHECK(cancelled(begin(&UNSTICK_READ(fds[0], bytes, 1))) == -ECANCELED && run(&late) == -ETIMEDOUT, "one of each");
	struct unstick_op *op = begin(&UNSTICK_READ(fds[0], bytes, 1));
	settle();
	CHECK(unstick_engine_stats(engine(), &stats) == 0, "stats");
	CHECK(stats.operations == 4 && stats.completed == 3 && stats.cancels == 1 && stats.expiries == 1,
	      "operations %lu, completed %lu, cancels %lu, expiries %lu", stats.operations, stats.completed, stats.cancels,
	      stats.expiries);
	CHECK(stats.orphans == 0 && stats.orphans_ever == 0 && stats.orphan_oldest_ns == 0, "orphans");
	CHECK(unstick_engine_stats(NULL, &stats) == 0 && stats.operations == 0, "without an engine");
	CHECK(unstick_engine_stats(engine(), NULL) == -EINVAL, "NULL");
	CHECK(cancelled(op) == -ECANCELED, "cancel");
}

/* ---- its end */

static void close_cancels(void)
{
	int fds[2];
	struct calls calls = {0};
	struct unstick_op *op, *ops[20];
	struct unstick_left left = {.count = 7};
	make_unix(fds);
	for (int i = 0; i < 20; i++) {
		struct unstick_request request = with_done(UNSTICK_RECV(fds[0], bytes, 1), &calls);
		ops[i] = begin(&request);
	}
	CHECK(unstick_engine_close(engine(), UNSTICK_NEVER, &left) == 0, "close");
	CHECK(left.count == 0, "%u left", left.count);
	CHECK(calls.count == 20, "%u callbacks before close returned", calls.count);
	for (int i = 0; i < 20; i++)
		CHECK(unstick_op_wait(ops[i], 0) == 0 && end_of(ops[i]) == -ECANCELED, "a pending one");
	CHECK(unstick_engine_submit(engine(), &UNSTICK_NOP(), &op) == -ESHUTDOWN, "submit after close");
	CHECK(unstick_engine_submit_many(engine(), &UNSTICK_NOP(), 1, &op) == -ESHUTDOWN, "submit_many after close");
	CHECK(unstick_engine_close(engine(), 0, NULL) == 0, "once more");
	CHECK(unstick_engine_free(engine()) == NULL, "free");
}

static void free_without_close(void)
{
	int fds[2];
	struct calls calls = {0};
	make_unix(fds);
	struct unstick_request request = with_done(UNSTICK_RECV(fds[0], bytes, 1), &calls);
	struct unstick_op *op = begin(&request);
	CHECK(unstick_engine_free(engine()) == NULL, "free");
	CHECK(calls.count == 1 && calls.result == -ECANCELED && end_of(op) == -ECANCELED, "its operation");
	CHECK(unstick_engine_free(NULL) == NULL, "free of NULL");
	close(fds[0]);
	CHECK(recv(fds[1], bytes, 1, 0) == 0, "the freed engine holds the socket");
}

static struct calls after_close;
static _Atomic int found_error;

/* Ends because of close; what it submits then is not taken. */
static void submit_again(struct unstick_op *op, long result, void *fd)
{
	struct unstick_request request = with_done(UNSTICK_RECV(*(int *)fd, bytes, 1), &after_close);
	(void)op;
	found_error = result == -ECANCELED ? unstick_engine_submit(engine(), &request, NULL) : 1;
}

static void submit_while_it_closes(void)
{
	int fds[2];
	make_unix(fds);
	struct unstick_request request = UNSTICK_RECV(fds[0], bytes, 1);
	request.done = submit_again;
	request.arg = &fds[0];
	CHECK(unstick_engine_submit(engine(), &request, NULL) == 0, "submit");
	settle();
	CHECK(unstick_engine_close(engine(), UNSTICK_NEVER, NULL) == 0, "close");
	CHECK(found_error == -ESHUTDOWN && after_close.count == 0, "submit in a callback while it closes: %d", found_error);
}

/* ---- fork */

static int look_at_it_in_child(struct unstick_op *op)
{
	struct unstick_op *mine;
	const struct unstick_request nop = UNSTICK_NOP();
	if (unstick_engine_submit(engine(), &nop, &mine) != -EOWNERDEAD ||
	    unstick_engine_submit_many(engine(), &nop, 1, &mine) != -EOWNERDEAD)
		return 1;
	if (unstick_op_wait(op, UNSTICK_NEVER) != -EOWNERDEAD)
		return 2;
	if (unstick_engine_close(engine(), UNSTICK_NEVER, NULL) != -EOWNERDEAD)
		return 3;
	unstick_op_cancel(op); /* does nothing here */
	return unstick_engine_free(engine()) == NULL ? 0 : 4;
}

static int new_one_in_child(void)
{
	struct unstick_engine *own;
	struct unstick_op *op;
	if (unstick_engine_new(&own, NULL) != 0 || unstick_engine_submit(own, &UNSTICK_NOP(), &op) != 0)
		return 5;
	if (unstick_op_wait(op, UNSTICK_NEVER) != 0 || unstick_op_result(op) != 0)
		return 6;
	return unstick_engine_close(own, UNSTICK_NEVER, NULL) == 0 ? 0 : 7;
}

static int status_of(pid_t pid)
{
	int status = -1;
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void forked_child(void)
{
	int fds[2];
	make_unix(fds);
	struct unstick_op *op = begin(&UNSTICK_RECV(fds[0], bytes, 8));
	settle();
	pid_t pid = fork();
	if (pid == 0) {
		int wrong = look_at_it_in_child(op);
		_exit(wrong || FAULT_TSAN ? wrong : new_one_in_child());
	}
	if (FAULT_TSAN) /* "dup thread with used id": it knows of the parent's threads */
		fault_note("the child's own engine is left out: TSan cannot have new threads in a child of many");
	int wrong = status_of(pid);
	CHECK(wrong == 0, "in the child: %d", wrong);
	CHECK(unstick_op_result(op) == -EINPROGRESS, "the child has cancelled it");
	put(fds[1], "abc");
	CHECK(end_of(op) == 3, "the parent's operation");
	CHECK(run(&UNSTICK_NOP()) == 0 && unstick_engine_close(engine(), UNSTICK_NEVER, NULL) == 0, "the parent's engine");
}

/* A process with an engine and a pending recv on `fd`, and a child of it that lives on, without that fd of its own. Tells the child's pid. */
_Noreturn static void live_with_child(int fd, int tell)
{
	begin(&UNSTICK_RECV(fd, bytes, 8));
	settle();
	pid_t child = fork();
	if (child == 0) {
		close(fd);
		child = getpid();
		CHECK(write(tell, &child, sizeof child) == sizeof child, "write");
	}
	for (;;)
		pause();
}

static void child_keeps_nothing_alive(void)
{
	int fds[2], tell[2];
	pid_t child;
	make_unix(fds);
	make_pipe(tell);
	pid_t owner = fork();
	if (owner == 0) {
		close(fds[1]);
		live_with_child(fds[0], tell[1]);
	}
	close(fds[0]);
	close(tell[1]);
	CHECK(read(tell[0], &child, sizeof child) == sizeof child, "the child's pid");
	CHECK(is_empty(fds[1]), "the socket ended too early");
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	fault_waiting_for("the socket to end, which the killed process had");
	CHECK(recv(fds[1], bytes, 1, 0) == 0, "recv");
	CHECK(kill(child, 0) == 0, "the child does not live any more");
	kill(child, SIGKILL);
}

static const struct fault cases[] = {
        {0, "one line to the log says which back end", says_its_back_end},
        {0, "the back end that UNSTICK_ENGINE asks for", back_end_as_told},
        {0, "the back end that the option asks for", back_end_by_option},
        {0, "submit_many: handles in order", submit_many},
        {0, "submit_many: those before the first bad one", submit_some},
        {0, "three workers, sixty sockets", three_workers},
        {0, "sixteen threads submit, wait and cancel", many_threads},
        {0, "two engines do not disturb each other; handles outlive theirs", two_engines},
        {0, "stats", statistics},
        {0, "close: what is pending ends with -ECANCELED, calls back, and nothing more is taken", close_cancels},
        {0, "free without close", free_without_close},
        {0, "a callback that submits while the engine closes: -ESHUTDOWN", submit_while_it_closes},
        {0, "fork: -EOWNERDEAD in the child, which can have its own; the parent's goes on", forked_child},
        {0, "fork: a child that lives on keeps nothing of a killed engine alive", child_keeps_nothing_alive},
};

SUITE_PART(suite_life);
