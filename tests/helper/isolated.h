/* SPDX-License-Identifier: MIT
 *
 * What the tests of the helper share, beside engine/suite.h: requests that are isolated, the lines in the log, the helper processes.
 */
#ifndef TESTS_HELPER_ISOLATED_H
#define TESTS_HELPER_ISOLATED_H

#include <sys/resource.h>
#include <sys/stat.h>

#include "../engine/suite.h"

/* Before the first use of the library: keeps the lines of the log. */
void log_keep(void);
/* The latest line with `part` in it, or NULL. */
const char *log_find(const char *part);
unsigned log_count(const char *part);

static inline struct unstick_request isolated(struct unstick_request request)
{
	request.flags |= UNSTICK_ISOLATE;
	return request;
}

/* The result of an isolated operation; of any, within `ms`. */
long run_isolated(struct unstick_request request);
long run_within(struct unstick_request request, int64_t ms);
/* What submit says. */
int refused(struct unstick_request request);

struct unstick_stats stats_now(void);
/* The helper that was started last, by the log. It may have ended. */
pid_t helper_pid(void);
/* The helpers of this process that live, by the log and /proc. */
unsigned helpers_count(pid_t *pids, unsigned most);
bool process_is_gone(pid_t pid);
/* Of `pid`; 0: this process, without the one that is used to look. */
unsigned fds_count(pid_t pid);
/* How many this process may have; so many from now on; the number that the next one would have. */
rlim_t all_fds(void);
void limit_fds(rlim_t most);
rlim_t next_fd(void);

#endif
