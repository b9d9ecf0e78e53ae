/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_WAKE_FORK_H
#define UNSTICK_WAKE_FORK_H

/* Registers what fork(2) must do to the library's state; idempotent. Before any lock of this layer is taken. */
void fork_register(void);

#endif
