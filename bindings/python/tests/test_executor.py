# SPDX-License-Identifier: MIT
"""unstick.ThreadPoolExecutor: running work is cancelled, workers survive, shutdown ends in time."""

import concurrent.futures
import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import unstick

import tap
from tap import raises

CANCELS = int(os.environ.get("UNSTICK_CANCELS", "1000"))


def wait_running(future):
    tap.wait_for(future.running, "the work runs")


def test_work_as_with_any_executor():
    with unstick.ThreadPoolExecutor(3, "worker") as pool:
        assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
        futures = [pool.submit(pow, i, 2) for i in range(100)]
        assert sorted(f.result(30) for f in concurrent.futures.as_completed(futures, 30)) == [i * i for i in range(100)]
        assert list(pool.map(str, range(5))) == list("01234")
        assert isinstance(raises(ZeroDivisionError, pool.submit(divmod, 1, 0).result, 30), ZeroDivisionError)
        assert pool.submit(lambda: threading.current_thread().name).result(30).startswith("worker_")
    raises(RuntimeError, pool.submit, int)


def test_cancel_of_running_work():
    cleaned = []

    def work():
        try:
            time.sleep(1000)
        finally:
            cleaned.append(True)

    with unstick.ThreadPoolExecutor(1) as pool:
        told = []
        future = pool.submit(work)
        future.add_done_callback(told.append)
        wait_running(future)
        assert "state=running" in repr(future)
        assert future.cancel()
        raises(concurrent.futures.CancelledError, future.result, 30)
        assert future.cancelled() and future.done() and not future.running() and cleaned
        tap.wait_for(lambda: told == [future], "the callback is called")
        worker = pool.submit(threading.get_ident)
        assert worker.result(30) and not worker.cancel() and not worker.cancelled()


def test_cancel_of_work_that_waits_and_of_work_in_a_loop():
    def spin():
        while True:
            pass

    with unstick.ThreadPoolExecutor(1) as pool:
        first, second = pool.submit(spin), pool.submit(int)
        wait_running(first)
        assert second.cancel() and second.cancelled() and not second.running()
        assert first.cancel()
        assert concurrent.futures.wait([first, second], 30).done == {first, second}
        assert first.cancelled() and pool.submit(int).result(30) == 0


def test_cancel_of_work_that_ignores_it_is_kept():
    def stubborn():
        try:
            time.sleep(1000)
        except unstick.Cancelled:
            return "anyway"

    with unstick.ThreadPoolExecutor(1) as pool:
        future = pool.submit(stubborn)
        wait_running(future)
        assert future.cancel()
        raises(concurrent.futures.CancelledError, future.result, 30)


def test_many_cancels_kill_no_worker_and_leave_no_future():
    """Cancelled at every stage: waiting, beginning, computing, blocked, ending."""
    read, write = os.pipe()

    def work(i):
        if i % 2:
            return os.read(read, 1)
        return sum(range(i % 1000))

    with unstick.ThreadPoolExecutor(4) as pool:
        barrier = threading.Barrier(5)
        for _ in range(4):
            pool.submit(barrier.wait)
        barrier.wait(30)
        before = set(pool._pool.workers)
        running = finished = 0
        for i in range(CANCELS):
            future = pool.submit(work, i)
            while i % 3 and not (future.running() or future.done()):
                time.sleep(0)
            was_running = future.running()
            promised = future.cancel()
            running += promised and was_running
            done = concurrent.futures.wait([future], 60).done
            assert done, f"future {i} is stuck: {future!r} {[str(s) for s in unstick.stacks()]}"
            assert promised == future.cancelled()
            finished += not promised
        assert set(pool._pool.workers) == before, "a worker died"
    os.close(read)
    os.close(write)
    print(f"# {CANCELS} cancels: {running} of running work, {finished} came after the end; 0 dead workers, 0 stuck futures")


def test_many_cancels_of_running_work():
    read, write = os.pipe()
    with unstick.ThreadPoolExecutor(2) as pool:
        for _ in range(CANCELS // 2):
            futures = [pool.submit(os.read, read, 1) for _ in range(2)]
            for future in futures:
                wait_running(future)
                assert future.cancel()
            assert len(concurrent.futures.wait(futures, 60).done) == 2
            assert all(future.cancelled() for future in futures)
        assert len(pool._pool.workers) == 2
    print(f"# {CANCELS // 2 * 2} cancels of work in a read: 0 dead workers, 0 stuck futures")
    os.close(read)
    os.close(write)


def test_interrupt_reaches_the_work_and_not_the_worker():
    with unstick.ThreadPoolExecutor(1) as pool:
        pool.submit(int).result(30)
        (worker,) = pool._pool.workers
        tap.wait_blocked(worker.native_id, lock=True)
        outcome = unstick.interrupt(worker, until=0.05)
        assert outcome.kind == "shielded" and not outcome.raised, outcome
        future = pool.submit(time.sleep, 1000)
        wait_running(future)
        assert unstick.interrupt(worker, until=20).raised
        assert isinstance(future.exception(30), unstick.Interrupted)
        assert pool.submit(int).result(30) == 0
        assert pool._pool.workers == {worker}


def test_interrupts_at_any_moment_lose_no_worker_and_no_work():
    with unstick.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(time.sleep, i % 5 * 0.0002) for i in range(2000)]
        while not all(future.done() for future in futures):
            for worker in list(pool._pool.workers):
                unstick.interrupt(worker, until=0.001)
        ended = [future.exception(30) for future in futures]
        assert all(error is None or isinstance(error, unstick.Interrupted) for error in ended)
        assert len(pool._pool.workers) == 2 and pool.submit(int).result(30) == 0


class Own(BaseException):
    pass


def test_a_canceller_that_is_hit_leaves_no_future_behind():
    """By a signal handler that raises, when the future is settled and nobody has been told."""
    tell, hits = unstick.Future._tell, []

    def hit(future):
        if not hits:
            hits.append(future)
            raise Own
        tell(future)

    with unstick.ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        pool.submit(gate.wait)
        future = pool.submit(int)
        unstick.Future._tell = hit
        try:
            raises(Own, future.cancel)
            assert hits == [future] and not future.done()
            gate.set()
            assert concurrent.futures.wait([future], 60).done and future.cancelled()
        finally:
            unstick.Future._tell = tell


def test_a_callback_that_raises_what_it_should_not():
    def callback(_):
        raise Own

    with unstick.ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        pool.submit(gate.wait)
        future = pool.submit(int)
        future.add_done_callback(callback)
        raises(Own, future.cancel)
        assert future.cancelled() and concurrent.futures.wait([future], 30).done
        gate.set()


def test_submit_that_is_hit_passes_it_on():
    with unstick.ThreadPoolExecutor(2) as pool:
        gate = threading.Event()
        first = pool.submit(gate.wait)
        wait_running(first)
        start = threading.Thread.start
        threading.Thread.start = lambda thread: (_ for _ in ()).throw(Own)
        try:
            raises(Own, pool.submit, int)
        finally:
            threading.Thread.start = start
        gate.set()
        first.result(30)
        assert not pool._pool.queue and pool.submit(int).result(30) == 0


def test_a_forked_child_exits():
    program = """import os, sys, unstick
pool = unstick.ThreadPoolExecutor(1)
pool.submit(int).result()
pid = os.fork()
if pid == 0:
    sys.exit(0)
sys.exit(os.waitpid(pid, 0)[1])
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=60).returncode == 0


def test_initializer():
    local = threading.local()
    with unstick.ThreadPoolExecutor(1, initializer=lambda value: setattr(local, "value", value), initargs=(7,)) as pool:
        assert pool.submit(lambda: local.value).result(30) == 7
    with unstick.ThreadPoolExecutor(1, initializer=divmod, initargs=(1, 0)) as pool:
        raises(concurrent.futures.BrokenExecutor, lambda: pool.submit(int).result(30))


def test_shutdown_with_a_deadline_lets_work_end_then_cancels_it():
    pool = unstick.ThreadPoolExecutor(2)
    short, long, waiting = pool.submit(time.sleep, 0.01), pool.submit(time.sleep, 1000), pool.submit(int)
    left = pool.shutdown(deadline=60, cancel_after=0.5)
    assert left == [], [str(stack) for stack in left]
    assert short.result(0) is None and long.cancelled() and waiting.result(0) == 0


def test_shutdown_with_cancel_futures_and_a_deadline_cancels_at_once():
    pool = unstick.ThreadPoolExecutor(1)
    running, waiting = pool.submit(time.sleep, 1000), pool.submit(int)
    wait_running(running)
    assert pool.shutdown(cancel_futures=True, deadline=1000) == []
    assert running.cancelled() and waiting.cancelled()


def test_shutdown_names_what_is_left_and_its_futures_end():
    lock = threading.Lock()
    lock.acquire()
    pool = unstick.ThreadPoolExecutor(2, "stuck")
    future = pool.submit(lock.acquire)
    wait_running(future)
    tap.wait_for(lambda: any(tap.call_of(w.native_id) == tap.FUTEX for w in list(pool._pool.workers)), "it waits")
    (left,) = pool.shutdown(deadline=0.1)
    assert left.name.startswith("stuck") and left.call == "futex" and left.freeable is False, left
    assert left.work == "lock.acquire" and left.why.startswith("a lock") and "has not arrived" in left.why, left
    assert f"{left.name} ({left.tid}), doing lock.acquire, at" in str(left), left
    assert future.cancelled()
    lock.release()


def left_with_work(work):
    """What shutdown() says of work that a cancel does not end. Afterwards it ends by itself."""
    end = threading.Event()
    pool = unstick.ThreadPoolExecutor(1)
    future = pool.submit(work, end)
    wait_running(future)
    (worker,) = pool._pool.workers
    tap.wait_for(lambda: tap.call_of(worker.native_id) not in ("running", ""), "it blocks")
    (left,) = pool.shutdown(deadline=0.5, cancel_after=0)
    end.set()
    worker.join(30)
    assert not worker.is_alive() and future.cancelled()
    return left


def test_what_is_left_says_what_became_of_its_cancelling():
    def cleans_up(end):
        try:
            time.sleep(1000)
        finally:
            while not end.is_set():
                time.sleep(0.01)

    def goes_on(end):
        while not end.is_set():
            try:
                time.sleep(1000)
            except unstick.Cancelled:
                break
        while not end.is_set():
            try:
                end.wait(1000)
            except unstick.Cancelled:
                pass

    def shielded(end):
        with unstick.shield():
            while not end.is_set():
                time.sleep(0.01)

    left = left_with_work(goes_on)
    assert "was interrupted 0." in left.why and "went on" in left.why and left.why in str(left), left
    assert left.where.endswith("in goes_on") and "goes_on" in left.work, left
    left = left_with_work(cleans_up)
    assert "was interrupted 0." in left.why and "is in clean-up since" in left.why, left
    assert "went on" not in left.why or sys.version_info < (3, 10), left
    left = left_with_work(shielded)
    assert "which has not arrived" in left.why, left


class Called:
    def __call__(self):
        pass

    def __repr__(self):
        return "an object of Called"


def test_the_name_of_the_work():
    name = lambda function: unstick._future.Work(None, function, (), {}).name()  # noqa: E731
    assert name(time.sleep) == "time.sleep" and name(functools.partial(functools.partial(divmod, 1), 2)) == "divmod"
    assert name(test_initializer) == "test_initializer" and name(Called()).endswith("Called")


def test_clean_up_has_the_time_from_cancel_after_to_the_deadline():
    cleaned = []

    def work():
        try:
            time.sleep(1000)
        finally:
            time.sleep(0.3)
            cleaned.append(True)

    pool = unstick.ThreadPoolExecutor(1)
    future = pool.submit(work)
    wait_running(future)
    assert pool.shutdown(deadline=60, cancel_after=0) == [] and cleaned and future.cancelled()


def shutdown_that_is_left(leave, wanted):
    """shutdown() is left by an exception: its deadline holds all the same."""
    pool = unstick.ThreadPoolExecutor(1)
    future = pool.submit(time.sleep, 1000)
    wait_running(future)

    def when_it_waits():
        tap.wait_for(lambda: any(t.name == "unstick-shutdown" for t in threading.enumerate()), "shutdown() waits")
        leave()

    leaver = threading.Thread(target=when_it_waits)
    leaver.start()
    raises(wanted, lambda: pool.shutdown(deadline=1))
    leaver.join(30)
    raises(concurrent.futures.CancelledError, future.result, 30)


def test_shutdown_left_by_a_signal_goes_on_behind():
    before = signal.signal(signal.SIGUSR1, lambda *_: divmod(1, 0))
    try:
        shutdown_that_is_left(lambda: os.kill(os.getpid(), signal.SIGUSR1), ZeroDivisionError)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_shutdown_left_by_an_interrupt_goes_on_behind():
    main = threading.current_thread()
    shutdown_that_is_left(lambda: unstick.interrupt(main, KeyError, until=20), KeyError)


def test_exit_is_not_held_up_by_what_a_shutdown_behind_has_left():
    result = runs(
        "import unstick, threading, time\nlock = threading.Lock(); lock.acquire()\npool = unstick.ThreadPoolExecutor(1)\n"
        "f = pool.submit(lock.acquire)\nwhile not f.running(): time.sleep(.001)\nprint(len(pool.shutdown(False, deadline=.1)))"
    )
    assert (result.returncode, result.stdout) == (0, b"1\n"), result


def test_second_shutdown_does_not_wait_for_what_the_first_has_left():
    lock = threading.Lock()
    lock.acquire()
    with unstick.ThreadPoolExecutor(1) as pool:
        wait_running(pool.submit(lock.acquire))
        assert [one.work for one in pool.shutdown(deadline=0.05)] == ["lock.acquire"]
        assert len(pool.shutdown()) == 1 and len(pool.shutdown(deadline=1000)) == 1
    lock.release()


def test_shutdown_at_the_end_of_the_program():
    result = runs(
        "import atexit, os, unstick\npool = unstick.ThreadPoolExecutor(1)\npool.submit(os.read, os.pipe()[0], 1)\n"
        "atexit.register(lambda: print(pool.shutdown(deadline=.5)))"
    )
    assert (result.returncode, result.stdout) == (0, b"[]\n"), result


def test_wrong_arguments_of_shutdown():
    with unstick.ThreadPoolExecutor(1) as pool:
        error = raises(TypeError, pool.shutdown, 3)
        assert "deadline=3" in str(error), error
        for name in "deadline", "cancel_after":
            error = raises(TypeError, lambda: pool.shutdown(**{"deadline": 3, name: "x"}))
            assert f"{name} must be a number of seconds or None, not str" in str(error), error
        raises(ValueError, lambda: pool.shutdown(deadline=float("nan")))
        raises(ValueError, lambda: pool.shutdown(cancel_after=1))
        raises(ValueError, lambda: pool.shutdown(deadline=1, cancel_after=2))
        assert pool.submit(int).result(30) == 0, "none of them has closed it"


def test_cancelled_error_has_the_cause_with_its_place():
    def stuck():
        time.sleep(1000)

    with unstick.ThreadPoolExecutor(1) as pool:
        future = pool.submit(stuck)
        wait_running(future)
        (worker,) = pool._pool.workers
        tap.wait_settled(worker.native_id)
        future.cancel()
        for ask in future.result, future.exception:
            cause = raises(concurrent.futures.CancelledError, ask, 30).__cause__
            assert isinstance(cause, unstick.Cancelled), repr(cause)
            assert [place.name for place in traceback.extract_tb(cause.__traceback__)] == ["stuck"]


def test_shutdown_without_waiting():
    pool = unstick.ThreadPoolExecutor(1, "late")
    future = pool.submit(time.sleep, 1000)
    wait_running(future)
    (left,) = pool.shutdown(wait=False, deadline=0.05)
    assert left.name.startswith("late")
    raises(concurrent.futures.CancelledError, future.result, 30)


def runs(program):
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)


def test_exit_waits_for_work_as_always():
    result = runs("import unstick, time\nunstick.ThreadPoolExecutor(1).submit(lambda: (time.sleep(.2), print('done')))")
    assert (result.returncode, result.stdout) == (0, b"done\n"), result


def test_exit_is_not_held_up_by_what_was_left():
    result = runs(
        "import unstick, threading\nlock = threading.Lock(); lock.acquire()\npool = unstick.ThreadPoolExecutor(1)\n"
        "pool.submit(lock.acquire)\nprint(len(pool.shutdown(deadline=.1)))"
    )
    assert (result.returncode, result.stdout) == (0, b"1\n"), result


def test_executor_that_is_dropped_loses_its_workers():
    pool = unstick.ThreadPoolExecutor(1, "dropped")
    pool.submit(int).result(30)
    del pool
    tap.wait_for(lambda: not any(t.name.startswith("dropped") for t in threading.enumerate()), "the worker ends")


if __name__ == "__main__":
    tap.run_module(globals())
