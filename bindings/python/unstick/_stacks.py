# SPDX-License-Identifier: MIT
"""unstick.stacks(): where the threads of this process are."""

import contextlib
import os
import sys
import threading
from types import FrameType
from typing import Dict, List, NamedTuple, Optional, Tuple

from . import _unstick

_WAIT = threading.Condition.wait.__code__
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARY = os.path.dirname(threading.Thread.run.__code__.co_filename) + os.sep
_INSTALLED = (_LIBRARY + "site-packages" + os.sep, _LIBRARY + "dist-packages" + os.sep)


class Stack(NamedTuple):
    """Where a thread is, in Python and in the kernel. str() of it is one line for people."""

    name: str
    tid: int
    where: str
    call: str
    object: str
    seconds: float
    freeable: Optional[bool]
    why: str
    work: str = ""
    frames: Tuple[str, ...] = ()

    def __str__(self) -> str:
        doing = f"in {self.call}" if self.call else "running"
        if self.object:
            doing += f" on {self.object}"
        if self.call and self.seconds >= 0:
            doing += f" for {self.seconds:.1f} s"
        if self.why:
            doing += f": {self.why}"
        work = f", doing {self.work}," if self.work else ""
        return f"{self.name} ({self.tid}){work} at {self.where or 'no Python code'}: {doing}"


def describe(fields: type, texts: dict) -> None:
    """What help() says of the fields of a named tuple."""
    for name, text in texts.items():
        getattr(fields, name).__doc__ = text


describe(
    Stack,
    {
        "name": "the thread's name",
        "tid": "its number in the kernel, as Thread.native_id, ps -L and gdb have it",
        "where": "its place in your code: 'file.py:12 in function', the innermost that is not in the standard library; '': no Python code",
        "call": "the system call that it is blocked in; '': it runs",
        "object": "what the call is on: a pipe, a socket with its addresses, a file; '': nothing",
        "seconds": "for how long it has been in the call; -1: unknown",
        "freeable": "True: interrupt() and limits get it out; False: they do not; None: unknown",
        "why": "why it is not freed, or has not been; '': nothing is known against it",
        "work": "in a worker of an unstick.ThreadPoolExecutor: the function that was submitted; else ''",
        "frames": "all its places in Python code, innermost first",
    },
)


def native_id(thread: threading.Thread) -> int:
    # After os.fork() threading goes on to tell the number in the parent.
    return os.getpid() if thread is threading.main_thread() else getattr(thread, "native_id", None) or 0


def show_name(thread: threading.Thread) -> None:
    """To the kernel, for ps, top, gdb and python3 -m unstick ps; Python itself does since 3.14."""
    # Not OSError, which the Timeout of a scope around this is.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        with open(f"/proc/self/task/{native_id(thread)}/comm", "wb", buffering=0) as file:
            file.write(thread.name.encode(errors="replace")[:15])


def after_interrupt(ident: int, seconds: float, arrived: bool) -> str:
    """What became of a thread that got an exception and is still there."""
    if not arrived:
        return f"was interrupted {seconds:.1f} s ago, which has not arrived: a lock, a shield, or C code that has not returned"
    if not hasattr(sys, "_current_exceptions") or not _unstick.gil_is_for_all():  # before 3.10; in the midst of others' work
        return f"was interrupted {seconds:.1f} s ago and went on, or is in clean-up since"
    handled = sys._current_exceptions().get(ident)
    if isinstance(handled, tuple):  # before 3.12: as sys.exc_info()
        handled = handled[1]
    return f"was interrupted {seconds:.1f} s ago and {'is in clean-up since' if handled else 'went on'}"


def _is_the_users(file: str) -> bool:
    """Neither of this package nor of the standard library."""
    return not file.startswith((_OURS, "<frozen ")) and (not file.startswith(_LIBRARY) or file.startswith(_INSTALLED))


def _places(frame) -> Tuple[str, Tuple[str, ...]]:
    """(where, frames)"""
    where, places = "", []
    while frame is not None:
        code = frame.f_code
        places.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_name}")
        if not where and _is_the_users(code.co_filename):
            where = places[-1]
        frame = frame.f_back
    return where or (places[0] if places else ""), tuple(places)


def _waits_for_notify(frame) -> bool:
    """Then it comes out."""
    if frame is None or frame.f_code is not _WAIT:
        return False
    return frame.f_locals.get("waiter") in frame.f_locals["self"]._waiters


def _verdict(thread: threading.Thread, frame, look: tuple) -> Tuple[Optional[bool], str]:
    """(freeable, why), by what is known of Python beside what the library has seen in the kernel."""
    _, _, freeable, _, call, _, _, _, _, expect, why = look
    if expect == "not blocked":
        return None, ""  # Python code: at the next bytecode; C code: when it returns
    if expect == "lock" and _waits_for_notify(frame):
        return True, ""
    if expect == "lock" and thread is threading.main_thread():
        return None, "a lock: the main thread comes out, if it is one of Python's"
    return (None if freeable < 0 else bool(freeable)), "" if freeable == 1 else why


def _stack(thread: threading.Thread, frame) -> Stack:
    tid = native_id(thread)
    where, frames = _places(frame)
    work, trouble = getattr(thread, "_unstick_note", lambda: ("", ""))()
    try:
        look = _unstick.look(0, tid)
    except OSError as error:
        return Stack(thread.name, tid, where, "", "", -1.0, None, error.strerror or "", work, frames)
    freeable, why = _verdict(thread, frame, look)
    why = "; ".join(one for one in (why, trouble) if one)
    return Stack(thread.name, tid, where, look[4], look[6], look[8], freeable, why, work, frames)


def _frames() -> Dict[int, Optional[FrameType]]:
    if _unstick.gil_is_for_all():
        return dict(sys._current_frames())
    return {thread.ident or 0: _unstick.frame(thread.ident or 0) for thread in threading.enumerate()}


def stacks() -> List[Stack]:
    """Where each Python thread of this process is: file and line beside the call that it is blocked in."""
    frames = _frames()
    try:
        return [_stack(thread, frames.get(thread.ident or 0)) for thread in threading.enumerate()]
    finally:
        del frames  # in which this frame is, too: else all of them would be kept until the next collection
