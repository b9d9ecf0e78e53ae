/* SPDX-License-Identifier: MIT
 *
 * The wake signal: which one, its handler, sending it. The handler's argument is in docs/memory-model.md.
 */
#ifndef UNSTICK_WAKE_SIGNAL_H
#define UNSTICK_WAKE_SIGNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Chooses and installs, starts nothing. Idempotent, thread-safe. 0; -ENOSYS: no signal can be used. Not async-signal-safe. */
int signal_initialise(void);

/* UNSTICK_KEEP_PROC_FD was asked for. */
bool signal_keeps_proc_fd(void);

/* One signal to one thread of this process: 0, -ESRCH, -EAGAIN (RLIMIT_SIGPENDING), -EPERM (a seccomp filter).
 * Async-signal-safe. */
int signal_send(pid_t tid);
extern _Atomic uint64_t signals_sent; /* by signal_send(), ever */

/* A full memory barrier in every running thread of this process (membarrier(2)); false where the kernel refuses.
 * Async-signal-safe. */
bool signal_barrier(void);

/* Blocks all signals in the calling thread; returns the mask as it was. Async-signal-safe. */
uint64_t signal_mask_all(void);
void signal_mask_restore(uint64_t mask);

/* Somebody else's handler in place of ours: its address ((void *)0 = SIG_DFL, 1 = SIG_IGN), with *replaced = true.
 * Async-signal-safe. */
const void *signal_handler_found(bool *replaced);

void signal_after_fork(void);

#endif
