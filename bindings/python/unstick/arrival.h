/* SPDX-License-Identifier: MIT
 *
 * Where an exception on its way to a thread comes out, in the thread, in C: two types whose making raises it.
 *
 *   arrival_type   is what is put into the asynchronous slot. CPython raises by calling the class; the call raises what is on its way.
 *   TimeoutError   is what CPython makes of the errno ETIMEDOUT, and what some of its modules (ssl) make of a wait that is over. Its
 *                  tp_alloc asks first whether something is on its way to this thread and a call of it was ended for that; then
 *                  that is raised, and no TimeoutError made. So any thread gets the exception that was asked for at the call that
 *                  was ended, whether or not its code has ever heard of unstick.
 *
 * tp_alloc is a field of a structure that is private. Where it lies is found out, not assumed: in a type of our own, whose tp_alloc
 * is known; and TimeoutError's must be the default one at the same place. Else, or with UNSTICK_PYTHON_HOOK=0 in the environment,
 * nothing is touched and calls are ended with ECANCELED: an OSError in the thread, which scopes turn into theirs at their end.
 */
#ifndef UNSTICK_PYTHON_ARRIVAL_H
#define UNSTICK_PYTHON_ARRIVAL_H

#include "python.h"

extern PyObject *arrival_type;
extern int arrival_errno; /* what calls are ended with: -ETIMEDOUT, or -ECANCELED without the hook */

/* Called when the slot's class is called and nothing is on its way. false: it has not raised. */
void arrival_set_stray(bool (*function)(void));

int arrival_initialise(PyObject *module);

#endif
