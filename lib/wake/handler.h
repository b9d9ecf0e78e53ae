/* SPDX-License-Identifier: MIT
 *
 * The handler of the wake signal, and the desk where interrupts of threads without scopes leave their tickets for it.
 */
#ifndef UNSTICK_WAKE_HANDLER_H
#define UNSTICK_WAKE_HANDLER_H

#include <signal.h>

#include "wake/ticket.h"

void handler_run(int signal, siginfo_t *info, void *context);

enum { HANDLER_DESK_SIZE = 8 };

/* A ticket for one thread, attached or not. Taken and given back by interrupt.c. */
struct desk {
	_Atomic pid_t tid; /* 0: not in use */
	struct ticket ticket;
};

extern struct desk handler_desk[HANDLER_DESK_SIZE];
extern _Atomic unsigned handler_desk_used; /* number of desks in use: the handler looks at them only if there are any */

#endif
