# SPDX-License-Identifier: MIT
"""unstick.Thread: a threading.Thread that can be ended, and asked for its result.

An exception of kill(), or of interrupt(), arrives in run() or not at all: what is around it is in a shield.
"""

import threading
import time
from typing import Any, Optional, Tuple, Type, Union

from ._arguments import check_exception, seconds
from ._stacks import after_interrupt, show_name, stacks
from ._threads import Outcome, gone, interrupt, start_thread
from ._unstick import Interrupted, shield, work

_POLL = 1.0  # the end of a thread is noticed this late if an exception of somebody else's hit the code that tells of it


class Thread(threading.Thread):
    """As threading.Thread; more: kill(), get_result(), outcome, and a join() that can itself be interrupted.

    >>> thread = unstick.Thread(target=time.sleep, args=(1000000,))
    >>> thread.start()
    >>> thread.join(5)
    >>> if thread.is_alive():
    ...     print(thread.kill())
    """

    def __init__(self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None) -> None:
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        self._call = (target, args, kwargs or {})
        self._carried = False  # start() has been called, and may have failed
        self._killing = threading.RLock()  # one after the other
        self._told_end = threading.Event()
        self._has_value = False
        self._value: Any = None
        self._error: Optional[BaseException] = None
        self._sent: list = []
        self._outcome: Optional[Outcome] = None
        self._struck_at = 0.0  # by the first kill that ended something

    def start(self) -> None:
        if self.ident is None and not self._carried:
            run, self._carried = self.run, True
            self.run = lambda: self._carry(run)  # type: ignore
        start_thread(super().start)
        show_name(self)

    def run(self) -> Any:
        """Calls the target. What this returns, in a subclass too, is the result of the thread."""
        target, args, kwargs = self._call
        del self._call
        return target(*args, **kwargs) if target else None

    def _carry(self, run) -> None:
        with shield():
            try:
                with work():
                    value = run()
                self._value, self._has_value = value, True
            except BaseException as error:
                self._error = error
                if not self._was_sent(error):
                    raise
            finally:
                self.__dict__.pop("run", None)
                self._told_end.set()

    def _was_sent(self, error: BaseException) -> bool:
        return any(error is sent or type(error) is sent for sent in self._sent)

    def kill(self, exc: Union[BaseException, Type[BaseException]] = Interrupted, until: Optional[float] = 1.0) -> Outcome:
        """Raise `exc` in the thread, whatever it does: unstick.interrupt(). Once, and only in its run().

        Waits at most `until` seconds from now for the exception to arrive there; the thread then still has its `finally` blocks to
        run: join(). The outcome says what became of it; if `exc` did not arrive, what the thread is in, and why it could not be ended.
        """
        check_exception(exc)
        until = seconds(until, "until")
        if self is threading.current_thread():
            self._sent.append(exc)
            return interrupt(self, exc, until)
        with self._killing:
            if self._told_end.is_set():
                outcome = gone(self)
            else:
                self._sent.append(exc)
                outcome = interrupt(self, exc, until)
                if outcome.raised or outcome.kind == "woken":
                    self._struck_at = self._struck_at or time.monotonic()
            self._outcome = outcome
        return outcome

    @property
    def outcome(self) -> Optional[Outcome]:
        """What became of the last kill(); None: there was none."""
        return self._outcome

    def _unstick_note(self) -> Tuple[str, str]:
        """For stacks(): nothing of its work, which is in its frames; why it is still there."""
        since = self._struck_at
        return "", after_interrupt(self.ident or 0, time.monotonic() - since, True) if since else ""

    def join(self, timeout: Optional[float] = None) -> None:
        """As threading.Thread.join(), and unstick.interrupt() and unstick.timeout() get a thread out of it."""
        timeout = seconds(timeout, "timeout")
        if self.ident is not None and self is not threading.current_thread():
            until = None if timeout is None else time.monotonic() + timeout
            while self.is_alive() and not self._told_end.is_set():
                left = _POLL if until is None else min(_POLL, until - time.monotonic())
                if left <= 0:
                    return
                self._told_end.wait(left)
            if until is not None:
                timeout = max(0.0, until - time.monotonic())
        super().join(timeout)

    def get_result(self, timeout: Optional[float] = None) -> Any:
        """What the target returned; raises what it raised, which the thread has printed when it ended, but for what kill() has sent.

        TimeoutError if it still runs after `timeout` seconds; its text says where the thread is, in which call, and why it was not freed.
        """
        self.join(timeout)
        if self.is_alive():
            where = [str(one) for one in stacks() if one.tid == self.native_id]
            raise TimeoutError(f"no result after {timeout} s: {where[0] if where else self.name}")
        if self._has_value:
            return self._value
        raise self._error or Interrupted(f"{self.name} was interrupted while it ended")
