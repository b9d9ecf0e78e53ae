/* SPDX-License-Identifier: MIT
 *
 * The threads that a command line chooses, each looked at once, as rows. One object serves many rounds: then the kernel's missing
 * knowledge of how long a thread is blocked is made up for (stays.h).
 */
#ifndef TOOLS_ROWS_H
#define TOOLS_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"

struct stays;

struct rows_choice {
	const char *const *words; /* PIDs and NAMEs; none: all processes */
	size_t word_count;
	bool all;       /* threads that run or may not be looked into, and kernel threads */
	int64_t longer; /* ns: only threads that are blocked for longer; 0: all */
	long call;      /* only those in this call; -1: any. Looked at only with by_call */
	bool by_call;
	long fd; /* only those in a call on it; looked at only with by_fd */
	bool by_fd;
	bool closed; /* threads that may not be looked into, too */
	bool quiet;  /* no message about a PID or NAME that is not there */
	bool waits;  /* who is not there yet may come: not a failure */
};

struct rows {
	struct row *at;
	size_t count, room;
	struct stays *stays;
	size_t processes;     /* that the words meant in this round */
	size_t threads;       /* looked into in this round */
	size_t closed;        /* processes that may not be looked into */
	size_t unsure;        /* threads that are blocked for an unknown time, while only long ones were asked for */
	int64_t round_ns;     /* when this round began, on the monotonic clock */
	int64_t scheduler_ns; /* the same moment on the scheduler's clock; -1: the kernel does not tell */
};

void rows_init(struct rows *rows);
void rows_free(struct rows *rows);

/* A new round, of reports alone. STATUS_FAILED, after a message, if a PID or NAME is not there. */
int rows_collect(struct rows *rows, const struct rows_choice *choice);

/* row_explain() for each; `processes`: row_explain_process() too. */
void rows_explain(struct rows *rows, bool processes);

/* Whether the choice is one among the threads, not only among the processes. */
bool rows_are_filtered(const struct rows_choice *choice);

/* Sleeps between two rounds. */
void rows_wait(int64_t ns);

/* Whether another round after `longer` would find what this one could not tell. */
bool rows_are_unsure(const struct rows *rows, const struct rows_choice *choice);

/* The closing lines on stderr: what could not be seen and how to get to see it; that there was nothing. */
void rows_tell(const struct rows *rows, const struct rows_choice *choice);

#endif
