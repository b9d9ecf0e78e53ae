# SPDX-License-Identifier: MIT
"""Threads that wait for a lock, when an exception is to be raised in them.

Nothing may be done to a thread that waits for a mutex: whoever released it would break the code that holds it. But a waiter of
threading.Condition (so of Event, Queue, Semaphore, Barrier, Future) waits for a lock that only it holds, until somebody notifies. To
release that lock is right if it is done as notify() does it: with the condition's own lock held, and the waiter taken off the list
before the exception is on its way. So no notification is lost to a thread that does not wait any more.
"""

import sys
import threading

from . import _unstick

_WAIT = threading.Condition.wait.__code__


def _take_off(condition, waiter):
    """Off the list of waiters. Returns what wakes the waiter, and lets go of the condition, which until then nobody can notify."""
    if not condition._lock.acquire(False):
        return False  # somebody may be about to notify this one
    try:
        condition._waiters.remove(waiter)
    except ValueError:
        condition._lock.release()
        return False  # it has been notified, and is on its way

    def wake():
        waiter.release()
        condition._lock.release()

    return wake


def _prepare(ident):
    """Called by the extension; delivery.h has the contract."""
    frame = sys._current_frames().get(ident)
    if frame is not None and frame.f_code is _WAIT:
        waiter = frame.f_locals.get("waiter")
        return _take_off(frame.f_locals["self"], waiter) if waiter else None
    return None


_unstick.on_lock(_prepare)
