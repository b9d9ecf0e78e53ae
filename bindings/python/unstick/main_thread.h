/* SPDX-License-Identifier: MIT
 *
 * The main thread waits for a lock, and an exception is in its slot.
 *
 * CPython's wait for a lock ends when a signal comes to the main thread and a pending call raises. So: a pending call that takes what
 * is on its way, and one signal of the library's, which ends the wait with EINTR and does nothing else. If the thread does not wait
 * any more, the pending call finds nothing, or is the next bytecode that looks. Other threads' waits go on after EINTR.
 */
#ifndef UNSTICK_PYTHON_MAIN_THREAD_H
#define UNSTICK_PYTHON_MAIN_THREAD_H

#include "python.h"

void main_thread_wake(void);
void main_thread_after_fork(void);

#endif
