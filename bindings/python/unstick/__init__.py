# SPDX-License-Identifier: MIT
"""Every blocking call, yours or a library's, gets a deadline and a cancel button.

    with unstick.timeout(5):                      # one limit for all of it, in any thread
        page = urllib.request.urlopen(url).read()

    with unstick.move_on_after(5) as scope:       # the same, and the program goes on
        answer = sock.recv(4096)
    if scope.cancelled_caught:
        ...

    unstick.interrupt(thread)                     # end what a thread is blocked in, from outside
    print(*unstick.stacks(), sep="\\n")            # who is stuck, where, in which call, on what

What comes out                                                  in the main thread  in another thread
calls that block: reads, sockets, sleeps, subprocesses, ...     yes                 yes
loops in pure Python                                            yes                 yes
Condition, Event, Queue, Semaphore, Future, unstick.Lock        yes                 yes
Lock, RLock, Thread.join(), SimpleQueue                         yes                 no: see below
C code that computes (a regular expression, sum(range(n)))      when it returns     when it returns
dead network mounts; state D                                    no                  no

What cannot be ended is said, never forced: see Outcome, and Stack.why. In threads use queue.Queue for SimpleQueue, unstick.Thread, whose
join() comes out, and unstick.Lock for Lock. Times are seconds from now, but for a moment of time.monotonic() in Scope.deadline,
Scope.reschedule() and Token.set_deadline(). An exception comes between any two bytecodes: open and release what must not leak in
`with unstick.shield():`. Clean-up (except, finally) is left in peace for about a second. Not around yield or await.
"""

import atexit as _atexit
import sys as _sys

# Before the extension is looked for: what Python says of one that it does not find, or cannot load, is no help.
if _sys.version_info < (3, 8):
    raise ImportError("unstick needs Python 3.8 or later, this is %d.%d" % _sys.version_info[:2])
if not _sys.platform.startswith("linux"):
    raise ImportError("unstick works on Linux only, this is %s" % _sys.platform)
if _sys.implementation.name != "cpython":
    raise ImportError("unstick works in CPython only, this is %s" % _sys.implementation.name)
if "t" in _sys.abiflags:
    raise ImportError("unstick relies on the GIL: it does not work in a free-threaded build of Python; use the ordinary one")

from . import _unstick

if not _unstick.in_first_interpreter():
    raise ImportError("unstick watches over the threads of one interpreter: it cannot be imported in a second one of the same process")

from ._executor import ThreadPoolExecutor
from ._future import Future
from ._process import ProcessResult, run_process
from ._thread import Thread
from ._unstick import Lock
from ._stacks import Stack, stacks
from ._threads import Outcome, interrupt
from ._unstick import (
    Cancelled,
    Interrupted,
    Scope,
    Timeout,
    Token,
    move_on_after,
    shield,
    timeout,
)

__version__ = _unstick.version
__all__ = [
    "Cancelled",
    "Future",
    "Interrupted",
    "Lock",
    "Outcome",
    "ProcessResult",
    "Scope",
    "Stack",
    "Thread",
    "ThreadPoolExecutor",
    "Timeout",
    "Token",
    "interrupt",
    "move_on_after",
    "run_process",
    "shield",
    "stacks",
    "timeout",
]

_atexit.register(_unstick.stop)
