/* SPDX-License-Identifier: MIT
 *
 * `unstick wake` on every situation of the matrix (tests/stuck): each blocked call that may be ended returns the expected errno; each of
 * the others is refused, with its thread not even switched once more and its state letter what it was.
 *
 * usage: wake_matrix [NAME]...
 */
#include "target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "situations.h"

enum fate {
	FREED,    /* its call returns `error` */
	FINISHED, /* its call returns what it has moved */
	RETRIES,  /* its call returns `error` to a library function that goes on */
	REFUSED,
	STAYS, /* it cannot be told beforehand that it cannot be stopped */
};

struct expected {
	enum fate fate;
	int error;
};

static bool waits_for_child(const struct situation *what)
{
	return what->nr[0] == SYS_wait4 || what->nr[0] == SYS_waitid;
}

/* The table says what a signal comes to; a tracer also gets past signal masks. */
static struct expected expect(const struct situation *what)
{
	if (strcmp(what->name, "seccomp-read-killable") == 0)
		return (struct expected){STAYS, 0};
	if (what->kind[0] == UNSTICK_EVENT_LOOP)
		return (struct expected){REFUSED, EINTR};
	if (what->kind[0] == UNSTICK_SIGNAL_BLOCKED)
		return (struct expected){FREED, ECANCELED};
	if (strcmp(what->group, "libc") == 0 && waits_for_child(what))
		return (struct expected){RETRIES, EINTR};
	switch (what->cut) {
	case STUCK_CUT_REASON:
		return (struct expected){FREED, waits_for_child(what) ? EINTR : ECANCELED};
	case STUCK_CUT_EINTR:
		return (struct expected){FREED, EINTR};
	case STUCK_CUT_COUNT:
		return (struct expected){FINISHED, 0};
	case STUCK_CUT_FAILS:
		return (struct expected){RETRIES, ECANCELED};
	default:
		return (struct expected){REFUSED, 0};
	}
}

static void check_freed(const struct situation *what, const struct target *target, struct expected expected)
{
	struct ran ran;
	long result = 1;
	const char *word = target_word(target);

	command_run(&ran, "wake", word, NULL);
	bool ended = target_ended(target, expected.fate == RETRIES ? 0 : 5000, &result);
	bool ok = ran.status == 0 && ran.err[0] == '\0';
	if (expected.fate == FREED)
		ok = ok && ended && result == -expected.error && strstr(ran.out, strerrorname_np(expected.error));
	else if (expected.fate == FINISHED)
		ok = ok && ended && (what->count >= 0 ? result == what->count : result >= 0 || result == -ECANCELED);
	else
		ok = ok && strstr(ran.out, strerrorname_np(expected.error));
	point(ok, what->name, "status %d, %s %ld\n%s%s", ran.status, ended ? "ended" : "not ended", result, ran.out, ran.err);
}

static bool is_unmoved(const struct target *target, char state, int64_t switches)
{
	return thread_state(target->pid, target->tid) == state &&
	       (state == 'R' || thread_switches(target->pid, target->tid) == switches);
}

static void check_refused(const struct situation *what, const struct target *target, struct expected expected)
{
	char state = thread_state(target->pid, target->tid), name[64];
	int64_t switches = thread_switches(target->pid, target->tid);
	struct ran ran;
	long result = 1;

	command_run(&ran, "wake", target_word(target), NULL);
	bool ended = target_ended(target, 0, &result), unmoved = is_unmoved(target, state, switches);
	point(ran.status == 1 && ran.out[0] == '\0' && strstr(ran.err, target_word(target)) && !ended && unmoved, what->name,
	      "status %d, ended %d %ld, unmoved %d (%c)\n%s%s", ran.status, ended, result, unmoved, state, ran.out, ran.err);
	if (expected.error != EINTR)
		return;
	snprintf(name, sizeof(name), "%s, --yes-event-loop", what->name);
	command_run(&ran, "wake", "--yes-event-loop", "--error", "ETIMEDOUT", target_word(target), NULL);
	bool refused = ran.status == 1 && !target_ended(target, 0, &result) && is_unmoved(target, state, switches);
	command_run(&ran, "wake", "--yes-event-loop", target_word(target), NULL);
	ended = target_ended(target, 5000, &result);
	point(refused && ran.status == 0 && ended && result == -EINTR, name,
	      "refused another error %d, status %d, ended %d %ld\n%s%s", refused, ran.status, ended, result, ran.out, ran.err);
}

static void check_stays(const struct situation *what, const struct target *target)
{
	struct ran ran;
	long result = 1;

	command_run(&ran, "wake", target_word(target), NULL);
	bool ended = target_ended(target, 0, &result);
	bool left = COMES_TRUE(thread_tracer(target->pid, target->tid) == 0);
	point(ran.status == 1 && !ended && left && thread_in_call(target->pid, target->tid, what->nr[0]), what->name,
	      "status %d, ended %d %ld, left %d\n%s%s", ran.status, ended, result, left, ran.out, ran.err);
}

static void check(const struct situation *what)
{
	struct expected expected = expect(what);
	struct target target;

	if (!target_start(&target, what->name, NULL)) {
		point_skip(what->name, "it cannot be made here, see above");
		return;
	}
	if (expected.fate == REFUSED)
		check_refused(what, &target, expected);
	else if (expected.fate == STAYS)
		check_stays(what, &target);
	else
		check_freed(what, &target, expected);
	if (!target_end(&target))
		printf("# %s: it could not undo what it had made\n", what->name);
}

int main(int argc, char **argv)
{
	const struct situation *what;

	for (size_t i = 0; (what = situation_at(i)); i++) {
		bool wanted = argc < 2;
		for (int k = 1; k < argc; k++)
			wanted = wanted || strcmp(argv[k], what->name) == 0;
		if (wanted)
			check(what);
	}
	return points_end();
}
