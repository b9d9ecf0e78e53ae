/* SPDX-License-Identifier: MIT
 *
 * The thread that fires scopes when their time is over. It sleeps until the earliest moment that anybody has asked for, takes the GIL,
 * and looks at all lanes. Started with the first scope; ended when the interpreter exits. It is no thread of threading's.
 * Why not the library's monitor: firing needs the GIL, and the monitor must not wait for that.
 */
#ifndef UNSTICK_PYTHON_SERVICE_H
#define UNSTICK_PYTHON_SERVICE_H

#include "python.h"

/* Private to service_start(). Guarded by the GIL. */
extern bool service_running;
int service_run(void);

/* 0; -1: an error is set. */
static inline int service_start(void)
{
	return service_running ? 0 : service_run();
}
void service_stop(void);

/* Private to service_look_at(). Guarded by the GIL. */
extern unstick_time service_alarm;
void service_wake_by(unstick_time when);

/* It will look at `when` at the latest. */
static inline void service_look_at(unstick_time when)
{
	if (when < service_alarm)
		service_wake_by(when);
}

/* It looks as soon as it can. Needs no GIL. */
void service_ring(void);

void service_after_fork(void);

#endif
