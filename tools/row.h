/* SPDX-License-Identifier: MIT
 *
 * All that `unstick ps` and `unstick watch` say of one thread: the library's report, and what the report's numbers mean.
 */
#ifndef TOOLS_ROW_H
#define TOOLS_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <unstick.h>

enum { ROW_ARGUMENTS = 192, ROW_OBJECT = 224, ROW_HOLDER = 48, ROW_USER = 33, ROW_COMMAND = 256 };

struct row {
	struct unstick_report report;
	bool at_least;                 /* report.blocked_ns is a lower bound: for how long it has been watched */
	char arguments[ROW_ARGUMENTS]; /* "7, 0x7ffd0c, 8192, 0x0, NULL, NULL" */
	char object[ROW_OBJECT];       /* what it waits on */
	pid_t holder;                  /* who can end the wait: holds the lock, has the pipe's other end, is the child; 0 unknown */
	const char *holder_is;         /* "held by", "other end:", "child" */
	char holder_text[ROW_HOLDER];  /* "1234 (cat)" */
	char user[ROW_USER], command[ROW_COMMAND]; /* of the process; "": unknown, or not asked for */
};

/* In a system call, or in a page fault. */
bool row_is_blocked(const struct row *row);

/* What can be freed only in part or not at all is no: FREE is "yes", "no" or "?". */
const char *row_free(const struct row *row);

/* Why not, or what is to be known of a yes; "": nothing. */
const char *row_why(const struct row *row);

/* The same in a word or two: "lock", "event loop"; "". */
const char *row_code(const struct row *row);

/* "recvfrom", "(page fault)", "(running)", "?" */
const char *row_call(const struct row *row);

/* Fills in arguments, object and holder, from the report. */
void row_explain(struct row *row);

/* Fills in user and command; `before` is a row that has been, or NULL: of the same process they need not be read again. */
void row_explain_process(struct row *row, const struct row *before);

#endif
