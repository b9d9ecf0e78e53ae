/* SPDX-License-Identifier: MIT
 *
 * Every operation that waits, and every way in which its wait ends. After each cut the same operation is made once more, and must find
 * all that there was: what was cut short has moved nothing and waits no more.
 */
#include "subject.h"
#include "suite.h"

/* It was cut short with nothing done; now it gets through. */
static void goes_through_later(const struct subject *subject, struct stage *stage, bool released)
{
	stage->request.deadline = 0;
	stage->request.token = NULL;
	if (!released)
		subject->release(stage);
	if (!released && subject->renew)
		subject->renew(stage);
	subject->check(stage, run(&stage->request));
}

static void ready(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	subject->release(&stage);
	subject->check(&stage, run(&stage.request));
}

static void check_late(const struct subject *subject, struct stage *stage)
{
	struct unstick_op *op = begin(&stage->request);
	settle();
	CHECK(unstick_op_result(op) == -EINPROGRESS, "did not wait: %ld", unstick_op_result(op));
	subject->release(stage);
	subject->check(stage, end_of(op));
}

static void late(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	stage.request.deadline = unstick_after_ms(3600 * 1000);
	check_late(subject, &stage);
}

static void late_on_nonblocking(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	if (stage.request.opcode != UNSTICK_OP_OPENAT)
		set_nonblock(stage.request.fd, true);
	if (subject == &connect_unix) { /* a full backlog announces nothing that could be waited for: as connect(2) has it */
		long result = run(&stage.request);
		CHECK(result == -EAGAIN, "result %ld", result);
		return;
	}
	check_late(subject, &stage);
}

static void by_cancel(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	struct unstick_op *op = begin(&stage.request);
	settle();
	long result = cancelled(op);
	CHECK(result == -ECANCELED, "result %ld", result);
	goes_through_later(subject, &stage, false);
}

/* Not pending yet, as like as not. */
static void by_instant_cancel(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	long result = cancelled(begin(&stage.request));
	CHECK(result == -ECANCELED, "result %ld", result);
	goes_through_later(subject, &stage, false);
}

static void by_deadline(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	stage.request.deadline = unstick_after_ms(20);
	unstick_time deadline = stage.request.deadline;
	long result = run(&stage.request);
	CHECK(unstick_now() >= deadline, "ended before its deadline");
	CHECK(result == -ETIMEDOUT, "result %ld", result);
	goes_through_later(subject, &stage, false);
}

static void by_past_deadline(const struct subject *subject)
{
	struct stage stage;
	stage_make(&stage, subject);
	subject->release(&stage);
	stage.request.deadline = unstick_now() - 1;
	long result = run(&stage.request);
	CHECK(result == -ETIMEDOUT, "result %ld", result);
	goes_through_later(subject, &stage, true);
}

static void by_fired_token(const struct subject *subject)
{
	struct stage stage;
	struct unstick_token *token = token_make(NULL);
	stage_make(&stage, subject);
	subject->release(&stage);
	stage.request.token = token;
	unstick_token_cancel(token);
	long result = run(&stage.request);
	CHECK(result == -ECANCELED, "result %ld", result);
	unstick_token_unref(token);
	goes_through_later(subject, &stage, true);
}

static void by_token(const struct subject *subject)
{
	struct stage stage;
	struct unstick_token *token = token_make(NULL);
	stage_make(&stage, subject);
	stage.request.token = token;
	struct unstick_op *op = begin(&stage.request);
	settle();
	unstick_token_cancel(token);
	long result = end_of(op);
	CHECK(result == -ECANCELED, "result %ld", result);
	unstick_token_unref(token);
	goes_through_later(subject, &stage, false);
}

/* The caller's reference to the token is given up before. */
static void by_parent_of_token(const struct subject *subject)
{
	struct stage stage;
	struct unstick_token *parent = token_make(NULL), *token = token_make(parent);
	stage_make(&stage, subject);
	stage.request.token = token;
	struct unstick_op *op = begin(&stage.request);
	unstick_token_unref(token);
	settle();
	unstick_token_cancel(parent);
	long result = end_of(op);
	CHECK(result == -ECANCELED, "result %ld", result);
	unstick_token_unref(parent);
	goes_through_later(subject, &stage, false);
}

static void by_deadline_of_token(const struct subject *subject)
{
	struct stage stage;
	struct unstick_token *token = token_make(NULL);
	stage_make(&stage, subject);
	stage.request.token = token;
	struct unstick_op *op = begin(&stage.request);
	unstick_time deadline = unstick_after_ms(20);
	CHECK(unstick_token_set_deadline(token, deadline) == 0, "set_deadline");
	long result = end_of(op);
	CHECK(unstick_now() >= deadline, "ended before the token's deadline");
	CHECK(result == -ETIMEDOUT, "result %ld", result);
	unstick_token_unref(token);
	goes_through_later(subject, &stage, false);
}

/* ---- the table: every subject in every way */

#define EVERY_WAY(X, subject)                                       \
	X(subject, ready, "ready")                                  \
	X(subject, late, "late")                                    \
	X(subject, late_on_nonblocking, "late, with O_NONBLOCK")    \
	X(subject, by_cancel, "cancelled while it waits")           \
	X(subject, by_instant_cancel, "cancelled at once")          \
	X(subject, by_deadline, "its deadline passes")              \
	X(subject, by_past_deadline, "its deadline is in the past") \
	X(subject, by_fired_token, "its token has fired")           \
	X(subject, by_token, "its token fires")                     \
	X(subject, by_parent_of_token, "its token's parent fires")  \
	X(subject, by_deadline_of_token, "its token's deadline passes")

#define DEFINE(subject, way, text)        \
	static void subject##_##way(void) \
	{                                 \
		way(&subject);            \
	}
#define DEFINE_ALL(subject) EVERY_WAY(DEFINE, subject)
EVERY_SUBJECT(DEFINE_ALL)

#define ROW(subject, way, text) {0, #subject ": " text, subject##_##way},
#define ROWS(subject) EVERY_WAY(ROW, subject)
static const struct fault cases[] = {EVERY_SUBJECT(ROWS)};

SUITE_PART(suite_waits);
