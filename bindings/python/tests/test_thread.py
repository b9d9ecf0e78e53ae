# SPDX-License-Identifier: MIT
"""unstick.Thread: ended once, asked for its result, joined by threads that can themselves be ended."""

import re
import sys
import threading
import time

import unstick

import tap
from tap import raises


def started(target, *args):
    thread = unstick.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread


def blocked(target, *args):
    thread = started(target, *args)
    tap.wait_settled(thread.native_id)
    return thread


def test_result_is_what_the_target_returns():
    assert started(lambda a: a + 1, 41).get_result(30) == 42
    assert started(lambda: None).get_result(30) is None


def test_result_raises_what_the_target_raised():
    shown = []
    hook, threading.excepthook = threading.excepthook, lambda args: shown.append(args.exc_value)
    try:
        error = raises(ZeroDivisionError, started(lambda: 1 // 0).get_result, 30)
    finally:
        threading.excepthook = hook
    assert shown == [error]


def test_result_of_a_running_thread_is_a_timeout_error_that_says_where_it_is():
    thread = blocked(time.sleep, 1000)
    error = raises(TimeoutError, thread.get_result, 0.01)
    assert re.search("nanosleep|select", str(error)), error
    thread.kill()
    thread.join()


def test_run_of_a_subclass_gives_the_result():
    class Sum(unstick.Thread):
        def run(self):
            return sum(range(10))

    thread = Sum()
    thread.start()
    assert thread.get_result(30) == 45


def test_kill_of_a_blocked_thread():
    cleaned = []

    def work():
        try:
            time.sleep(1000)
        finally:
            cleaned.append(True)

    thread = blocked(work)
    outcome = thread.kill(until=20)
    assert outcome.raised and outcome.kind == "woken" and thread.outcome is outcome, outcome
    raises(unstick.Interrupted, thread.get_result, 30)
    assert cleaned and not thread.is_alive()


def test_kill_of_a_loop():
    def work():
        while True:
            pass

    thread = started(work)
    assert thread.kill(until=20).raised
    raises(unstick.Interrupted, thread.get_result, 30)


def test_kill_with_an_exception_of_ones_own():
    thread = blocked(time.sleep, 1000)
    assert thread.kill(KeyError("enough"), until=20).raised
    assert "enough" in str(raises(KeyError, thread.get_result, 30))


def test_killed_thread_prints_nothing():
    shown = []
    hook, threading.excepthook = threading.excepthook, shown.append
    try:
        thread = blocked(time.sleep, 1000)
        thread.kill(until=20)
        thread.join()
    finally:
        threading.excepthook = hook
    assert not shown


def test_kill_of_a_thread_that_has_ended():
    thread = started(int)
    thread.join()
    outcome = thread.kill()
    assert outcome.kind == "gone" and not outcome.raised, outcome
    assert thread.get_result() == 0


def test_kill_of_a_thread_that_waits_for_a_lock_forces_nothing():
    lock = threading.Lock()
    lock.acquire()
    thread = started(lock.acquire)
    tap.wait_blocked(thread.native_id, lock=True)
    outcome = thread.kill(until=0.1)
    assert outcome.kind == "lock" and not outcome.raised, outcome
    lock.release()
    assert thread.get_result(30) is True


def test_a_plain_interrupt_at_any_moment_leaves_a_thread_that_can_be_killed():
    threading.excepthook, hook = lambda args: None, threading.excepthook
    try:
        for i in range(500):
            thread = started(time.sleep, i % 10 * 0.0002)
            unstick.interrupt(thread)
            with unstick.timeout(60):
                thread.kill()
                thread.join()
    finally:
        threading.excepthook = hook
    assert threading.active_count() == 1, threading.enumerate()


def test_a_start_that_failed_can_be_tried_again():
    thread = unstick.Thread(target=lambda: 7)
    name = "_start_joinable_thread" if sys.version_info >= (3, 13) else "_start_new_thread"
    start = getattr(threading, name)
    setattr(threading, name, None)
    try:
        raises(TypeError, thread.start)
    finally:
        setattr(threading, name, start)
    thread.start()
    assert thread.get_result(30) == 7


def test_shields_hold_kills_off():
    steps = []

    def work():
        with unstick.shield():
            steps.append("begun")
            time.sleep(0.2)
            steps.append("done")
        time.sleep(1000)

    thread = started(work)
    tap.wait_for(lambda: steps, "the shield is entered")
    assert thread.kill(until=0.02).kind == "shielded"
    assert thread.kill(until=30).raised
    thread.join(30)
    assert steps == ["begun", "done"]


def test_exactly_one_exception_at_any_moment():
    """Killed from before its first bytecode to after its last: the kill and the thread tell the same story."""
    killed = finished = 0
    for i in range(2000):
        seen = []

        def work(turns=i % 100):
            try:
                for _ in range(turns):
                    time.sleep(0.0001)
                return turns
            except unstick.Interrupted as error:
                seen.append(error)
                raise

        thread = started(work)
        outcome = thread.kill()
        thread.join(30)
        assert not thread.is_alive() and len(seen) <= 1
        if outcome.raised:
            killed += 1
            raises(unstick.Interrupted, thread.get_result, 30)
        else:
            finished += 1
            assert thread.get_result(30) == i % 100
    assert threading.active_count() == 1, threading.enumerate()
    print(f"# {killed} killed, {finished} finished first")


def test_kill_by_many_at_once():
    thread = blocked(time.sleep, 1000)
    outcomes = []
    killers = [started(lambda: outcomes.append(thread.kill(until=20))) for _ in range(8)]
    for killer in killers:
        killer.get_result(30)
    assert outcomes and any(outcome.raised for outcome in outcomes), outcomes
    assert all(outcome.raised or outcome.kind == "gone" for outcome in outcomes), outcomes
    raises(unstick.Interrupted, thread.get_result, 30)


def test_result_of_a_thread_that_was_killed_and_goes_on_says_so():
    end = threading.Event()

    def work():
        try:
            time.sleep(1000)
        except unstick.Interrupted:
            pass
        while not end.is_set():
            time.sleep(0.01)

    thread = blocked(work)
    assert thread.kill(until=20).raised
    error = raises(TimeoutError, thread.get_result, 0)
    assert re.search("was interrupted .* s ago and went on", str(error)), error
    end.set()
    thread.join()


def test_result_of_a_thread_that_computes_reads_well():
    end = []
    thread = started(lambda: [None for _ in iter(lambda: not end, False)])

    def says_running():
        return str(raises(TimeoutError, thread.get_result, 0)).endswith(": running")

    tap.wait_for(says_running, "it says that it runs")
    end.append(True)
    thread.join()


def test_wrong_arguments():
    thread = blocked(time.sleep, 1000)
    for function, name in ((thread.get_result, "timeout"), (thread.join, "timeout"), (lambda x: thread.kill(until=x), "until")):
        assert f"{name} must be a number of seconds or None, not str" in str(raises(TypeError, function, "x"))
    raises(TypeError, thread.kill, 3)
    assert thread.kill(until=20).raised
    thread.join()


def test_a_thread_that_starts_others_takes_its_interrupts_itself():
    """Before 3.12 a thread that is being started has its starter's ident, and would get what is sent to that."""
    lost, end, sums = [], [], []

    def starts():
        while not end:
            try:
                child = unstick.Thread(target=sum, args=([1, 2],))
                child.start()
                sums.append(child.get_result(30))
                time.sleep(0.0005)
            except KeyError:
                pass

    hook, sys.unraisablehook = sys.unraisablehook, lambda args: lost.append(args.exc_value)
    try:
        thread = started(starts)
        for _ in range(100):
            assert unstick.interrupt(thread, KeyError, until=20).raised
        end.append(True)
        assert thread.get_result(30) is None
    finally:
        sys.unraisablehook = hook
    assert not lost and sums and set(sums) == {3}, lost


def test_join_can_be_interrupted_and_limited():
    sleeper = blocked(time.sleep, 1000)
    joiner = started(sleeper.join)
    tap.wait_blocked(joiner.native_id, lock=True)
    assert joiner.kill(until=20).raised
    raises(unstick.Interrupted, joiner.get_result, 30)

    def limited():
        with unstick.timeout(0.05):
            sleeper.join()

    threading.excepthook, hook = lambda args: None, threading.excepthook
    try:
        raises(unstick.Timeout, started(limited).get_result, 30)
    finally:
        threading.excepthook = hook
    sleeper.join(0.01)
    assert sleeper.is_alive()
    sleeper.kill()
    sleeper.join()


if __name__ == "__main__":
    tap.run_module(globals())
