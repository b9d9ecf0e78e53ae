/* SPDX-License-Identifier: MIT
 *
 * Threads that wait in threading.Condition.wait() (so in an Event, Queue, Semaphore, Barrier, Future), when an exception is to be
 * raised in them.
 *
 * Nothing may be done to a thread that waits for a mutex: whoever released it would break the code that holds it. But a waiter of a
 * condition waits for a lock that only it holds, until somebody notifies. To release that lock is right if it is done as notify()
 * does it: with the condition's own lock held, and the waiter off the list before it is released. So no notification is lost to a
 * thread that does not wait any more. One that is off the list has been notified, and nothing is done to it before it has left wait().
 *
 * No bytecode runs between taking the condition's lock and giving it back, no object is made and the GIL is kept: nothing can be
 * raised there in the thread that does it, and no other thread sees the condition held. That needs the interpreter's own
 * types: a condition with other locks, or another list, is left alone.
 */
#ifndef UNSTICK_PYTHON_CONDITION_H
#define UNSTICK_PYTHON_CONDITION_H

#include "python.h"

struct condition_wait {
	PyObject *list, *waiter, *acquire, *release, *is_held, *wake; /* the last four: methods, bound; NULL: left alone */
};

/* Is the thread in Condition.wait()? Then *ret is for condition_forget(). It may let other threads run. No error is set. */
bool condition_find(struct condition_wait *ret, unsigned long ident);
/* Off the list. true: the condition's lock is held until condition_wake(), before which the thread's slot is set. */
bool condition_take_off(struct condition_wait *me);
void condition_wake(struct condition_wait *me);
void condition_forget(struct condition_wait *me);

int condition_initialise(void);

#endif
