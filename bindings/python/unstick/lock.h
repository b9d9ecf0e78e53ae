/* SPDX-License-Identifier: MIT
 *
 * unstick.Lock: a mutex whose waiters can be interrupted, in any thread.
 *
 * threading.Lock waits in a futex, which nothing may cut short. This one waits in a poll, for an eventfd that it makes when somebody
 * first has to wait; without waiters there is no system call. It is C because a `with` block then has no bytecode of the lock's
 * around it, at which an exception could arrive after the lock is taken or before it is given back.
 *
 * Invariants, all guarded by the GIL: who gives the lock back while there are waiters makes the eventfd readable. Who finds it readable
 * empties it and looks at `held` before it waits again; so if it does not get the lock, the one that has it will wake the others.
 * What it does not do: be fair, or know its owner, as threading.Lock does not.
 */
#ifndef UNSTICK_PYTHON_LOCK_H
#define UNSTICK_PYTHON_LOCK_H

#include "python.h"

int lock_initialise(PyObject *module);

#endif
