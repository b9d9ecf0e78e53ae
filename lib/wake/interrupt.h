/* SPDX-License-Identifier: MIT */
#ifndef UNSTICK_WAKE_INTERRUPT_H
#define UNSTICK_WAKE_INTERRUPT_H

/* In a forked child: nobody interrupts anybody. */
void interrupt_after_fork(void);

#endif
