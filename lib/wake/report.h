/* SPDX-License-Identifier: MIT
 *
 * unstick_look() in parts, for who looks at very many threads and has cheaper ways to the expensive fields: what a socket is takes a
 * walk through the process's tables of sockets, for how long it is blocked two more files. Async-signal-safe.
 */
#ifndef UNSTICK_WAKE_REPORT_H
#define UNSTICK_WAKE_REPORT_H

#include "unstick.h"

enum {
	REPORT_OBJECT = 1u << 0,  /* `object` */
	REPORT_BLOCKED = 1u << 1, /* `blocked_ns`; without it -1 */
	REPORT_ALL = REPORT_OBJECT | REPORT_BLOCKED,
};

/* As unstick_look(); both numbers are those of a thread, none is 0. */
int report_look(pid_t pid, pid_t tid, unsigned parts, struct unstick_report *report);

#endif
