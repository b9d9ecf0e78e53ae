/* SPDX-License-Identifier: MIT
 *
 * Ends the blocked call of one thread of another process with an errno, by ptrace. Nothing of unstick need be in that process.
 * What it does not do: judge whether the call may be ended at all (release.h); print.
 */
#ifndef TOOLS_TRACER_H
#define TOOLS_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "unstick.h"

struct trace {
	int kind;         /* enum unstick_kind; UNSTICK_WOKEN: the call returns the errno */
	int64_t pause_ns; /* at most as long was the thread kept from running; 0: it was not stopped */
	char why[128];    /* of every other kind than UNSTICK_WOKEN: for people */
};

/* `seen` is a look that finds the thread in a call that may be ended, `error` a positive errno. Whatever happens, the thread runs
 * on, or sleeps on, as if nobody had traced it, and unless kind is UNSTICK_WOKEN with the result that its call has by itself.
 * Takes at most a second. */
void trace_end_call(const struct unstick_report *seen, int error, struct trace *ret);

/* As report_look(), and again for up to a fiftieth of a second while it shows the thread running: one that is stuck may have woken to look
 * at the time, or be between two waits of the same call. */
int trace_look(pid_t pid, pid_t tid, unsigned parts, struct unstick_report *report);

/* The same call with the same arguments, from the same place. */
bool trace_is_same_wait(const struct unstick_report *one, const struct unstick_report *other);

/* Who traces the thread; 0: nobody, or it cannot be told. */
pid_t tracer_of(pid_t pid, pid_t tid);

/* "traced by strace (1234): end that first". */
void tracer_complain(pid_t tracer, char *buf, size_t size);

#endif
