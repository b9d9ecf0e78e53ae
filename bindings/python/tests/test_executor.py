# SPDX-License-Identifier: MIT
"""unstick.ThreadPoolExecutor: running work is cancelled, workers survive, shutdown ends in time."""

import concurrent.futures
import os
import subprocess
import sys
import threading
import time

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


def test_worker_interrupted_from_outside_is_replaced():
    with unstick.ThreadPoolExecutor(1) as pool:
        pool.submit(int).result(30)
        (worker,) = pool._pool.workers
        tap.wait_blocked(worker.native_id, lock=True)
        threading.excepthook, hook = lambda args: None, threading.excepthook
        try:
            assert unstick.interrupt(worker, until=20).raised
            worker.join(30)
        finally:
            threading.excepthook = hook
        assert pool.submit(int).result(30) == 0


def test_initializer():
    local = threading.local()
    with unstick.ThreadPoolExecutor(1, initializer=lambda value: setattr(local, "value", value), initargs=(7,)) as pool:
        assert pool.submit(lambda: local.value).result(30) == 7
    with unstick.ThreadPoolExecutor(1, initializer=divmod, initargs=(1, 0)) as pool:
        raises(concurrent.futures.BrokenExecutor, lambda: pool.submit(int).result(30))


def test_shutdown_with_a_deadline_lets_work_end_then_cancels_it():
    pool = unstick.ThreadPoolExecutor(2)
    short, long, waiting = pool.submit(time.sleep, 0.01), pool.submit(time.sleep, 1000), pool.submit(int)
    left = pool.shutdown(deadline=2)
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
    assert "_executor.py" in left.where and "lock" in left.why, left
    assert future.cancelled()
    lock.release()


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
