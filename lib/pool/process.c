/* SPDX-License-Identifier: MIT */
#include "pool/process.h"

#include <errno.h>

int process_new(struct process **ret, const struct unstick_job_options *options)
{
	(void)ret, (void)options;
	return -ENOSYS;
}

void process_free(struct process *process)
{
	(void)process;
}

int process_run(struct process *process)
{
	(void)process;
	return -ENOSYS;
}

const char *process_result(const struct process *process)
{
	(void)process;
	return 0;
}

int process_exit(const struct process *process, struct unstick_exit *ret)
{
	(void)process, (void)ret;
	return -ENOSYS;
}

pid_t process_pid(const struct process *process)
{
	(void)process;
	return 0;
}

int64_t process_grace(const struct process *process)
{
	(void)process;
	return 0;
}
