/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_POOL_PROCESS_H
#define UNSTICK_POOL_PROCESS_H

#include "unstick.h"

struct process;

int process_new(struct process **ret, const struct unstick_job_options *options);
void process_free(struct process *process);
int process_run(struct process *process);
const char *process_result(const struct process *process);
int process_exit(const struct process *process, struct unstick_exit *ret);
pid_t process_pid(const struct process *process);
int64_t process_grace(const struct process *process);

#endif
