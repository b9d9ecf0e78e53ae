/* SPDX-License-Identifier: MIT
 *
 * Raw system calls: the result or -errno, errno itself untouched, no cancellation point of any kind.
 * For the handler, the cancel path and the looks, which must not disturb the code they interrupt. Async-signal-safe.
 * What it does not do: retry on -EINTR, know about timeouts, or look at scopes (that is wake/call.c).
 */
#ifndef UNSTICK_BASE_RAW_H
#define UNSTICK_BASE_RAW_H

#include <sys/syscall.h>

long raw_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* clone(2) with a stack of the child's own, which grows down from `stack` (a multiple of 16): the child runs fn(arg) and ends with
 * status 0. `pidfd` may be NULL without CLONE_PIDFD. CLONE_SETTLS, CLONE_CHILD_* must not be set. Returns in the caller only. */
long raw_clone(unsigned long flags, void *stack, int *pidfd, void (*fn)(void *), void *arg);

#define RAW_0(nr) raw_syscall((nr), 0, 0, 0, 0, 0, 0)
#define RAW_1(nr, a) raw_syscall((nr), (long)(a), 0, 0, 0, 0, 0)
#define RAW_2(nr, a, b) raw_syscall((nr), (long)(a), (long)(b), 0, 0, 0, 0)
#define RAW_3(nr, a, b, c) raw_syscall((nr), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define RAW_4(nr, a, b, c, d) raw_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define RAW_5(nr, a, b, c, d, e) raw_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define RAW_6(nr, a, b, c, d, e, f) raw_syscall((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
