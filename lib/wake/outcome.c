/* SPDX-License-Identifier: MIT
 *
 * Outcomes: kept in a sequence-locked box, and said in one line.
 */
#include "wake/outcome.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/calls.h"

#define OUTCOME_WORDS (sizeof(struct unstick_outcome) / sizeof(uint64_t))
_Static_assert(sizeof(struct unstick_outcome) % sizeof(uint64_t) == 0 && OUTCOME_WORDS <= SEQBOX_WORDS, "a box of words");

void outcome_store(struct seqbox *box, const struct unstick_outcome *outcome)
{
	uint64_t words[OUTCOME_WORDS];
	memcpy(words, outcome, sizeof words);
	seqbox_write(box, words, OUTCOME_WORDS);
}

void outcome_load(const struct seqbox *box, struct unstick_outcome *outcome)
{
	uint64_t words[OUTCOME_WORDS];
	while (!seqbox_read(box, words, OUTCOME_WORDS))
		;
	memcpy(outcome, words, sizeof *outcome);
}

/* ---- words */

static const char *const kind_names[] = {
        [UNSTICK_NONE] = "no attempt",
        [UNSTICK_WOKEN] = "woken",
        [UNSTICK_FINISHED_FIRST] = "finished first",
        [UNSTICK_NOT_BLOCKED] = "not blocked",
        [UNSTICK_LOCK] = "lock",
        [UNSTICK_EVENT_LOOP] = "event loop",
        [UNSTICK_UNINTERRUPTIBLE] = "uninterruptible",
        [UNSTICK_SIGNAL_BLOCKED] = "signal blocked",
        [UNSTICK_HANDLER_REPLACED] = "handler replaced",
        [UNSTICK_STOPPED] = "stopped",
        [UNSTICK_LOOPING] = "looping",
        [UNSTICK_NOT_INSPECTABLE] = "not inspectable",
        [UNSTICK_GONE] = "gone",
        [UNSTICK_LEFT_ALONE] = "left alone",
        [UNSTICK_SHIELDED] = "shielded",
};

static const char *const kind_advice[] = {
        [UNSTICK_NONE] = "no attempt was made",
        [UNSTICK_WOKEN] = "freed",
        [UNSTICK_FINISHED_FIRST] = "the call ended by itself",
        [UNSTICK_NOT_BLOCKED] = "it computes, in no call: let its loop call unstick_check()",
        [UNSTICK_LOCK] = "a lock: only its owner can free it; a condition: who signals it",
        [UNSTICK_EVENT_LOOP] = "an event loop's wait: it got EINTR and waits again; wake it through an fd that it watches",
        [UNSTICK_UNINTERRUPTIBLE] = "no signal can end this call: see to what it waits for",
        [UNSTICK_SIGNAL_BLOCKED] = "the thread blocks our signal: unblock it there, or choose another with UNSTICK_SIGNAL",
        [UNSTICK_HANDLER_REPLACED] = "our signal's handler was replaced: choose another signal with UNSTICK_SIGNAL",
        [UNSTICK_STOPPED] = "stopped by SIGSTOP, a tracer or a freezer: let it continue",
        [UNSTICK_LOOPING] = "the same call was ended three times and made again: the code around it retries for ever",
        [UNSTICK_NOT_INSPECTABLE] = "/proc does not show its call: it got a plain EINTR; mount /proc, or use UNSTICK_KEEP_PROC_FD",
        [UNSTICK_GONE] = "the thread has ended",
        [UNSTICK_LEFT_ALONE] = "this call must not be cut short",
        [UNSTICK_SHIELDED] =
                "behind a shield: its clean-up has not ended, nothing is done to it; raise grace_ns, or give it a scope of its own",
};

enum { KINDS = sizeof kind_names / sizeof kind_names[0] };
_Static_assert(sizeof kind_advice == sizeof kind_names, "one line a kind");

const char *unstick_kind_name(int kind)
{
	return kind >= 0 && kind < KINDS ? kind_names[kind] : "unknown";
}

const char *outcome_advice(int kind)
{
	return kind >= 0 && kind < KINDS ? kind_advice[kind] : "unknown outcome";
}

/* "no attempt was made" is not so if a signal is on its way. */
const char *outcome_meaning(const struct unstick_outcome *outcome)
{
	const bool under_way = outcome->kind == UNSTICK_NONE && outcome->signals;
	return under_way ? "it was sent a signal, and has not come out yet" : outcome_advice(outcome->kind);
}

static const char *error_name(int error)
{
	const char *name = strerrorname_np(-error);
	return name ? name : "?";
}

void outcome_where(const struct unstick_outcome *outcome, char *buf, size_t size)
{
	const struct call *call = call_find(outcome->nr);
	char fd[24] = "", wait[48] = "", number[32];
	buf[0] = '\0';
	if (outcome->nr < 0)
		return;
	snprintf(number, sizeof number, "call %ld", outcome->nr);
	if (outcome->fd >= 0)
		snprintf(fd, sizeof fd, " on fd %d", outcome->fd);
	if (outcome->wait[0])
		snprintf(wait, sizeof wait, " (%.39s)", outcome->wait);
	snprintf(buf, size, " in %s%s%s", call ? call->name : number, fd, wait);
}

/* Whose handler it is now, or whose child is left. */
static void print_who(const struct unstick_outcome *outcome, char *buf, size_t size)
{
	Dl_info info;
	buf[0] = '\0';
	if (outcome->kind == UNSTICK_HANDLER_REPLACED) {
		uintptr_t handler = (uintptr_t)outcome->handler;
		if (handler <= 1)
			snprintf(buf, size, " (by %s)", handler ? "SIG_IGN" : "SIG_DFL");
		else if (dladdr(outcome->handler, &info) && info.dli_fname)
			snprintf(buf, size, " (by %s in %s)", info.dli_sname ? info.dli_sname : "a handler", info.dli_fname);
	} else if (outcome->child > 0) {
		snprintf(buf, size, "; child %d lives on", (int)outcome->child);
	}
}

int unstick_outcome_print(const struct unstick_outcome *outcome, char *buf, size_t size)
{
	char where[128], who[256], error[24] = "";
	if (!outcome || (!buf && size))
		return -EINVAL;
	if (!outcome->tid) /* a job that never ran, or in which nothing was cut short */
		return snprintf(buf, size, "%s", outcome_meaning(outcome));
	outcome_where(outcome, where, sizeof where);
	print_who(outcome, who, sizeof who);
	if (outcome->error)
		snprintf(error, sizeof error, ", %s", error_name(outcome->error));
	return snprintf(buf, size, "%d%s: %s%s%s (%u signal%s, %.3f ms)", (int)outcome->tid, where, outcome_meaning(outcome), error,
	                who, outcome->signals, outcome->signals == 1 ? "" : "s", (double)outcome->ns / 1e6);
}
