# SPDX-License-Identifier: MIT
"""Threads that wait for locks: those that wait to be told something come out; those that wait for a mutex are left, and said."""

import concurrent.futures
import os
import queue
import threading
import time

import unstick

import tap


PPOLL = "271"


def condition():
    one = threading.Condition()

    def wait():
        with one:
            one.wait()

    return wait


def condition_with_a_plain_lock():
    one = threading.Condition(threading.Lock())

    def wait():
        with one:
            one.wait(1000)

    return wait


def own_lock(take):
    lock = unstick.Lock()
    lock.acquire()
    return lambda: take(lock)


def with_it(lock):
    with lock:
        return "acquired"


WAITS = {
    "own_lock": lambda: own_lock(lambda lock: lock.acquire()),
    "own_lock_with_a_timeout": lambda: own_lock(lambda lock: lock.acquire(timeout=1000)),
    "own_lock_in_with": lambda: own_lock(with_it),
    "condition": condition,
    "condition_with_a_plain_lock": condition_with_a_plain_lock,
    "event": lambda: threading.Event().wait,
    "event_with_a_timeout": lambda: lambda event=threading.Event(): event.wait(1000),
    "queue_get": lambda: queue.Queue().get,
    "queue_get_with_a_timeout": lambda: lambda one=queue.Queue(): one.get(timeout=1000),
    "priority_queue_get": lambda: queue.PriorityQueue().get,
    "queue_put": lambda: lambda one=full_queue(): one.put(2),
    "queue_join": lambda: full_queue().join,
    "semaphore": lambda: threading.Semaphore(0).acquire,
    "bounded_semaphore": lambda: lambda one=taken_semaphore(): one.acquire(),
    "barrier": lambda: threading.Barrier(2).wait,
    "future_result": lambda: concurrent.futures.Future().result,
    "futures_wait": lambda: lambda one=concurrent.futures.Future(): concurrent.futures.wait([one]),
}


def full_queue():
    one = queue.Queue(1)
    one.put(1)
    return one


def taken_semaphore():
    one = threading.BoundedSemaphore()
    one.acquire()
    return one


def check(worker, wanted):
    worker.join()
    assert isinstance(worker.error, wanted), f"{worker.error!r}, {worker.result!r}"
    assert worker.left and worker.finished


def interrupted(wait):
    worker = tap.Worker(wait())
    tap.wait_for(lambda: tap.call_of(worker.tid) in (tap.FUTEX, PPOLL), "it waits")
    outcome = unstick.interrupt(worker.thread, until=20)
    assert outcome.raised, outcome
    check(worker, unstick.Interrupted)


def timed_out(wait):
    block = wait()

    def limited():
        with unstick.timeout(0.02):
            block()

    check(tap.Worker(limited), unstick.Timeout)


def timed_out_in_main(wait):
    block = wait()
    with unstick.move_on_after(0.02) as scope:
        block()
    assert scope.cancelled_caught


def main_comes_out_of_a_mutex():
    for lock in (threading.Lock(), threading.RLock()):
        holder = hold(lock)
        with unstick.move_on_after(0.02) as scope:
            with lock:
                raise AssertionError("it is held")
        assert scope.cancelled_caught
        holder.set()


def main_comes_out_of_a_join():
    release = threading.Event()
    thread = unstick.Thread(target=release.wait, daemon=True)
    thread.start()
    with unstick.move_on_after(0.02) as scope:
        thread.join()
    assert scope.cancelled_caught and thread.is_alive()
    release.set()
    thread.join()


def main_is_interrupted_in_a_lock():
    main = threading.main_thread()
    lock = threading.Lock()
    lock.acquire()

    def interrupter():
        tap.wait_blocked(main.native_id, lock=True)
        return unstick.interrupt(main, KeyError("out"), until=20)

    worker = tap.Worker(interrupter)
    try:
        lock.acquire()
    except KeyError:
        pass
    else:
        raise AssertionError("the lock was acquired")
    assert worker.join().result.raised


def own_lock_as_any_lock():
    lock = unstick.Lock()
    with lock:
        assert lock.locked() and lock.acquire(False) is False and lock.acquire(timeout=0.01) is False
    assert not lock.locked() and lock.acquire() is True
    lock.release()
    for wrong in (lock.release, lambda: lock.acquire(False, 1), lambda: lock.acquire(timeout=-2)):
        try:
            wrong()
        except (RuntimeError, ValueError):
            continue
        raise AssertionError(wrong)


def own_lock_excludes():
    lock, inside, total = unstick.Lock(), [], [0]

    def add():
        for _ in range(300):
            with lock:
                inside.append(1)
                before = total[0]
                time.sleep(0)
                total[0] = before + 1
                assert len(inside) == 1
                inside.pop()

    for worker in [tap.Worker(add) for _ in range(8)]:
        assert worker.join().error is None, worker.error
    assert total == [2400]


def own_lock_is_given_on_after_interrupts():
    """Waiters are cut short while the lock goes from hand to hand: none of them takes it along, none is forgotten."""
    lock, stop = unstick.Lock(), []

    def go_round():
        while not stop:
            try:
                with unstick.timeout(0.001):
                    with lock:
                        time.sleep(0.0005)
            except unstick.Timeout:
                pass

    workers = [tap.Worker(go_round) for _ in range(6)]
    time.sleep(1)
    stop.append(1)
    for worker in workers:
        assert worker.join().error is None, worker.error
    assert lock.acquire(False), "an interrupted thread has kept it"


def own_lock_after_fork():
    lock = unstick.Lock()
    release = hold(lock)
    waiter = tap.Worker(lock.acquire)
    tap.wait_blocked(waiter.tid)
    child = os.fork()
    if child == 0:
        lock.release()  # of the copy
        os._exit(0 if lock.acquire(False) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not waiter.finished
    release.set()
    assert waiter.join().result is True


def hold(lock):
    held, release = threading.Event(), threading.Event()

    def holder():
        with lock:
            held.set()
            release.wait()

    threading.Thread(target=holder, daemon=True).start()
    held.wait()
    return release


def mutex_in_a_worker_is_reported():
    for lock in (threading.Lock(), threading.RLock()):
        release = hold(lock)

        def wait():
            with lock:
                return "acquired"

        worker = tap.Worker(wait)
        tap.wait_blocked(worker.tid, lock=True)
        outcome = unstick.interrupt(worker.thread, until=0.1)
        assert outcome.kind == "lock" and not outcome.raised, outcome
        release.set()
        assert worker.join().result == "acquired"


def a_notification_goes_to_one_that_still_waits():
    """Also in the moment in which another's wait is cut short and it has not yet come out."""
    one = threading.Condition()

    def wait():
        with one:
            return one.wait()

    for _ in range(100):
        goes = tap.Worker(wait)
        tap.wait_for(lambda: len(one._waiters) == 1, "the first waits")
        stays = tap.Worker(wait)
        tap.wait_for(lambda: len(one._waiters) == 2, "the second waits")
        tap.wait_blocked(goes.tid, lock=True)
        tap.wait_blocked(stays.tid, lock=True)
        outcome = unstick.interrupt(goes.thread, until=20)
        assert outcome.raised, (outcome, goes.error, goes.result)
        with one:
            one.notify()
        assert stays.join().result is True
        check(goes, unstick.Interrupted)


def a_held_condition_is_waited_for():
    """While somebody holds the condition's lock nothing is done to its waiters; once he lets go, they can be interrupted."""
    one = threading.Condition()

    def wait():
        with one:
            one.wait()

    worker = tap.Worker(wait)
    tap.wait_for(lambda: one._waiters, "it waits")
    tap.wait_blocked(worker.tid, lock=True)
    release = hold(one)
    assert not unstick.interrupt(worker.thread, until=0.05).raised
    release.set()
    assert unstick.interrupt(worker.thread, until=20).raised
    check(worker, unstick.Interrupted)


if __name__ == "__main__":
    tests = []
    for name, wait in WAITS.items():
        tests.append((f"{name}_interrupted", lambda wait=wait: interrupted(wait)))
        tests.append((f"{name}_timed_out", lambda wait=wait: timed_out(wait)))
        tests.append((f"{name}_timed_out_in_main", lambda wait=wait: timed_out_in_main(wait)))
    tap.run(
        tests
        + [
            (one.__name__, one)
            for one in (
                own_lock_as_any_lock,
                own_lock_excludes,
                own_lock_is_given_on_after_interrupts,
                own_lock_after_fork,
                main_comes_out_of_a_mutex,
                main_comes_out_of_a_join,
                main_is_interrupted_in_a_lock,
                mutex_in_a_worker_is_reported,
                a_notification_goes_to_one_that_still_waits,
                a_held_condition_is_waited_for,
            )
        ]
    )
