# SPDX-License-Identifier: MIT
"""The ways in which Python programmers have tried to end a thread, each made to work on one that is blocked in I/O."""

import os
import subprocess
import sys
import threading
import time

import unstick

import tap
from tap import raises


def blocked_in_io():
    """A thread in a read that nobody will answer, and what would answer it."""
    read, write = os.pipe()
    thread = unstick.Thread(target=os.read, args=(read, 1), daemon=True)
    thread.start()
    tap.wait_settled(thread.native_id)
    return thread, write


def test_asynchronous_exception():
    """interrupt() raises in a thread that is in a read, and has never heard of unstick; once, and of the class asked for."""
    read, _ = os.pipe()
    worker = tap.Worker(lambda: os.read(read, 1))
    tap.wait_settled(worker.tid)
    assert unstick.interrupt(worker.thread, KeyError("stop"), until=20).raised
    assert worker.join().error.args == ("stop",) and worker.left and worker.finished


def test_stop_flag():
    """A Token is a flag that a loop may look at, and ends the read too that keeps it from looking."""
    token, read, ended = unstick.Token(), os.pipe()[0], []

    def work():
        with unstick.move_on_after(None, token=token) as scope:
            while not token.fired:
                os.read(read, 1)
        ended.append(scope.cancelled_caught)

    workers = [tap.Worker(work) for _ in range(3)]
    for worker in workers:
        tap.wait_settled(worker.tid)
    token.cancel()
    for worker in workers:
        assert worker.join().error is None
    assert ended == [True] * 3 and token.cancelled


def test_trace():
    """interrupt() reaches a loop in pure Python without tracing it, and a scope's limit does."""

    def spin():
        while True:
            pass

    worker = tap.Worker(spin)
    assert unstick.interrupt(worker.thread, until=20).raised
    assert isinstance(worker.join().error, unstick.Interrupted)
    with unstick.move_on_after(0.02) as scope:
        spin()
    assert scope.cancelled_caught


def test_process_and_terminate():
    """A program is ended with all that it has started, and what it said is kept."""
    error = raises(
        subprocess.TimeoutExpired,
        lambda: unstick.run_process(["sh", "-c", "echo half; sleep 1000"], capture_output=True, timeout=0.5),
    )
    assert error.output == b"half\n" and tap.children() == []
    assert unstick.run_process(["sh", "-c", "exit 7"], timeout=60).returncode == 7


def test_daemon_thread():
    """A pool ends by its deadline; what nothing can end is named, and does not hold up the end of the program."""
    program = """
import os, threading, unstick
lock = threading.Lock(); lock.acquire()
pool = unstick.ThreadPoolExecutor(2, "pool")
inside = []
pool.submit(lambda: (inside.append(1), os.read(os.pipe()[0], 1)))
pool.submit(lambda: (inside.append(1), lock.acquire()))
while len(inside) < 2: pass
(left,) = pool.shutdown(deadline=0.3)
print(left.name.startswith("pool"), left.call, left.freeable, "lock" in left.why)
"""
    result = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=120)
    assert (result.returncode, result.stdout) == (0, b"True futex False True\n"), result


def test_stop_or_kill():
    """Thread.kill(): the thread is ended in fact, and the outcome says how."""
    thread, _ = blocked_in_io()
    outcome = thread.kill(until=20)
    assert outcome.raised and outcome.call == "read" and thread.outcome is outcome, outcome
    thread.join(30)
    assert not thread.is_alive()
    tap.wait_for(lambda: not os.path.exists(f"/proc/self/task/{thread.native_id}"), "the kernel's thread has gone too")


def test_join_and_get_result_and_watcher():
    """join() with a limit, the result or where the thread is, and a second thread that does end it."""
    thread, write = blocked_in_io()
    thread.join(0.01)
    assert thread.is_alive() and "read" in str(raises(TimeoutError, thread.get_result, 0.01))
    os.write(write, b"x")
    assert thread.get_result(30) == b"x"

    thread, _ = blocked_in_io()

    def watch():
        thread.join(0.05)
        return thread.kill(until=20).raised if thread.is_alive() else None

    watcher = unstick.Thread(target=watch)
    watcher.start()
    assert watcher.get_result(60) is True
    raises(unstick.Interrupted, thread.get_result, 30)


def test_executor():
    """A future is cancelled while its work is in a read, and the worker does the next piece."""
    with unstick.ThreadPoolExecutor(1) as pool:
        future = pool.submit(os.read, os.pipe()[0], 1)
        tap.wait_for(future.running, "the work runs")
        assert future.cancel()
        assert pool.submit(threading.get_ident).result(30) and future.cancelled()


def test_sleep_of_a_million_seconds_is_over():
    begun = time.monotonic()
    with unstick.move_on_after(0.05):
        time.sleep(1000000)
    assert time.monotonic() - begun < 1000


if __name__ == "__main__":
    tap.run_module(globals())
