# SPDX-License-Identifier: MIT
"""unstick.ThreadPoolExecutor: running work can be cancelled, and shutdown() has a deadline.

Each piece of work runs in a scope of its own, in C: a cancel reaches the work, and never the worker around it.

A Future stays what concurrent.futures calls pending until its work is over, and is then settled at once. So everything that
knows such futures sees it end exactly once, with the result, the error, or cancelled.

Workers are daemon threads: one that nothing can end does not hold up the exit of the program. That all other work is waited for at
exit, as concurrent.futures does, is seen to here.
"""

import atexit
import collections
import concurrent.futures
import itertools
import threading
import time
import weakref
from concurrent.futures.thread import BrokenThreadPool
from typing import Any, Callable, List, Optional

from . import _unstick
from ._threads import Outcome, Stack, stacks

# Of the time that shutdown() has, the part in which work may still end by itself.
_PATIENCE = 0.8


class Future(concurrent.futures.Future):
    """What ThreadPoolExecutor.submit() returns: as concurrent.futures.Future, but cancel() ends running work too."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._scope: Any = None  # while it runs. Guarded by _lock, as the next two
        self._cancel_asked = False
        self._settled = False
        self._last: Optional[Outcome] = None

    def cancel(self) -> bool:
        """Cancel the work, also if it runs: whatever it is in ends with unstick.Cancelled. False: it was done before.

        If True, the future ends as cancelled: at once if the work had not begun, else as soon as the work has come out and its
        `finally` blocks have run.
        """
        with self._lock:
            if self._settled:
                return self._cancel_asked
            self._cancel_asked = True
            scope = self._scope
        if scope is not None:
            scope.cancel()
            return True
        return self._settle(None, None)

    def running(self) -> bool:
        """True while the work runs, also after cancel() until it has come out."""
        return self._scope is not None and not self.done()

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
            if self._settled:
                return self._cancel_asked
            self._settled = True
            cancelled = self._cancel_asked
            if self._scope is not None and self._scope._outcome is not None:
                self._last = Outcome(*self._scope._outcome, True)
            self._scope = None
        if cancelled:
            super().cancel()
            super().set_running_or_notify_cancel()
        elif super().set_running_or_notify_cancel():
            if error is None:
                super().set_result(value)
            else:
                super().set_exception(error)
        return cancelled

    def _abandon(self) -> None:
        with self._lock:
            self._cancel_asked = self._cancel_asked or not self._settled
        self._settle(None, None)


class _Work:
    def __init__(self, future: Future, function: Callable, args: tuple, kwargs: dict) -> None:
        self.future, self.function, self.args, self.kwargs = future, function, args, kwargs

    def run(self) -> None:
        value = error = None
        try:
            with _unstick.move_on_after(None) as scope:
                if self.future._begin(scope):
                    value = self.function(*self.args, **self.kwargs)
        except BaseException as raised:
            error = raised
        self.future._settle(value, error)


class _Pool:
    """What the workers share, and may outlive the executor: they hold no reference to that."""

    def __init__(self, most: int, prefix: str, initializer: Optional[Callable], initargs: tuple) -> None:
        self.most, self.prefix, self.initializer, self.initargs = most, prefix, initializer, initargs
        self.changed = threading.Condition()  # guards what follows
        self.queue: collections.deque = collections.deque()
        self.workers: dict = {}  # thread -> its _Work, or None
        self.idle = 0
        self.closed = False
        self.broken: Optional[str] = None
        self.numbers = itertools.count()

    # ---- by whoever uses the executor

    def add(self, work: _Work) -> None:
        with self.changed:
            if self.broken:
                raise BrokenThreadPool(self.broken)
            if self.closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.queue.append(work)
            self._see_to_workers()

    def _see_to_workers(self) -> None:
        if self.idle >= len(self.queue):
            self.changed.notify()
        elif len(self.workers) < self.most:
            name = f"{self.prefix}_{next(self.numbers)}"
            worker = threading.Thread(target=self._work, name=name, daemon=True)
            self.workers[worker] = None
            try:
                worker.start()
            except BaseException:
                del self.workers[worker]
                if not self.workers:
                    self.queue.pop()
                    raise

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def cancel_queued(self) -> None:
        while True:
            with self.changed:
                if not self.queue:
                    return
                work = self.queue.popleft()
            work.future.cancel()

    def cancel_running(self) -> None:
        with self.changed:
            running = [work for work in self.workers.values() if work]
        for work in running:
            work.future.cancel()

    def wait_until(self, when: Optional[float]) -> bool:
        """All workers are gone. Only a closed pool loses them all."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.workers, None if when is None else max(0.0, when - time.monotonic()))

    def left(self) -> List[Stack]:
        with self.changed:
            names = {worker.native_id for worker in self.workers}
        return [one for one in stacks() if one.tid in names]

    def abandon(self) -> None:
        with self.changed:
            running = [work for work in self.workers.values() if work]
        for work in running:
            work.future._abandon()

    # ---- by the workers

    def _next(self, me: threading.Thread) -> Optional[_Work]:
        with self.changed:
            self.workers[me] = None
            while not self.queue:
                if self.closed:
                    return None
                self.idle += 1
                try:
                    self.changed.wait()
                finally:
                    self.idle -= 1
            work = self.queue.popleft()
            self.workers[me] = work
            return work

    def _run_one(self, me: threading.Thread) -> bool:
        work = self._next(me)
        if work is None:
            return False
        work.run()
        return True

    def _initialise(self) -> bool:
        if self.initializer is None:
            return True
        try:
            self.initializer(*self.initargs)
            return True
        except BaseException as error:
            self._break(f"the initializer of a worker failed: {error!r}")
            return False

    def _break(self, why: str) -> None:
        with self.changed:
            self.broken = why
            queue, self.queue = self.queue, collections.deque()
        for work in queue:
            work.future._settle(None, BrokenThreadPool(why))

    def _work(self) -> None:
        me = threading.current_thread()
        try:
            if self._initialise():
                while self._run_one(me):
                    pass
        finally:
            self._bury(me)

    def _bury(self, me: threading.Thread) -> None:
        """Also of a worker that something from outside has ended: its place is filled if there is work."""
        with self.changed:
            self.workers.pop(me, None)
            if self.queue and not self.broken:
                self._see_to_workers()
            self.changed.notify_all()


_pools: "weakref.WeakSet[_Pool]" = weakref.WeakSet()
_at_exit_registered = False


def _at_exit() -> None:
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.wait_until(None)


def _wait_at_exit(pool: _Pool) -> None:
    # Not at import: handlers run last in, first out, and the one that stops the scopes is to come after this one.
    global _at_exit_registered
    if not _at_exit_registered:
        _at_exit_registered = True
        atexit.register(_at_exit)
    _pools.add(pool)


class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    """As concurrent.futures.ThreadPoolExecutor; future.cancel() ends running work, and shutdown() can have a deadline.

    >>> pool = unstick.ThreadPoolExecutor(4)
    >>> future = pool.submit(urllib.request.urlopen, url)
    >>> future.cancel()                       # whatever it is in
    >>> for one in pool.shutdown(deadline=3): # at most 3 s
    ...     print("left:", one)
    """

    def __init__(self, max_workers: Optional[int] = None, thread_name_prefix: str = "", initializer=None, initargs: tuple = ()) -> None:
        super().__init__(max_workers, thread_name_prefix, initializer, initargs)
        self._pool = _Pool(self._max_workers, self._thread_name_prefix, initializer, initargs)  # type: ignore
        _wait_at_exit(self._pool)
        weakref.finalize(self, self._pool.close).atexit = False

    def submit(self, fn, /, *args, **kwargs) -> Future:
        """Have fn(*args, **kwargs) called by a worker."""
        future = Future()
        self._pool.add(_Work(future, fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False, deadline: Optional[float] = None) -> List[Stack]:
        """Take no more work, and wait until that which was taken is done: for ever, or for at most `deadline` seconds.

        With a deadline, work that still waits or runs after four fifths of it is cancelled; with cancel_futures at once. Without a
        deadline cancel_futures cancels what has not begun, as in concurrent.futures.
        Returns the threads that are left, each with its name, its place in the Python code, the call it is in, and why it cannot be
        freed. They are abandoned: their futures end as cancelled, and the exit of the program does not wait for them. Without `wait`
        it returns at once, with the threads that still work, and the rest is seen to by a thread of its own.
        """
        pool = self._pool
        begun = time.monotonic()
        pool.close()
        if cancel_futures:
            pool.cancel_queued()
        if not wait:
            if deadline is not None:
                later = {"cancel_futures": cancel_futures, "deadline": deadline}
                threading.Thread(target=self.shutdown, kwargs=later, daemon=True).start()
            return pool.left()
        if deadline is None:
            pool.wait_until(None)
            return []
        if not cancel_futures and pool.wait_until(begun + deadline * _PATIENCE):
            return []
        pool.cancel_queued()
        pool.cancel_running()
        if pool.wait_until(begun + deadline):
            return []
        left = pool.left()
        pool.abandon()
        _pools.discard(pool)
        return left
