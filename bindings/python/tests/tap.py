# SPDX-License-Identifier: MIT
"""Test functions as a TAP program, and what the tests share: waiting for what can be observed, threads that report."""

import os
import sys
import threading
import time
import traceback

import unstick


class Skip(Exception):
    """The test cannot be made here; the message says why."""


def run(tests):
    """Runs (name, function) pairs; exits with 1 if one failed."""
    failed = 0
    print(f"1..{len(tests)}")
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except BaseException:
            failed += 1
            print(f"not ok {number} - {name}")
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
    sys.exit(1 if failed else 0)


def run_module(module):
    """All functions test_...() of a module, in the order of the file."""
    run([(name[5:], function) for name, function in module.items() if name.startswith("test_")])


def wait_for(condition, what="a condition"):
    """The limit only turns a hang into a failed test."""
    for _ in range(20000):
        if condition():
            return
        time.sleep(0.001)
    raise AssertionError(f"never came true: {what}")


def raises(wanted, function, *args, **options):
    """The exception of that class that the function must end with."""
    try:
        function(*args, **options)
    except wanted as error:
        return error
    raise AssertionError(f"no {wanted.__name__}")


FUTEX = "202"


def call_of(tid):
    """Number of the system call that the thread sleeps in, as text; "running"; "" if it is gone."""
    try:
        with open(f"/proc/self/task/{tid}/syscall") as file:
            return file.read().split()[0]
    except (OSError, IndexError):
        return ""


def wait_blocked(tid, lock=False):
    """Until the thread sleeps in a call: no lock (a thread that waits for the GIL sleeps in one, too), or a lock."""
    wait_for(lambda: call_of(tid) not in ("running", "", "-1") and (call_of(tid) == FUTEX) == lock, f"thread {tid} blocks")


def switches_of(tid):
    with open(f"/proc/self/task/{tid}/status") as file:
        return [line for line in file if line.startswith("voluntary")]


def wait_settled(tid):
    """Until it sleeps in a call that is no lock, and has slept there from one look to the next, 10 ms later."""

    def has_settled():
        wait_blocked(tid)
        before = switches_of(tid)
        time.sleep(0.01)
        return switches_of(tid) == before

    wait_for(has_settled, f"thread {tid} stays in a call")


class Worker:
    """A thread that runs function() and keeps what came of it."""

    def __init__(self, function):
        self.function = function
        self.result = self.error = self.tid = None
        self.left = self.finished = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        wait_for(lambda: self.tid, "the thread runs")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.left = True

    def _run(self):
        self.tid = threading.get_native_id()
        try:
            with self:
                self.result = self.function()
        except BaseException as error:
            self.error = error
        finally:
            self.finished = True

    def join(self):
        self.thread.join(30)
        assert not self.thread.is_alive(), f"it is still in call {call_of(self.tid)}: {self.stack()}"
        return self

    def stack(self):
        return [str(stack) for stack in unstick.stacks() if stack.tid == self.tid]


def open_fds():
    return sorted(os.listdir("/proc/self/fd"), key=int)[:-1]  # the last is the listing's own


def children():
    found = []
    for tid in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{tid}/children") as file:
                found += file.read().split()
        except OSError:
            pass
    return found


def runs(program):
    """Has a child executed it?"""
    for pid in children():
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == program:
                    return True
        except OSError:
            pass
    return False
