/* SPDX-License-Identifier: MIT
 *
 * Trials without a scope: unstick_thread_interrupt() and unstick_look() on a thread that has never heard of the library.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "trial_inside.h"

/* Woken, it must still be there when the library looks what became of it. */
static void linger(void *arg)
{
	struct trial *trial = arg;
	while (sem_wait(&trial->told))
		;
}

/* A foreign loop, or a library function's, makes its call again after a single EINTR. */
static bool makes_it_again(const struct trial *trial)
{
	const struct situation *what = trial->what;
	bool eintr = what->cut == STUCK_CUT_EINTR || what->flags & STUCK_SCOPE_ONLY;
	return what->cut == STUCK_CUT_FAILS ||
	       (trial->way != STUCK_OWN && eintr && (trial->way == STUCK_RETRY || what->flags & STUCK_NO_RETRY));
}

static void check_truth(struct trial *trial, const struct unstick_outcome *outcome)
{
	const struct situation *what = trial->what;
	char line[200];
	bool kind = trial_has_kind(what, outcome->kind);
	if (makes_it_again(trial))
		kind = kind || outcome->kind == UNSTICK_LOOPING || outcome->kind == UNSTICK_WOKEN;
	if (!kind)
		trial_complain(trial, "outcome %s", unstick_kind_name(outcome->kind));
	if (outcome->tid != stuck_tid(trial->stuck))
		trial_complain(trial, "outcome's tid %d", (int)outcome->tid);
	bool outside = what->nr[0] < 0 && outcome->nr < 0;
	if (!outside && !situation_has_nr(what, outcome->nr))
		trial_complain(trial, "outcome's call %ld", outcome->nr);
	if (what->flags & STUCK_UNTOUCHED && outcome->signals)
		trial_complain(trial, "it got %u signals", outcome->signals);
	if (outcome->kind == UNSTICK_WOKEN && !outcome->signals)
		trial_complain(trial, "woken by no signal");
	if (outcome->ns < 0 || unstick_outcome_print(outcome, line, sizeof line) <= 0)
		trial_complain(trial, "outcome without a time, or that cannot be printed");
}

static void check_interrupted(struct trial *trial, const struct unstick_outcome *outcome)
{
	const struct situation *what = trial->what;
	/* A count shows who ended it only to the kernel. */
	bool counted = what->cut == STUCK_CUT_COUNT && outcome->kind == UNSTICK_FINISHED_FIRST;
	bool out = (outcome->kind == UNSTICK_WOKEN || counted) && !makes_it_again(trial);
	if (out && stuck_wait_done(trial->stuck, PATIENCE_MS))
		trial_describe(trial, "said to be woken, but it stays");
	if (what->cut == STUCK_CUT_NEVER && !stuck_is_blocked(trial->stuck))
		trial_describe(trial, "it did not stay");
	/* One that asks again must have asked before it can be answered. */
	if (makes_it_again(trial) && stuck_wait_blocked(trial->stuck) == -ETIMEDOUT)
		trial_describe(trial, "neither out nor blocked");
	bool over = stuck_is_done(trial->stuck) || (!stuck_is_blocked(trial->stuck) && stuck_wait_done(trial->stuck, 200) == 0);
	if (!over)
		trial_release(trial);
	long r = stuck_result(trial->stuck);
	bool eintr_will_do = what->cut == STUCK_CUT_EINTR || what->flags & STUCK_SCOPE_ONLY || what->cut == STUCK_CUT_FAILS;
	if (out ? !trial_is_cut(trial, r, -ECANCELED) && !(eintr_will_do && r == -EINTR)
	        : r != what->done && !(eintr_will_do && (r == -EINTR || r == -ECANCELED)) &&
	                    !(what->cut == STUCK_CUT_FAILS && r < 0))
		trial_complain(trial, "result %ld, outcome %s", r, unstick_kind_name(outcome->kind));
	if (!HANDLERS_ARE_LATE && out && outcome->error && r != outcome->error && what->cut != STUCK_CUT_COUNT)
		trial_complain(trial, "the outcome's error %d is not the result %ld", outcome->error, r);
}

static void interrupt(struct trial *trial)
{
	struct unstick_thread *thread = NULL;
	struct unstick_outcome outcome = {0};
	bool freeable = trial_has_kind(trial->what, UNSTICK_WOKEN);
	int r = unstick_thread_find(&thread, stuck_tid(trial->stuck));
	if (r) {
		sem_post(&trial->told);
		trial_complain(trial, "thread_find: %d", r);
		return;
	}
	r = unstick_thread_interrupt(thread, unstick_after_ms(freeable ? PATIENCE_MS : 300), &outcome);
	sem_post(&trial->told);
	if (r)
		trial_complain(trial, "thread_interrupt: %d", r);
	else
		check_truth(trial, &outcome);
	check_interrupted(trial, &outcome);
	unstick_thread_unref(thread);
}

static void look_at(struct trial *trial)
{
	const struct situation *what = trial->what;
	struct unstick_report report = {0};
	int r = unstick_look(0, stuck_tid(trial->stuck), &report);
	if (r)
		trial_complain(trial, "look: %d", r);
	else if (report.tid != stuck_tid(trial->stuck) || report.pid != getpid())
		trial_complain(trial, "look: pid %d tid %d", (int)report.pid, (int)report.tid);
	else if (!situation_has_nr(what, report.nr))
		trial_complain(trial, "look: call %ld", report.nr);
	else if (!what->settle && !trial_has_kind(what, report.expect)) /* that a supervisor has taken the request cannot be seen */
		trial_complain(trial, "look: expects %s: %s", unstick_kind_name(report.expect), report.why);
	else if (report.freeable == 1 && report.expect != UNSTICK_WOKEN)
		trial_complain(trial, "look: freeable, but expects %s", unstick_kind_name(report.expect));
	else if (report.freeable != 1 && !report.why[0])
		trial_complain(trial, "look: not freeable, and no reason");
	if (!stuck_is_blocked(trial->stuck))
		trial_describe(trial, "the look disturbed it");
	trial_release(trial);
	if (stuck_result(trial->stuck) != what->done)
		trial_complain(trial, "result %ld after the look", stuck_result(trial->stuck));
}

void trial_alone(struct trial *trial)
{
	if (trial->moment == MOMENT_INTERRUPT)
		stuck_set_hooks(trial->stuck, NULL, linger, trial);
	int r = stuck_start(trial->stuck);
	if (r)
		trial_complain(trial, "no thread: %s", strerror(-r));
	else if (trial_await_blocked(trial) && trial->moment == MOMENT_LOOK)
		look_at(trial);
	else if (!trial->why[0])
		interrupt(trial);
}
