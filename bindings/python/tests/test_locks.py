# SPDX-License-Identifier: MIT
"""Threads that wait for locks: those that wait to be told something come out; those that wait for a mutex are left, and said."""

import collections
import concurrent.futures
import os
import queue
import sys
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


def plain_join():
    end = threading.Event()
    plain = threading.Thread(target=end.wait, daemon=True)
    plain.start()
    return plain.join, end.set


def simple_queue():
    things = queue.SimpleQueue()
    return things.get, lambda: things.put(1)


def main_comes_out_of_what_others_are_left_in():
    for make in (plain_join, simple_queue):
        wait, let_go = make()
        with unstick.move_on_after(0.02) as scope:
            wait()
        assert scope.cancelled_caught
        let_go()
        wait, let_go = make()  # from 3.9 to 3.12 CPython takes a thread for ended if a join() was cut short, as by Ctrl-C
        worker = tap.Worker(wait)
        tap.wait_blocked(worker.tid, lock=True)
        outcome = unstick.interrupt(worker.thread, until=0.1)
        assert outcome.kind == "lock" and not outcome.raised, outcome
        let_go()
        assert worker.join().error is None


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


class OtherLock:
    """As a lock, and nothing that unstick knows."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acquire, self.release, self.locked = self.lock.acquire, self.lock.release, self.lock.locked

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *unused):
        self.release()


class DerivedRLock(type(threading.RLock())):
    pass


class DerivedDeque(collections.deque):
    pass


class DerivedCondition(threading.Condition):
    asked = 0

    def __getattribute__(self, name):
        DerivedCondition.asked += 1
        return super().__getattribute__(name)


def other_list(kind):
    one = threading.Condition()
    one._waiters = kind()
    return one


def without_a_list():
    one = threading.Condition()
    waiters = one.__dict__.pop("_waiters")
    one.__class__ = type("Condition", (threading.Condition,), {"_waiters": waiters})
    return one


def with_other_waiters(wait):
    """Makes a thread wait with a waiter that is no lock."""
    threading._allocate_lock, before = OtherLock, threading._allocate_lock
    try:
        worker = wait(one=threading.Condition())
        tap.wait_for(lambda: worker.one._waiters, "it waits")
    finally:
        threading._allocate_lock = before
    return worker


def waiting(one):
    def wait():
        with one:
            return one.wait()

    worker = tap.Worker(wait)
    worker.one = one
    return worker


OTHER_KINDS = {
    "lock": lambda: waiting(threading.Condition(OtherLock())),
    "rlock_in_python": lambda: waiting(threading.Condition(threading._PyRLock())),
    "derived_rlock": lambda: waiting(threading.Condition(DerivedRLock())),
    "list": lambda: waiting(other_list(list)),
    "derived_list": lambda: waiting(other_list(DerivedDeque)),
    "class_with_the_list": lambda: waiting(without_a_list()),
    "waiter": lambda: with_other_waiters(waiting),
}


def left_alone(start):
    """What is not threading's own is reported as a lock, and goes on when it is notified."""
    worker = start()
    one = worker.one
    tap.wait_for(lambda: one._waiters, "it waits")
    tap.wait_blocked(worker.tid, lock=True)
    outcome = unstick.interrupt(worker.thread, until=0.03)
    assert outcome.kind == "lock" and not outcome.raised, outcome
    with one:
        assert len(one._waiters) == 1
        one.notify()
    assert worker.join().result is True, worker.error


def a_derived_condition_is_not_asked():
    """Its own Python code does not run in the thread that interrupts."""
    one = DerivedCondition()
    worker = waiting(one)
    tap.wait_for(lambda: one._waiters, "it waits")
    tap.wait_blocked(worker.tid, lock=True)
    frame_asks = DerivedCondition.asked
    while True:
        outcome = unstick.interrupt(worker.thread, until=0)
        if outcome.raised:
            break
        assert DerivedCondition.asked == frame_asks
    check(worker, unstick.Interrupted)


class Quick:
    """Threads take turns as often as they can."""

    def __enter__(self):
        self.before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)

    def __exit__(self, *unused):
        sys.setswitchinterval(self.before)


def into(got, one):
    """Keeps what wait() returns, with no bytecode in between at which something could be raised."""

    def wait():
        with one:
            got.extend(map(threading.Condition.wait, [one]))

    return wait


def a_notified_waiter_is_left_to_its_notification():
    """While it waits to get back the condition's lock, which its notifier holds; what comes then comes after wait()."""
    for lock in (threading.Lock(), threading.RLock()):
        one, got = threading.Condition(lock), []
        worker = tap.Worker(into(got, one))
        tap.wait_for(lambda: one._waiters, "it waits")
        tap.wait_blocked(worker.tid, lock=True)
        with one:
            one.notify()
            interrupter = tap.Worker(lambda: unstick.interrupt(worker.thread, until=20))
            outcome = unstick.interrupt(worker.thread, until=0.05)
            assert outcome.kind in ("lock", "not blocked") and not outcome.raised, outcome
        worker.join()
        assert got == [True], worker.error
        assert interrupter.join().error is None


def no_notification_is_lost():
    """One is notified and interrupted at once: either it has the notification, or the next one has."""
    with Quick():
        for number in range(300):
            one = threading.Condition(threading.Lock() if number % 2 else None)
            first, second = [], []
            workers = [tap.Worker(into(first, one))]
            tap.wait_for(lambda: len(one._waiters) == 1, "the first waits")
            workers.append(tap.Worker(into(second, one)))
            tap.wait_for(lambda: len(one._waiters) == 2, "the second waits")

            def notify():
                with one:
                    one.notify()

            notifier = tap.Worker(notify)
            unstick.interrupt(workers[0].thread, until=20)
            assert notifier.join().error is None, notifier.error
            workers[0].join()
            tap.wait_for(lambda: first or second, f"one of them is notified (round {number}, {workers[0].error!r})")
            if first:
                assert len(one._waiters) == 1, "both are off the list"
                notify()
            workers[1].join()
            assert len(first) + len(second) == (2 if first else 1) and len(second) == 1, (number, first, second)


def nothing_is_lost_nor_left_held(make, take, give, lock):
    """As above; and what takes and gives is Python code of the library, which is not written for being cut short anywhere."""
    with Quick():
        for number in range(300):
            one, first, second = make(), [], []
            workers = [tap.Worker(lambda: first.extend(map(take, [one])))]
            tap.wait_for(lambda: len(waiters_of(one)) == 1, "the first waits")
            workers.append(tap.Worker(lambda: second.extend(map(take, [one]))))
            tap.wait_for(lambda: len(waiters_of(one)) == 2, "the second waits")
            giver = tap.Worker(lambda: give(one))
            unstick.interrupt(workers[0].thread, until=20)
            giver.join()
            assert lock(one).acquire(timeout=20), f"round {number}: its lock is held for ever"
            lock(one).release()
            workers[0].join()
            tap.wait_for(lambda: first or second, f"one of them has it (round {number}, {workers[0].error!r})")
            if first:
                give(one)
            workers[1].join()
            assert len(second) == 1, (number, first, second)


def waiters_of(one):
    return getattr(one, "not_empty" if isinstance(one, queue.Queue) else "_cond")._waiters


def no_item_of_a_queue_is_lost():
    nothing_is_lost_nor_left_held(queue.Queue, queue.Queue.get, lambda one: one.put(1), lambda one: one.mutex)


def no_permit_of_a_semaphore_is_lost():
    nothing_is_lost_nor_left_held(
        lambda: threading.Semaphore(0), threading.Semaphore.acquire, threading.Semaphore.release, lambda one: one._cond._lock
    )


def computes(step):
    """In a library's code and in its own, by turns."""
    while True:
        step()
        for _ in range(30):
            pass


def no_lock_is_left_held_by_one_that_computes():
    """Condition.__exit__ is Python code: raised at its first line, an exception would leave the lock held."""
    one, limit = queue.Queue(), threading.Semaphore(1)
    steps = [(lambda: (one.put(1), one.get()), one.mutex), (lambda: (limit.acquire(), limit.release()), limit._cond._lock)]
    for number in range(120):
        step, lock = steps[number % 2]
        worker = tap.Worker(lambda: computes(step))
        assert unstick.interrupt(worker.thread, until=20).raised
        check(worker, unstick.Interrupted)
        assert lock.acquire(timeout=5), f"round {number}: its lock is held for ever"
        lock.release()
        limit._value = 1


def an_interrupter_is_itself_hit():
    """However it ends, the condition's lock is free, and a waiter waits, or has the exception."""
    with Quick():
        for number in range(400):
            one = threading.Condition(threading.Lock() if number % 2 else None)
            worker = waiting(one)
            tap.wait_for(lambda: one._waiters, "it waits")

            def interrupt():
                with unstick.move_on_after(number % 40 / 1e5 if number % 3 == 0 else None):
                    unstick.interrupt(worker.thread, until=20)

            interrupter = tap.Worker(interrupt)
            if number % 3:
                unstick.interrupt(interrupter.thread, until=20)
            interrupter.join()
            assert one.acquire(timeout=20), f"round {number}: the condition is held for ever"
            one.notify_all()
            one.release()
            worker.join()
            assert worker.result is True or isinstance(worker.error, unstick.Interrupted), (worker.result, worker.error)


def the_main_thread_is_hit_while_it_interrupts():
    for number in range(200):
        one = threading.Condition()
        worker = waiting(one)
        tap.wait_for(lambda: one._waiters, "it waits")
        with unstick.move_on_after(number % 40 / 1e5):
            unstick.interrupt(worker.thread, until=20)
        assert one.acquire(timeout=20), f"round {number}: the condition is held for ever"
        one.notify_all()
        one.release()
        worker.join()


def an_interrupter_has_the_limits_of_its_scopes():
    release = hold(lock := threading.Lock())
    stuck = tap.Worker(lock.acquire)
    tap.wait_blocked(stuck.tid, lock=True)

    def interrupt():
        with unstick.timeout(0.02):
            unstick.interrupt(stuck.thread, until=None)

    check(tap.Worker(interrupt), unstick.Timeout)
    try:
        interrupt()
    except unstick.Timeout:
        pass
    release.set()
    assert stuck.join().result is True


def a_wait_that_was_ended_never_returns():
    """Not even if the interrupt has no time: what is woken gets the exception, or nobody is woken."""
    with Quick():
        for number in range(300):
            event = threading.Event()
            worker = tap.Worker(event.wait)
            tap.wait_for(lambda: event._cond._waiters, "it waits")
            while not unstick.interrupt(worker.thread, until=0).raised:
                assert not worker.finished, f"round {number}: {worker.result!r}, {worker.error!r}"
            check(worker, unstick.Interrupted)



if __name__ == "__main__":
    tests = [(f"left_alone_{name}", lambda start=start: left_alone(start)) for name, start in OTHER_KINDS.items()]
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
                main_comes_out_of_what_others_are_left_in,
                main_is_interrupted_in_a_lock,
                mutex_in_a_worker_is_reported,
                a_notification_goes_to_one_that_still_waits,
                a_held_condition_is_waited_for,
                a_derived_condition_is_not_asked,
                a_notified_waiter_is_left_to_its_notification,
                no_notification_is_lost,
                no_item_of_a_queue_is_lost,
                no_permit_of_a_semaphore_is_lost,
                no_lock_is_left_held_by_one_that_computes,
                an_interrupter_is_itself_hit,
                the_main_thread_is_hit_while_it_interrupts,
                an_interrupter_has_the_limits_of_its_scopes,
                a_wait_that_was_ended_never_returns,
            )
        ]
    )
