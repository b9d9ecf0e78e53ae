# SPDX-License-Identifier: MIT
"""Each blocking call is freed by an interrupt and by a timeout, in a worker and in the main thread: with the right exception, with
`finally` and `__exit__` run, no child and no fd left behind, and never with a result as if nothing had been."""

import contextlib
import gc
import threading

import unstick

import calls
import tap

calls.prepare_resolver()


def interrupted(call):
    with contextlib.ExitStack() as stack:
        block = call(stack)
        before = len(tap.open_fds()), len(tap.children())
        worker = tap.Worker(block)
        if call.__name__ in calls.PROGRAMS:
            tap.wait_for(lambda: tap.runs("sleep"), "the program runs")
        tap.wait_settled(worker.tid)
        outcome = unstick.interrupt(worker.thread, until=20)
        worker.join()
        check(worker, unstick.Interrupted, before, calls.TRANSLATED.get(call.__name__))
        assert outcome.kind == "woken", outcome
        assert outcome.raised == isinstance(worker.error, unstick.Interrupted), outcome


def timed_out_in_worker(call):
    with contextlib.ExitStack() as stack:
        block = call(stack)
        before = len(tap.open_fds()), len(tap.children())

        def limited():
            with unstick.timeout(limit(call)):
                return block()

        worker = tap.Worker(limited).join()
        check(worker, unstick.Timeout, before)


def timed_out_in_main(call):
    with contextlib.ExitStack() as stack:
        block = call(stack)
        before = len(tap.open_fds()), len(tap.children())
        scope = unstick.move_on_after(limit(call))
        with scope:
            block()
        assert scope.cancelled_caught
        leaves_nothing(before)


def limit(call):
    """A program that is cut short while it is being started is left to subprocess, which reaps it later."""
    return 0.5 if call.__name__ in calls.PROGRAMS else 0.05


def leaves_nothing(before):
    gc.collect()
    now = len(tap.open_fds()), len(tap.children())
    assert now == before, f"fds, children: {before} before, {now} after"


def check(worker, wanted, before, translated=None):
    error = worker.error
    worker.error = None
    right = isinstance(error, wanted) or (translated and isinstance(error, translated))
    if not right and error:
        raise AssertionError(f"{error!r}, not {wanted.__name__}") from error
    assert right, f"returned {worker.result!r}"
    assert worker.left and worker.finished
    worker.error = error
    error.__traceback__ = None
    leaves_nothing(before)


def case(how, call):
    return f"{call.__name__}: {how.__name__}", lambda: how(call)


if __name__ == "__main__":
    import sys

    chosen = [call for call in calls.ALL if not sys.argv[1:] or call.__name__ in sys.argv[1:]]
    with unstick.timeout(0.5):  # the service is there before fds and threads are counted
        pass
    tap.run([case(how, call) for call in chosen for how in (interrupted, timed_out_in_worker, timed_out_in_main)])
