/* SPDX-License-Identifier: MIT
 *
 * Trials in a scope: the stuck thread begins and ends it, in the hooks; the trial's thread fires, releases and looks.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "trial_inside.h"

static void enter(void *arg)
{
	struct trial *trial = arg;
	atomic_store(&trial->thread, unstick_thread_self());
	unstick_time deadline = UNSTICK_NEVER;
	if (trial->moment == MOMENT_DEADLINE)
		trial->deadline = deadline = unstick_after_ms(20);
	trial->begin_error = unstick_scope_begin(&trial->scope, trial->token, deadline);
}

static void leave(void *arg)
{
	struct trial *trial = arg;
	struct timespec span = {.tv_nsec = 1000000};
	trial->out_at = unstick_now();
	if (trial->moment == MOMENT_AFTER)
		unstick_token_cancel(trial->token);
	trial->scope_error = unstick_scope_end(&trial->scope);
	/* Nothing of the scope may hit what follows. */
	trial->stray = nanosleep(&span, NULL) ? errno : 0;
}

/* Whether a fired scope gets it out. */
static bool can_be_cut(const struct trial *trial)
{
	const struct situation *what = trial->what;
	if (trial->way == STUCK_OWN)
		return !(what->flags & STUCK_OWN_STAYS) || trial->moment == MOMENT_BEFORE;
	return what->cut != STUCK_CUT_NEVER && !(trial->way == STUCK_RETRY && what->cut == STUCK_CUT_EINTR);
}

static void check_end(struct trial *trial, int error, int or_error)
{
	if (trial->begin_error)
		trial_complain(trial, "scope_begin: %d", trial->begin_error);
	if (trial->scope_error != error && trial->scope_error != or_error)
		trial_complain(trial, "scope_end: %d, not %d", trial->scope_error, error);
	if (trial->stray)
		trial_complain(trial, "after scope_end the next call got %s", strerror(trial->stray));
	if (trial->deadline && stuck_result(trial->stuck) == -ETIMEDOUT && trial->out_at < trial->deadline)
		trial_complain(trial, "out %lld ns before its deadline", (long long)(trial->deadline - trial->out_at));
	int r = unstick_token_error(trial->token) ? unstick_token_wait(trial->token, unstick_after_ms(PATIENCE_MS)) : 0;
	if (r)
		trial_complain(trial, "token_wait after the scope's end: %d", r);
}

/* wait4 and its like leave a child behind: it must be named, and be real. */
static void check_child(struct trial *trial)
{
	struct unstick_outcome outcome = {0};
	pid_t expected = stuck_child(trial->stuck);
	int r = unstick_thread_outcome(trial->thread, &outcome);
	if (r || outcome.child <= 0 || (expected > 0 && outcome.child != expected)) {
		trial_complain(trial, "the outcome names child %d, not %d", r ? r : (int)outcome.child, (int)expected);
		return;
	}
	if (expected > 0)
		return;
	r = stuck_release(trial->stuck); /* system(), pclose(): the shell gets the line that it waits for */
	if (r || waitpid(outcome.child, NULL, 0) != outcome.child)
		trial_complain(trial, "child %d is none of ours", (int)outcome.child);
}

static void expect_cut(struct trial *trial)
{
	if (stuck_wait_done(trial->stuck, PATIENCE_MS)) {
		trial_describe(trial, "it stays");
		trial_release(trial);
		return;
	}
	long r = stuck_result(trial->stuck);
	if (!trial_is_cut(trial, r, trial->reason))
		trial_complain(trial, "result %ld", r);
	/* Only the kernel knows that it would have moved more. */
	bool unseen = trial->what->cut == STUCK_CUT_COUNT && r >= 0;
	check_end(trial, trial->reason, unseen ? 0 : trial->reason);
	if (trial->what->flags & STUCK_CHILD && trial->way != STUCK_OWN)
		check_child(trial);
}

/* Waits until the library has tried and said so. */
static void await_attempt(struct trial *trial, struct unstick_outcome *outcome)
{
	struct timespec span = {.tv_nsec = 500000};
	bool repeated = trial->what->cut == STUCK_CUT_EINTR;
	for (int round = 0; round < PATIENCE_MS; round++) { /* half of it */
		if (unstick_thread_outcome(trial->thread, outcome))
			break;
		if (repeated ? outcome->signals > 0 : trial_has_kind(trial->what, outcome->kind))
			return;
		nanosleep(&span, NULL);
	}
	trial_describe(trial, "no outcome, or a wrong one");
}

/* It stays blocked, whatever is tried, and then ends as if nothing had been. */
static void expect_stay(struct trial *trial)
{
	struct unstick_outcome outcome = {0};
	bool repeated = trial->what->cut == STUCK_CUT_EINTR, spins = situation_has_nr(trial->what, -2);
	if (!spins)
		await_attempt(trial, &outcome);
	if (trial->what->flags & STUCK_UNTOUCHED && outcome.signals)
		trial_complain(trial, "it got %u signals", outcome.signals);
	/* One that repeats its call may be seen between two of them. */
	if (!repeated && !stuck_is_blocked(trial->stuck))
		trial_describe(trial, "it did not stay");
	trial_release(trial);
	if (stuck_result(trial->stuck) != trial->what->done)
		trial_complain(trial, "result %ld after release, not %ld", stuck_result(trial->stuck), trial->what->done);
	check_end(trial, 0, repeated ? trial->reason : 0);
	/* Left alone as long as it computes, but a signal that was sent is an attempt, with an outcome. */
	if (spins && unstick_thread_outcome(trial->thread, &outcome) == 0 && outcome.signals && outcome.kind != UNSTICK_NOT_BLOCKED)
		trial_complain(trial, "%u signals, outcome %s", outcome.signals, unstick_kind_name(outcome.kind));
}

static void expect_finished(struct trial *trial)
{
	trial_release(trial);
	if (stuck_result(trial->stuck) != trial->what->done)
		trial_complain(trial, "result %ld, not %ld", stuck_result(trial->stuck), trial->what->done);
	check_end(trial, 0, 0);
}

/* Exactly one outcome: done, or cut short; and scope_end agrees with the result. */
static void expect_one_outcome(struct trial *trial)
{
	const struct situation *what = trial->what;
	int released = stuck_release(trial->stuck);
	unstick_token_cancel(trial->token);
	if (stuck_wait_done(trial->stuck, PATIENCE_MS))
		trial_describe(trial, "it stays");
	long r = stuck_result(trial->stuck);
	bool cut = trial_is_cut(trial, r, trial->reason), done = r == what->done;
	if (!cut && !done)
		trial_complain(trial, "result %ld", r);
	if (done && released)
		trial_complain(trial, "release: %s, and yet it is done", strerror(-released));
	/* Where both look the same, or where the function makes more calls than one, the scope may have either. */
	bool vague = (cut && done) || what->cut == STUCK_CUT_COUNT || what->cut == STUCK_CUT_EINTR || !strcmp(what->group, "libc");
	check_end(trial, done ? 0 : trial->reason, vague ? trial->reason : done ? 0 : trial->reason);
	if (vague && trial->scope_error != 0 && trial->scope_error != trial->reason)
		trial_complain(trial, "scope_end: %d", trial->scope_error);
}

void trial_in_scope(struct trial *trial)
{
	bool timed = trial->moment == MOMENT_DEADLINE || trial->moment == MOMENT_TOKEN_DEADLINE;
	bool cut = can_be_cut(trial);
	trial->reason = timed ? -ETIMEDOUT : -ECANCELED;
	stuck_set_hooks(trial->stuck, enter, leave, trial);
	if (trial->moment == MOMENT_BEFORE)
		unstick_token_cancel(trial->token);
	int r = stuck_start(trial->stuck);
	if (r) {
		trial_complain(trial, "no thread: %s", strerror(-r));
		return;
	}
	bool seen = (trial->moment == MOMENT_BEFORE || trial->moment == MOMENT_DEADLINE) && cut;
	if (!seen && !trial_await_blocked(trial))
		return;
	if (trial->moment == MOMENT_DURING)
		unstick_token_cancel(trial->token);
	if (trial->moment == MOMENT_TOKEN_DEADLINE) {
		unstick_time when = unstick_after_ms(10);
		trial->deadline = when; /* read by the checks only */
		r = unstick_token_set_deadline(trial->token, when);
		if (r)
			trial_complain(trial, "token_set_deadline: %d", r);
	}
	if (trial->moment == MOMENT_AFTER)
		expect_finished(trial);
	else if (trial->moment == MOMENT_RACE)
		expect_one_outcome(trial);
	else if (cut)
		expect_cut(trial);
	else
		expect_stay(trial);
}
