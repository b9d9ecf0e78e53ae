/* SPDX-License-Identifier: MIT
 *
 * What must become of a stuck thread, checked: result, scope_end's error, outcome, no collateral, the truth of what is reported.
 * Invariants: nothing here asserts a duration, except that a deadline is never early. Where the public contract leaves room, all that it
 * allows is accepted, and nothing else.
 * This file: what every trial needs. What it does not do: know about scopes (trial_scope.c) or interrupts (trial_alone.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "trial_inside.h"

static const char *const names[MOMENTS] = {
        [MOMENT_BEFORE] = "before",       [MOMENT_DURING] = "during",     [MOMENT_AFTER] = "after",
        [MOMENT_RACE] = "race",           [MOMENT_DEADLINE] = "deadline", [MOMENT_TOKEN_DEADLINE] = "token-deadline",
        [MOMENT_INTERRUPT] = "interrupt", [MOMENT_LOOK] = "look",
};

const char *moment_name(enum moment moment)
{
	return names[moment];
}

bool trial_makes_sense(const struct situation *what, enum stuck_way way, enum moment moment)
{
	if (!situation_has(what, way))
		return false;
	/* Before it has settled it can be freed, and is not yet what it is meant to be. */
	if (moment == MOMENT_BEFORE || moment == MOMENT_DEADLINE)
		return !what->settle;
	return moment != MOMENT_LOOK || way == STUCK_FOREIGN;
}

void trial_complain(struct trial *trial, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	size_t used = strlen(trial->why);
	if (used && used + 3 < trial->room)
		used += (size_t)snprintf(trial->why + used, trial->room - used, "; ");
	vsnprintf(trial->why + used, trial->room - used, format, args);
	va_end(args);
}

bool trial_has_kind(const struct situation *what, int kind)
{
	return kind == (what->kind[0] ? what->kind[0] : UNSTICK_WOKEN) || (what->kind[1] && kind == what->kind[1]);
}

bool trial_is_cut(const struct trial *trial, long r, int reason)
{
	const struct situation *what = trial->what;
	if (HANDLERS_ARE_LATE && r == -EINTR && (trial->way != STUCK_OWN || trial->moment == MOMENT_INTERRUPT))
		return true;
	bool own = trial->way == STUCK_OWN, moved = r >= 0 && (what->count == -1 || r == what->count);
	/* An own call begins nothing once its scope has fired; a foreign one moves what it can. */
	if (what->cut == STUCK_CUT_COUNT && own)
		return trial->moment == MOMENT_BEFORE
		               ? r == reason
		               : moved || (r == reason && (what->count == -1 || trial->moment == MOMENT_DEADLINE));
	if (own || what->cut == STUCK_CUT_REASON)
		return r == reason;
	if (what->cut == STUCK_CUT_COUNT)
		return moved || (what->count == -1 && r == reason);
	return what->cut == STUCK_CUT_EINTR ? r == -EINTR : what->cut == STUCK_CUT_FAILS && r < 0 && r != what->done;
}

void trial_describe(struct trial *trial, const char *wrong)
{
	struct unstick_outcome outcome = {0};
	char line[200] = "";
	struct unstick_thread *thread = atomic_load(&trial->thread);
	if (thread && unstick_thread_outcome(thread, &outcome) == 0)
		unstick_outcome_print(&outcome, line, sizeof line);
	bool blocked = stuck_is_blocked(trial->stuck);
	trial_complain(trial, "%s (%s, call %ld, state %c; outcome %s: %s)", wrong, blocked ? "blocked" : "not blocked",
	               stuck_nr(trial->stuck), stuck_state(trial->stuck), unstick_kind_name(outcome.kind), line);
}

void trial_release(struct trial *trial)
{
	int r = stuck_release(trial->stuck);
	if (r)
		trial_complain(trial, "release: %s", strerror(-r));
	if (stuck_wait_done(trial->stuck, PATIENCE_MS))
		trial_describe(trial, "released, but it does not come out");
}

bool trial_await_blocked(struct trial *trial)
{
	int r = stuck_wait_blocked(trial->stuck);
	if (!r)
		return true;
	trial_complain(trial, "not blocked: %s (call %ld, state %c, result %ld)", strerror(-r), stuck_nr(trial->stuck),
	               stuck_state(trial->stuck), stuck_result(trial->stuck));
	return false;
}

/* Where only an errno helps, and none can be given. */
static bool needs_errno(const struct situation *what, enum stuck_way way, enum moment moment)
{
	bool swallows = way == STUCK_RETRY || (way == STUCK_FOREIGN && what->flags & STUCK_NO_RETRY);
	bool fires = moment != MOMENT_AFTER && moment != MOMENT_LOOK;
	return swallows && fires && what->cut != STUCK_CUT_NEVER && what->cut != STUCK_CUT_EINTR;
}

enum verdict trial_run(const struct situation *what, enum stuck_way way, enum moment moment, char *why, size_t size)
{
	struct trial trial = {.what = what, .way = way, .moment = moment, .why = why, .room = size};
	why[0] = '\0';
	if (HANDLERS_ARE_LATE && needs_errno(what, way, moment)) {
		snprintf(why, size, "ThreadSanitizer defers handlers: no errno can be given");
		return TRIAL_SKIPPED;
	}
	if (stuck_new(&trial.stuck, what, way)) {
		snprintf(why, size, "%s", stuck_why_not());
		return TRIAL_SKIPPED;
	}
	sem_init(&trial.told, 0, 0);
	int r = unstick_token_new(&trial.token, NULL);
	if (r)
		trial_complain(&trial, "token_new: %d", r);
	else if (moment == MOMENT_INTERRUPT || moment == MOMENT_LOOK)
		trial_alone(&trial);
	else
		trial_in_scope(&trial);
	if (stuck_free(trial.stuck))
		trial_complain(&trial, "the thread could not be ended");
	unstick_thread_unref(atomic_load(&trial.thread));
	unstick_token_unref(trial.token);
	sem_destroy(&trial.told);
	return why[0] ? TRIAL_FAILED : TRIAL_PASSED;
}
