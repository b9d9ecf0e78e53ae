# SPDX-License-Identifier: MIT
"""unstick.ThreadPoolExecutor: running work can be cancelled, and shutdown() has a deadline."""

import concurrent.futures
import threading
import time
import weakref
from typing import List, Optional

from ._arguments import seconds
from ._future import Future, Work
from ._pool import Pool, close_behind, wait_at_exit
from ._stacks import Stack
from ._threads import start_thread

# Of the time that shutdown() has, the part in which work may still end by itself.
_PATIENCE = 0.8


def _drain_behind(pool: Pool, cancel_at: float, until: float) -> concurrent.futures.Future:
    """By a thread of its own: an exception that ends the waiting for it does not end it."""
    left: concurrent.futures.Future = concurrent.futures.Future()

    def drain() -> None:
        try:
            left.set_result(pool.drain(cancel_at, until))
        except BaseException as error:
            left.set_exception(error)

    try:
        start_thread(threading.Thread(target=drain, name="unstick-shutdown", daemon=True).start)
    except RuntimeError:  # the program ends (3.12), or there is no room for a thread
        drain()
    return left


def _cancel_after(asked: Optional[float], deadline: Optional[float], at_once: bool) -> float:
    asked, deadline = seconds(asked, "cancel_after"), seconds(deadline, "deadline")
    if asked is None:
        return 0.0 if at_once or deadline is None else deadline * _PATIENCE
    if deadline is None or asked > deadline:
        raise ValueError("cancel_after needs a deadline that is not earlier: shutdown(deadline=3, cancel_after=1)")
    return asked


class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """As concurrent.futures.ThreadPoolExecutor; future.cancel() ends running work, and shutdown() can have a deadline.

    >>> pool = unstick.ThreadPoolExecutor(4)
    >>> future = pool.submit(urllib.request.urlopen, url)
    >>> future.cancel()                       # whatever it is in
    >>> for one in pool.shutdown(deadline=3): # at most 3 s
    ...     print("left:", one)

    For clean-up that takes its time: shutdown(deadline=3, cancel_after=1) leaves 2 s to it.
    """

    def __init__(self, max_workers: Optional[int] = None, thread_name_prefix: str = "", initializer=None, initargs: tuple = ()) -> None:
        super().__init__(max_workers, thread_name_prefix, initializer, initargs)
        self._pool = Pool(self._max_workers, self._thread_name_prefix, initializer, initargs)  # type: ignore
        wait_at_exit(self._pool)
        weakref.finalize(self, close_behind, self._pool).atexit = False

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Have fn(*args, **kwargs) called by a worker."""
        future = Future()
        self._pool.add(Work(future, fn, args, kwargs))
        return future

    def shutdown(  # type: ignore[override]
        self,
        wait: bool = True,
        *,
        cancel_futures: bool = False,
        deadline: Optional[float] = None,
        cancel_after: Optional[float] = None,
    ) -> List[Stack]:
        """Take no more work, and wait until that which was taken is done: for ever, or for at most `deadline` seconds from now.

        With a deadline, work that still waits or runs `cancel_after` seconds from now is cancelled, and has the rest of the time
        for its `finally` blocks. By default that is after four fifths of the deadline; with cancel_futures at once. Without a
        deadline cancel_futures cancels what has not begun, as in concurrent.futures.

        Returns the threads that are left, each with its work, its place in the Python code, the call it is in, and why it has not
        ended. They are abandoned: their futures end as cancelled, and the exit of the program does not wait for them. Without
        `wait` it returns at once, with the threads that still work. What the deadline asks for is done in any case, also if an
        exception (Ctrl-C, a scope's) ends the waiting here.
        """
        if not isinstance(wait, bool):
            raise TypeError(f"wait must be True or False, not {wait!r}; a limit is shutdown(deadline={wait!r})")
        cancel_after = _cancel_after(cancel_after, deadline, cancel_futures)
        pool = self._pool
        begun = time.monotonic()
        pool.close()
        if cancel_futures:
            pool.cancel_queued()
        if deadline is not None:
            drained = _drain_behind(pool, begun + cancel_after, begun + deadline)
            return drained.result() if wait else pool.left()
        return [] if wait and pool.wait_until(None) else pool.left()
