# SPDX-License-Identifier: MIT
"""unstick.Future, and the work that settles it.

Each piece of work runs in a scope of its own, in C: a cancel, and interrupt(), reach the work, and never the worker around it.

A Future stays what concurrent.futures calls pending until its work is over, and is then settled at once. So everything that
knows such futures sees it end exactly once, with the result, the error, or cancelled.
"""

import concurrent.futures
import contextlib
import functools
import threading
import time
from concurrent.futures._base import CANCELLED, PENDING
from typing import Any, Callable, Optional, Tuple

from . import _unstick
from ._arguments import seconds
from ._stacks import after_interrupt
from ._threads import Outcome


def _from_inside(error: Optional[BaseException]) -> Optional[BaseException]:
    """Without our own frame on top of its traceback, which would hold the work and all that it holds."""
    if error is None or error.__traceback__ is None:
        return error
    return error.with_traceback(error.__traceback__.tb_next)


class Future(concurrent.futures.Future):
    """What ThreadPoolExecutor.submit() returns: as concurrent.futures.Future, but cancel() ends running work too."""

    def __init__(self) -> None:
        super().__init__()
        self._condition: threading.Condition  # the base's, as _state
        self._state: str
        self._lock = threading.Lock()
        self._scope: Any = None  # while it runs. Guarded by _lock, as all of these
        self._cancel_asked = False
        self._cancelled_at = 0.0  # first, while it ran
        self._settled = False  # final, as the next, and _cancel_asked
        self._end: Tuple[Any, Optional[BaseException]] = (None, None)
        self._ended_by: Optional[BaseException] = None  # what came out of cancelled work
        self._last: Optional[Outcome] = None

    def cancel(self) -> bool:
        """Cancel the work, also if it runs: whatever it is in ends with unstick.Cancelled. False: it was done before.

        If True, the future ends as cancelled: at once if the work had not begun, else as soon as the work has come out and its
        `finally` blocks have run.
        """
        with self._lock:
            if not self._settled:
                self._cancel_asked = True
            scope = self._scope
            if scope is not None:
                self._cancelled_at = self._cancelled_at or time.monotonic()
        if scope is not None:
            scope.cancel()
            return True
        return self._settle(None, None)

    def running(self) -> bool:
        """True while the work runs, also after cancel() until it has come out."""
        return self._scope is not None and not self.done()

    def result(self, timeout: Optional[float] = None) -> Any:
        """As concurrent.futures.Future.result(). The cause of a CancelledError is what came out of the work, with its traceback."""
        try:
            return super().result(seconds(timeout, "timeout"))
        except concurrent.futures.CancelledError as error:
            raise self._caused(error)

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """As concurrent.futures.Future.exception(); of cancelled work it raises as result() does."""
        try:
            return super().exception(seconds(timeout, "timeout"))
        except concurrent.futures.CancelledError as error:
            raise self._caused(error)

    def _caused(self, error: BaseException) -> BaseException:
        if self.cancelled():
            error.__cause__ = self._ended_by
        return error

    def __repr__(self) -> str:
        text = super().__repr__()
        return text.replace("state=pending", "state=running", 1) if self.running() else text

    @property
    def outcome(self) -> Optional[Outcome]:
        """What became of the cancelling of running work; None: it was not cancelled while it ran, or still runs."""
        return self._last

    def _begin(self, scope) -> bool:
        with self._lock:
            if self._settled or self._cancel_asked:
                return False
            self._scope = scope
            return True

    def _settle(self, value: Any, error: Optional[BaseException]) -> bool:
        """Ends the future, if nobody has. A cancel that cancel() has promised goes before a value."""
        with self._lock:
            if not self._settled:
                self._settled = True
                self._end = (value, error)
                if self._scope is not None and self._scope._outcome is not None:
                    self._last = Outcome._make((*self._scope._outcome, True))
                self._scope = None
        self._tell()
        return self._cancel_asked

    def _tell(self) -> None:
        """Waiters and callbacks. Whoever settles again goes on with it if an exception of his own has ended the first to do so."""
        value, error = self._end
        if self._cancel_asked:
            self._ended_by = error
            try:
                super().cancel()
            finally:
                with self._condition:
                    if self._state == CANCELLED:
                        super().set_running_or_notify_cancel()
            return
        with self._condition:
            if self._state == PENDING:
                super().set_running_or_notify_cancel()
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # it has been told
            if error is None:
                super().set_result(value)
            else:
                super().set_exception(error)

    def _abandon(self) -> None:
        with self._lock:
            self._cancel_asked = self._cancel_asked or not self._settled
        self._settle(None, None)


class Work:
    """A call, and the future that it settles."""

    def __init__(self, future: Future, function: Callable, args: tuple, kwargs: dict) -> None:
        self.future, self.function, self.args, self.kwargs = future, function, args, kwargs

    def run(self) -> None:
        value: Any = None
        error: Optional[BaseException] = None
        try:
            with _unstick.work() as scope:
                if self.future._begin(scope):
                    try:
                        value = self.function(*self.args, **self.kwargs)
                    except _unstick.Cancelled as cancelled:
                        error = cancelled
                        raise
        except BaseException as raised:
            error = raised
        self.future._settle(value, _from_inside(error))

    def name(self) -> str:
        function = self.function
        while isinstance(function, functools.partial):
            function = function.func
        name = getattr(function, "__qualname__", None) or repr(function)
        module = getattr(function, "__module__", None)
        return name if module in (None, "__main__", "builtins") else f"{module}.{name}"

    def trouble(self, ident: int) -> str:
        """What became of the cancelling of work that still runs; "": it was not cancelled."""
        with self.future._lock:
            scope, begun = self.future._scope, self.future._cancelled_at
        return after_interrupt(ident, time.monotonic() - begun, scope.fired) if scope and begun else ""
