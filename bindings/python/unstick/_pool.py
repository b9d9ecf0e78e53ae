# SPDX-License-Identifier: MIT
"""The workers of a ThreadPoolExecutor, and what they share.

That all work which was not abandoned is waited for at exit, as concurrent.futures does, is seen to here.
"""

import _thread
import atexit
import collections
import contextlib
import itertools
import os
import threading
import time
import weakref
from concurrent.futures.thread import BrokenThreadPool
from typing import Callable, List, Optional, Set, Tuple, cast

from . import _unstick
from ._future import Work
from ._stacks import Stack, show_name, stacks
from ._threads import start_thread


class _Worker(threading.Thread):
    """A daemon: one that nothing can end does not hold up the exit of the program."""

    work: Optional[Work] = None  # what it does now

    def _unstick_note(self) -> Tuple[str, str]:
        """For stacks(): what it does, and why it still does."""
        work = self.work
        return (work.name(), work.trouble(self.ident or 0)) if work else ("", "")


class Pool:
    """What the workers share, and may outlive the executor: they hold no reference to that."""

    def __init__(self, most: int, prefix: str, initializer: Optional[Callable], initargs: tuple) -> None:
        self.most, self.prefix, self.initializer, self.initargs = most, prefix, initializer, initargs
        self.changed = threading.Condition()  # guards what follows
        self.queue: collections.deque = collections.deque()
        self.workers: Set[_Worker] = set()
        self.idle = 0
        self.closed = False
        self.abandoned = False
        self.broken: Optional[str] = None
        self.numbers = itertools.count()

    # ---- by whoever uses the executor

    def add(self, work: Work) -> None:
        with self.changed:
            if self.broken:
                raise BrokenThreadPool(self.broken)
            if self.closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.queue.append(work)
            try:
                self._see_to_workers()
            except BaseException:
                with contextlib.suppress(ValueError):
                    self.queue.remove(work)
                raise

    def _see_to_workers(self) -> None:
        if self.idle >= len(self.queue):
            self.changed.notify()
        elif len(self.workers) < self.most:
            name = f"{self.prefix}_{next(self.numbers)}"
            worker = _Worker(target=self._work, name=name, daemon=True)
            self.workers.add(worker)
            try:
                start_thread(worker.start)
            except BaseException as error:
                if worker.ident is None:
                    self.workers.discard(worker)
                if not self.workers or not isinstance(error, (RuntimeError, MemoryError)):
                    raise  # no room for a thread, and nobody else to do it; or something that is the caller's
                return
            show_name(worker)

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

    def _running(self) -> List[Work]:
        with self.changed:
            return [worker.work for worker in self.workers if worker.work]

    def cancel_running(self) -> None:
        for work in self._running():
            work.future.cancel()

    def wait_until(self, when: Optional[float]) -> bool:
        """All workers are gone: only a closed pool loses them all. Those that were abandoned are not waited for."""
        with self.changed:
            self.changed.wait_for(
                lambda: not self.workers or self.abandoned, None if when is None else max(0.0, when - time.monotonic())
            )
            return not self.workers

    def left(self) -> List[Stack]:
        with self.changed:
            tids = {worker.native_id for worker in self.workers}
        return [one for one in stacks() if one.tid in tids]

    def abandon(self) -> None:
        for work in self._running():
            work.future._abandon()
        with self.changed:
            self.abandoned = True
            self.changed.notify_all()

    def drain(self, cancel_at: float, until: float) -> List[Stack]:
        """What is not done at `cancel_at` is cancelled, and what is left at `until` is abandoned, and returned."""
        if self.wait_until(cancel_at):
            return []
        self.cancel_queued()
        self.cancel_running()
        if self.wait_until(until):
            return []
        left = self.left()
        self.abandon()
        return left

    # ---- by the workers

    def _next(self, me: _Worker) -> Optional[Work]:
        with self.changed:
            me.work = None
            while not self.queue:
                if self.closed:
                    return None
                self.idle += 1
                try:
                    self.changed.wait()
                finally:
                    self.idle -= 1
            work = self.queue.popleft()
            me.work = work
            return work

    def _run_one(self, me: _Worker) -> bool:
        work = self._next(me)
        if work is None:
            return False
        work.run()
        return True

    def _initialise(self) -> bool:
        if self.initializer is None:
            return True
        try:
            with _unstick.work():
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
        me = cast(_Worker, threading.current_thread())
        with _unstick.shield():  # the book-keeping; see Work.run()
            try:
                if self._initialise():
                    while self._run_one(me):
                        pass
            finally:
                self._bury(me)

    def _bury(self, me: _Worker) -> None:
        """Also of a worker that a callback's exception has ended: its place is filled if there is work."""
        if me.work:
            me.work.future._settle(None, RuntimeError("its worker has ended"))
        with self.changed:
            self.workers.discard(me)
            if self.queue and not self.broken:
                self._see_to_workers()
            self.changed.notify_all()


_pools: "weakref.WeakSet[Pool]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_pools.clear)  # there are no workers
_at_exit_registered = False


def _at_exit() -> None:
    pools = list(_pools)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.wait_until(None)


def wait_at_exit(pool: Pool) -> None:
    # Not at import: handlers run last in, first out, and the one that stops the scopes is to come after this one.
    global _at_exit_registered
    if not _at_exit_registered:
        _at_exit_registered = True
        atexit.register(_at_exit)
    _pools.add(pool)


def close_behind(pool: Pool) -> None:
    """Called by the garbage collector, maybe on top of code that holds the pool's lock, or threading's."""
    try:
        _thread.start_new_thread(pool.close, ())
    except RuntimeError:
        pool.closed = True  # seen with the next work
