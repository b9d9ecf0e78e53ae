/* SPDX-License-Identifier: MIT
 *
 * The course of one `unstick run`: the command is started, its calls are watched, and at the deadline come, one after the other: the
 * end of its blocked calls; the signal; KILL. A step is taken only while somebody is left to take it for.
 */
#ifndef TOOLS_COURSE_H
#define TOOLS_COURSE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	STATUS_DEADLINE = 124, /* these, and STATUS_RUN_FAILED, as timeout(1) has them */
	STATUS_NOT_RUNNABLE = 126,
	STATUS_NOT_FOUND = 127,
};

struct course_options {
	int64_t deadline, call_timeout; /* ns; 0: none */
	int64_t grace;                  /* from the deadline to `signal` */
	int64_t kill_after;             /* from `signal` to KILL; 0: no KILL */
	int signal;
	int error; /* that the calls are given; positive */
	bool foreground, preserve_status, quiet;
};

/* The exit status; or, if a signal has ended the command before the deadline, the same signal ends this process. */
int course_run(const struct course_options *options, char **argv);

#endif
