/* SPDX-License-Identifier: MIT
 *
 * Waits that only look as if nothing ended them: SIGKILL does, and with it the exit of the process. /proc shows state D for these as
 * for the others, so they are known by the system call, or by the kernel's function.
 * What it does not do: tell what else holds an exit (an fd on a dead mount, whose close hangs).
 */
#ifndef UNSTICK_POOL_EXIT_WAIT_H
#define UNSTICK_POOL_EXIT_WAIT_H

#include <stdbool.h>

#include "unstick.h"

/* `outcome->kind` is UNSTICK_UNINTERRUPTIBLE. */
bool exit_wait_ends(const struct unstick_outcome *outcome);

#endif
