# SPDX-License-Identifier: MIT
"""unstick.interrupt(): an exception in another thread, and what became of it."""

import threading
from typing import Callable, NamedTuple, Optional, Type, Union

from . import _unstick
from ._arguments import check_exception, check_thread, seconds
from ._stacks import describe, native_id


class Outcome(NamedTuple):
    """What became of an attempt to end what a thread is in. str() of it is one line for people.

    kind                what it means                                  what to do
    "woken"             the call ended because of us, or a loop did    nothing: join the thread
    "finished first"    the call ended by itself just then             if not raised: again
    "not blocked"       it computes, and `exc` has not arrived yet     C code: when it returns; again, with a longer `until`
    "lock"              it waits for a lock                            release it; waits for queue.Queue, unstick.Lock come out
    "event loop"        an event loop's wait, which got EINTR at most  end the loop by its own means
    "uninterruptible"   no signal ends the call: a dead mount, ...     abandon it; next time, do that in another process
    "left alone"        close, fsync, a regular file: must not be cut  wait: it ends by itself
    "looping"           ended three times, and made again              its code goes on after any error: again, or abandon it
    "shielded"          it is behind unstick.shield()                  wait until it has left the shield
    "stopped"           SIGSTOP, a debugger, a freezer                 let it go on
    "signal blocked"    the thread blocks our signal                   unblock it there; another: UNSTICK_SIGNAL
    "handler replaced"  somebody took our signal's handler away        another signal: UNSTICK_SIGNAL, in the environment
    "not inspectable"   /proc does not show the call                   mount /proc
    "gone"              the thread has ended                           nothing
    "no attempt"        nothing was tried
    """

    kind: str
    error: int
    tid: int
    child: int
    nr: int
    call: Optional[str]
    fd: int
    state: str
    wait: str
    signals: int
    seconds: float
    text: str
    raised: bool

    def __str__(self) -> str:
        return self.text


describe(
    Outcome,
    {
        "kind": "a word: the table is in help(unstick.Outcome)",
        "error": "the errno that ended the call; 0: none. What the thread sees is the exception",
        "tid": "the thread's number in the kernel",
        "child": "the child process that was waited for, and lives on; 0: none",
        "nr": "number of the system call; -1: none",
        "call": "its name; None: none",
        "fd": "its file descriptor; -1: none",
        "state": "state letter of the thread, as in ps",
        "wait": "kernel function that it waited in; '': unknown",
        "signals": "how many signals were sent to it",
        "seconds": "from the attempt's begin to this",
        "text": "all that in one line",
        "raised": "True: the exception has arrived in the thread",
    },
)


def gone(thread: threading.Thread) -> Outcome:
    tid = getattr(thread, "native_id", None) or 0
    return Outcome("gone", 0, tid, 0, -1, None, -1, "?", "", 0, 0.0, f"{tid}: the thread has ended", False)


def start_thread(start: Callable[[], None]) -> None:
    """Nothing is raised in the calling thread meanwhile.

    Before 3.12 a new thread has the ident of the one that starts it until it runs (new_threadstate() in Python/pystate.c), and would get
    in its place what PyThreadState_SetAsyncExc() sends to that ident.
    """
    with _unstick.shield():
        start()


def interrupt(
    thread: threading.Thread,
    exc: Union[BaseException, Type[BaseException]] = _unstick.Interrupted,
    until: Optional[float] = 1.0,
) -> Outcome:
    """Raise `exc` in another thread, also while it is blocked in a call; that thread need not know unstick.

    If it is blocked in a call, the call ends with `exc`. If it computes, `exc` is raised at the next bytecode. It arrives
    once, by one of these ways. Tries for at most `until` seconds from now (None: for ever), and tells what became of it:
    outcome.raised says whether `exc` has arrived, str(outcome) what the thread is in. What has not arrived by then does not
    come later. A lock is left alone ("lock"); one that waits
    to be notified (Condition, Event, Queue, Semaphore, Future) comes out, unless it has been notified already.

    Where a library makes an error of its own of a call that failed (socket.gaierror, sqlite3.OperationalError), that is
    what arrives, and outcome.raised is False though outcome.kind is "woken". Interrupting the calling thread raises here.
    A thread that lets `exc` out prints it, as threading does with any exception; unstick.Thread.kill() prints nothing.
    """
    check_thread(thread)
    check_exception(exc)
    until = seconds(until, "until")
    if exc is _unstick.Interrupted:
        exc = _unstick.Interrupted(f"interrupted by thread {threading.current_thread().name}")
    if thread is threading.current_thread():
        raise exc
    if thread.ident is None:
        raise RuntimeError(f"{thread.name} has not been started")
    if not thread.is_alive():
        return gone(thread)
    fields, raised = _unstick.interrupt(thread.ident, native_id(thread), exc, until)
    return Outcome._make((*fields, raised))
