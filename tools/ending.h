/* SPDX-License-Identifier: MIT
 *
 * Ends blocked calls of the processes that `unstick run` answers for, and says so. Which calls may be ended is for release.h to say.
 * What it does not do: touch those whose callers accept no error but EINTR (waits for events, for a signal, for a child): whoever
 * makes them goes back into them, and the child has calls of its own.
 */
#ifndef TOOLS_ENDING_H
#define TOOLS_ENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "targets.h"

struct ending {
	int error;    /* positive */
	bool quiet;   /* no line for what was ended */
	bool refused; /* the kernel does not let us trace; that has been told, and is told once */
	bool moving;  /* the last ending_all() saw a thread that runs, or that came out of its call by itself: look again */
};

/* True: its call returns the error. `ns`: for how long it is known to have been in it; negative: as the kernel has it. */
bool ending_thread(struct ending *ending, pid_t pid, pid_t tid, int64_t ns);

/* All threads that may be. How many were. */
unsigned ending_all(struct ending *ending, const struct pid_list *processes);

#endif
