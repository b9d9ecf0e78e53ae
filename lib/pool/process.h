/* SPDX-License-Identifier: MIT
 *
 * A program as a job: started, fed, listened to, waited for, and ended with all of its process group; unstick_process(7) has what
 * its users see. Invariants: once process_run() has returned, the program has ended, has been reaped, by us or by the application,
 * and nothing of its group goes on (but see child.h). Until then we have not reaped it, so that its number is its own.
 * What it does not do: decide about the job's state (crew.c), or give up on a program that no signal ends: the pool abandons the
 * job, the thread stays here and reaps the program if it ever ends. What has left the group (setsid, setpgid) goes on.
 *
 * Ownership: from process_new() to the state that job_end() stores, all but the pid is the running thread's; then it is constant.
 */
#ifndef UNSTICK_POOL_PROCESS_H
#define UNSTICK_POOL_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "unstick.h"

struct process;

/* Copies what it needs, the environment of this process too. The options have been checked. 0; -ENOMEM. */
int process_new(struct process **ret, const struct unstick_job_options *options);
void process_free(struct process *process);

/* On a pool thread, in the job's scope. 0: it has ended, or was ended because the scope had fired; else why it could not be
 * started, or waited for. */
int process_run(struct process *process);

/* After process_run(), or in place of it. The result is NULL, the exit -ESRCH, if no program was started. */
const char *process_result(const struct process *process);
int process_exit(const struct process *process, struct unstick_exit *ret);
pid_t process_last_pid(const struct process *process); /* 0: it was never started */

/* Any thread, any time. The pid is 0 before it has started and after it has gone. */
pid_t process_pid(const struct process *process);
/* That its group was sent because of a cut: SIGTERM, then SIGKILL. */
unsigned process_signals(const struct process *process);
int64_t process_grace(const struct process *process);

#endif
