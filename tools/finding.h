/* SPDX-License-Identifier: MIT
 *
 * What one check of `unstick doctor` comes to. The checks themselves look at the process that they run in, as the library would find it;
 * each has a process of its own (doctor.c), so that it may be killed, and may change what it likes.
 */
#ifndef TOOLS_FINDING_H
#define TOOLS_FINDING_H

#include <stdbool.h>

enum level { LEVEL_OK, LEVEL_LIMITED, LEVEL_MISSING };

struct finding {
	enum level level;
	char found[128];
	const char *consequence, *remedy; /* static; NULL with LEVEL_OK */
};

__attribute__((format(printf, 2, 3))) void finding_ok(struct finding *finding, const char *format, ...);
__attribute__((format(printf, 5, 6))) void finding_set(struct finding *finding, enum level level, const char *consequence,
                                                       const char *remedy, const char *format, ...);

/* Of this process: is it under a seccomp filter; has it the capability (effective)? */
bool has_filter(void);
bool has_capability(int number);

/* The number in a file of /proc/sys; -1: there is no such file. */
int read_setting(const char *path);

/* check_wake.c: cutting calls short */
void check_kernel(struct finding *finding);
void check_signal(struct finding *finding);
void check_wake(struct finding *finding);
void check_membarrier(struct finding *finding);
void check_timer_slack(struct finding *finding);
void check_slice(struct finding *finding);

/* check_engine.c: the engine, jobs, the helper */
void check_uring(struct finding *finding);
void check_memlock(struct finding *finding);
void check_pidfd(struct finding *finding);
void check_helper(struct finding *finding);

/* check_proc.c: looking at threads, and tracing them */
void check_proc_syscall(struct finding *finding);
void check_proc_wchan(struct finding *finding);
void check_proc_sched(struct finding *finding);
void check_others(struct finding *finding);
void check_ptrace(struct finding *finding);

#endif
