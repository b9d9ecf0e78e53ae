# SPDX-License-Identifier: MIT
"""Other threads: interrupting them, and where they are."""

import os
import sys
import threading
from typing import List, NamedTuple, Optional, Type, Union

from . import _unstick


class Outcome(NamedTuple):
    """What became of an attempt to end what a thread is in. str() of it is one line for people. kind is one of

    "woken"             the call ended because of us, or the exception came while it computed
    "finished first"    the call ended by itself
    "not blocked"       it runs, and the exception has not arrived in time
    "lock"              only the lock's holder can free it; a condition: who notifies, or who holds the condition's lock
    "event loop"        an event loop's wait that goes on whatever error it gets
    "uninterruptible"   no signal can end the call, or one would make it worse: str() says why
    "signal blocked"    the thread blocks our signal
    "handler replaced"  somebody else's handler is in place of ours
    "stopped"           stopped by SIGSTOP, a tracer or a freezer
    "looping"           the same call was ended three times and made again
    "not inspectable"   /proc does not tell its call
    "gone"              the thread has ended
    "left alone"        the call must not be cut short: close, fsync, a regular file
    "shielded"          of the C library's jobs only: it is behind a shield, which holds the cut off
    "no attempt"        nothing was tried
    """

    kind: str  # as unstick_kind_name(3)
    error: int  # the errno that the call was given; 0: none
    tid: int
    child: int  # the child process that was waited for, and lives on; 0: none
    nr: int  # system call; -1: none
    call: Optional[str]  # its name
    fd: int  # its file descriptor; -1: none
    state: str  # state letter of proc_pid_stat(5)
    wait: str  # kernel function it waited in
    signals: int
    seconds: float
    text: str
    raised: bool  # the exception has arrived in the thread

    def __str__(self) -> str:
        return self.text


class Stack(NamedTuple):
    """Where a thread is, in Python and in the kernel."""

    name: str
    tid: int
    where: str  # "file.py:12 in function"; "" if it runs no Python code
    call: str  # system call that it is blocked in; "": it runs
    object: str  # what the call's file descriptor is
    seconds: float  # for how long it has not run; -1: unknown
    freeable: Optional[bool]  # None: unknown
    why: str  # if it is not freeable, why not

    def __str__(self) -> str:
        doing = f"in {self.call}" if self.call else "running"
        if self.object:
            doing += f" on {self.object}"
        if self.seconds >= 0:
            doing += f" for {self.seconds:.1f} s"
        if self.freeable is False and self.why:
            doing += f": {self.why}"
        return f"{self.name} ({self.tid}) at {self.where or 'no Python code'}: {doing}"


def _native_id(thread: threading.Thread) -> int:
    # After os.fork() threading goes on to tell the number in the parent.
    return os.getpid() if thread is threading.main_thread() else getattr(thread, "native_id", None) or 0


def interrupt(
    thread: threading.Thread,
    exc: Union[BaseException, Type[BaseException]] = _unstick.Interrupted,
    until: Optional[float] = 1.0,
) -> Outcome:
    """Raise `exc` in another thread, also while it is blocked in a call; that thread need not know unstick.

    If it is blocked in a call, the call ends with `exc`. If it computes, `exc` is raised at the next bytecode. It arrives
    once, by one of these ways. Tries for at most `until` seconds (None: for ever), and tells what became of it:
    outcome.raised says whether `exc` has arrived, str(outcome) what the thread is in. A lock is left alone ("lock"); one that waits
    to be notified (Condition, Event, Queue, Semaphore, Future) comes out, unless it has been notified already. Where a
    library makes an error of its own of a call that failed (socket.gaierror, sqlite3.OperationalError), that is
    what arrives, and outcome.raised is False though outcome.kind is "woken". Interrupting the calling thread raises here.
    """
    if not (isinstance(exc, BaseException) or (isinstance(exc, type) and issubclass(exc, BaseException))):
        raise TypeError("exc must be an exception: a class derived from BaseException, or an instance")
    if thread is threading.current_thread():
        raise exc
    if thread.ident is None:
        raise RuntimeError(f"{thread.name} has not been started")
    if not thread.is_alive():
        tid = getattr(thread, "native_id", None) or 0
        return Outcome("gone", 0, tid, 0, -1, None, -1, "?", "", 0, 0.0, f"{tid}: the thread has ended", False)
    fields, raised = _unstick.interrupt(thread.ident, _native_id(thread), exc, until)
    return Outcome(*fields, raised)


def _where(frame) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame else ""


def stacks() -> List[Stack]:
    """Where each Python thread of this process is: file and line beside the call that it is blocked in."""
    frames = sys._current_frames()
    found = []
    for thread in threading.enumerate():
        tid = _native_id(thread)
        where = _where(frames.get(thread.ident))
        try:
            _, _, freeable, _, call, _, obj, _, seconds, _, why = _unstick.look(0, tid)
        except OSError as error:
            call, obj, seconds, freeable, why = "", "", -1.0, -1, error.strerror or ""
        known = None if freeable < 0 else bool(freeable)
        found.append(Stack(thread.name, tid, where, call, obj, seconds, known, why))
    return found
