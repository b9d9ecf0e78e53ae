# SPDX-License-Identifier: MIT
"""unstick.interrupt(), stacks() and the command: what the table of calls does not show."""

import contextlib
import http.client
import os
import queue
import socket
import subprocess
import sys
import threading
import time

import unstick

import calls
import tap
from tap import raises

READ, WRITE = os.pipe()
run_on = True


def block():
    os.read(READ, 1)


def compute():
    while run_on:
        [i for i in range(100)]


def test_a_loop_that_computes():
    worker = tap.Worker(compute)
    outcome = unstick.interrupt(worker.thread, until=20)
    assert isinstance(worker.join().error, unstick.Interrupted)
    assert outcome.raised and outcome.kind == "woken" and outcome.nr == -1 and outcome.signals == 0, outcome


def test_the_exception_may_be_a_class_or_an_instance():
    for given, wanted in ((KeyError, KeyError), (KeyError("x"), KeyError), (TimeoutError, TimeoutError)):
        for function in (block, compute):
            worker = tap.Worker(function)
            outcome = unstick.interrupt(worker.thread, given, until=20)
            error = worker.join().error
            assert type(error) is wanted and outcome.raised, (error, outcome)
            assert given is wanted or error is given


def test_the_outcome_tells_the_call():
    worker = tap.Worker(block)
    tap.wait_blocked(worker.tid)
    outcome = unstick.interrupt(worker.thread, until=20)
    worker.join()
    assert (outcome.call, outcome.fd, outcome.tid, outcome.signals) == ("read", READ, worker.tid, 1), outcome
    assert f"{worker.tid} in read on fd {READ}" in str(outcome)


def test_exactly_one_exception_arrives():
    for _ in range(200):
        caught, steps = [], []

        def once(caught=caught, steps=steps):
            try:
                block()
            except unstick.Interrupted as error:
                caught.append(error)
                for i in range(1000):
                    steps.append(i)
                time.sleep(0.001)
                steps.append("end")

        worker = tap.Worker(once)
        assert unstick.interrupt(worker.thread, until=20).raised
        assert worker.join().error is None
        assert len(caught) == 1 and steps[-1] == "end"


def test_a_scope_around_it_does_not_take_it_for_its_own():
    def limited():
        with unstick.move_on_after(1000):
            block()

    worker = tap.Worker(limited)
    tap.wait_blocked(worker.tid)
    unstick.interrupt(worker.thread, until=20)
    assert type(worker.join().error) is unstick.Interrupted


def test_a_lock_is_reported_and_nothing_arrives_later():
    lock = threading.Lock()

    def waits():
        with lock:
            return [i for i in range(1000)]

    with lock:
        worker = tap.Worker(waits)
        tap.wait_blocked(worker.tid, lock=True)
        outcome = unstick.interrupt(worker.thread, until=0.1)
        assert outcome.kind == "lock" and not outcome.raised, outcome
    assert worker.join().error is None


def kinds_of_the_library():
    try:
        import ctypes
    except ImportError as error:
        raise tap.Skip(error)
    name_of = ctypes.CDLL(unstick._unstick.__file__).unstick_kind_name
    name_of.restype = ctypes.c_char_p
    return [name for name in (name_of(kind).decode() for kind in range(100)) if name != "unknown"]


def test_a_thread_that_starts_others_is_the_one_that_is_hit():
    """Before 3.12 a new thread has the ident of the one that starts it, until it runs."""
    over = False

    def starts():
        while not over:
            with contextlib.suppress(KeyError):
                thread = threading.Thread(target=int)
                thread.start()
                thread.join()
                time.sleep(0.0005)  # code that is never seen outside of threading is hit there in the end

    threading.excepthook, hook = lambda args: None, threading.excepthook
    try:
        worker = tap.Worker(starts)
        for _ in range(100):
            outcome = unstick.interrupt(worker.thread, KeyError, until=60)
            assert outcome.raised or outcome.kind == "gone", outcome
            if not worker.thread.is_alive():  # hit outside of its with statement
                worker = tap.Worker(starts)
        over = True
        worker.join()
    finally:
        threading.excepthook = hook


def test_what_a_call_has_got_is_not_lost():
    """The exception must not come between the end of recv() and the assignment of its result."""
    ours, theirs = socket.socketpair()
    ours.setblocking(True)
    lost = 0
    for i in range(300):
        got = []

        def reads(got=got):
            with contextlib.suppress(unstick.Interrupted):
                while True:
                    data = ours.recv(10)
                    got.append(data)

        worker = tap.Worker(reads)
        tap.wait_blocked(worker.tid)
        theirs.send(b"order")
        assert unstick.interrupt(worker.thread, until=20).raised
        worker.join()
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            got.append(ours.recv(10))
        ours.setblocking(True)
        lost += got != [b"order"]
    assert lost == 0, lost
    ours.close()
    theirs.close()


def test_what_arrives_near_a_limit_is_not_lost():
    read, write = os.pipe()
    sent, got, over = 0, 0, threading.Event()

    def writes():
        nonlocal sent
        while not over.is_set():
            sent += os.write(write, b"x")
            time.sleep(0.0003 + sent % 7 * 0.0001)

    writer = tap.Worker(writes)
    for _ in range(1000):
        data = b""
        with contextlib.suppress(unstick.Timeout):
            with unstick.timeout(0.0005):
                data = os.read(read, 1)
        got += len(data)
    over.set()
    assert writer.join().error is None
    os.set_blocking(read, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            got += len(os.read(read, 100))
    assert sent == got, f"{sent - got} of {sent} lost"
    os.close(read)
    os.close(write)


def test_help_knows_every_kind():
    kinds = kinds_of_the_library()
    assert len(kinds) >= 15, kinds
    for kind in kinds:
        assert f'"{kind}"' in unstick.Outcome.__doc__, kind


def test_the_calling_thread_raises_at_once():
    raises(unstick.Interrupted, lambda: unstick.interrupt(threading.current_thread()))


def test_threads_that_are_not_there():
    thread = threading.Thread(target=int)
    raises(RuntimeError, lambda: unstick.interrupt(thread))
    thread.start()
    thread.join()
    assert unstick.interrupt(thread).kind == "gone"
    raises(TypeError, lambda: unstick.interrupt(threading.main_thread(), 3))


def test_threading_is_not_hit_while_a_thread_begins_or_ends():
    """It would leave the lock of threading's list held, or the thread in the list."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(1000):
            thread = threading.Thread(target=int, daemon=True)
            thread.start()
            outcome = unstick.interrupt(thread, until=20)
            assert not outcome.raised, outcome
            assert threading._active_limbo_lock.acquire(timeout=20)
            threading._active_limbo_lock.release()
            thread.join()
    finally:
        sys.setswitchinterval(before)


def test_wrong_arguments():
    for wrong in (None, 1, threading.get_ident(), "MainThread"):
        error = raises(TypeError, lambda: unstick.interrupt(wrong))
        assert f"thread must be a threading.Thread, not {type(wrong).__name__}" in str(error), error
    error = raises(TypeError, lambda: unstick.interrupt(threading.main_thread(), until="x"))
    assert "until must be a number of seconds or None, not str" in str(error), error


def test_a_bare_interrupted_says_who_sent_it():
    worker = tap.Worker(block)
    sender = threading.Thread(target=lambda: unstick.interrupt(worker.thread, until=20), name="the sender")
    sender.start()
    assert str(worker.join().error) == "interrupted by thread the sender"
    sender.join()


def test_the_main_thread():
    main = threading.current_thread()
    outcomes = []

    def interrupts():
        tap.wait_blocked(os.getpid())
        outcomes.append(unstick.interrupt(main, until=20))

    worker = tap.Worker(interrupts)
    raises(unstick.Interrupted, block)
    worker.join()
    assert outcomes and outcomes[0].raised, (outcomes, worker.error)


def test_in_a_forked_child():
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            worker = tap.Worker(block)
            tap.wait_blocked(worker.tid)
            outcome = unstick.interrupt(worker.thread, until=20)
            worker.join()
            status = 0 if outcome.raised else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def stack_of(worker):
    return [stack for stack in unstick.stacks() if stack.tid == worker.tid][0]


def test_stacks_show_line_and_call():
    worker = tap.Worker(block)
    tap.wait_blocked(worker.tid)
    stack = stack_of(worker)
    assert stack.call == "read" and stack.freeable and stack.object.startswith("pipe:"), stack
    assert stack.where.endswith("in block") and __file__ in stack.where
    assert "in read on pipe:" in str(stack)
    unstick.interrupt(worker.thread, until=20)
    worker.join()


def test_stacks_show_the_place_in_the_users_code():
    ours, theirs = socket.socketpair()
    worker = tap.Worker(lambda: http.client.HTTPResponse(ours).begin())
    tap.wait_settled(worker.tid)
    stack = stack_of(worker)
    assert __file__ in stack.where and "in <lambda>" in stack.where, stack
    assert stack.frames[0].endswith("in readinto") and stack.where in stack.frames and "threading.py" in stack.frames[-1], stack
    theirs.close()
    assert isinstance(worker.join().error, ConnectionError)
    ours.close()


def waiting_for(function):
    worker = tap.Worker(function)
    tap.wait_blocked(worker.tid, lock=True)
    tap.wait_for(lambda: not stack_of(worker).call or stack_of(worker).seconds > 0.05, "it has waited")
    return worker


def test_stacks_tell_a_wait_for_a_notification_from_one_for_a_lock():
    event, things, lock = threading.Event(), queue.Queue(), threading.Lock()
    for function in (event.wait, things.get):
        worker = waiting_for(function)
        stack = stack_of(worker)
        assert stack.freeable is True and stack.why == "" and stack.call == "futex", stack
        assert unstick.interrupt(worker.thread, until=20).raised
        worker.join()
    with lock:
        worker = waiting_for(lock.acquire)
        stack = stack_of(worker)
        assert stack.freeable is False and "lock" in stack.why, stack
    worker.join()


def test_stacks_of_a_thread_that_runs():
    (stack,) = [stack for stack in unstick.stacks() if stack.tid == os.getpid()]
    assert stack.call == stack.why == "" and str(stack).endswith(": running"), stack
    assert stack.where.endswith("in test_stacks_of_a_thread_that_runs"), stack


def test_fields_are_documented():
    for fields in (unstick.Outcome, unstick.Stack):
        for name in fields._fields:
            assert "Alias" not in getattr(fields, name).__doc__, name
    kinds = ["woken", "finished first", "not blocked", "lock", "event loop", "uninterruptible", "signal blocked", "handler replaced"]
    for kind in kinds + ["stopped", "looping", "not inspectable", "gone", "left alone", "no attempt", "shielded"]:
        assert f'"{kind}"' in unstick.Outcome.__doc__, kind


def run_python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env={**os.environ, **environment},
    )


def test_the_command_lists_threads():
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    try:
        tap.wait_for(lambda: "  yes" in run_python("-m", "unstick", "ps", str(program.pid)).stdout)
        assert str(program.pid) in run_python("-m", "unstick", "ps").stdout
    finally:
        program.kill()
        program.wait()
    gone = run_python("-m", "unstick", "ps", str(program.pid))
    assert gone.returncode == 1 and str(program.pid) in gone.stderr


NAMED = """
import os, threading, time, unstick
with unstick.timeout(1000):
    unstick.Thread(target=threading.Event().wait, name="waits for ever and ever", daemon=True).start()
    pool = unstick.ThreadPoolExecutor(1, "crew")
    pool.submit(time.sleep, 1000)
    time.sleep(1000)
"""


def test_the_command_shows_names_and_what_is_not_the_users():
    program = subprocess.Popen([sys.executable, "-c", NAMED])
    try:

        def lines():
            return run_python("-m", "unstick", "ps", str(program.pid)).stdout.splitlines()

        def shows(*words):
            return any(all(word in line for word in words) for line in lines())

        tap.wait_for(lambda: shows("crew_0", "nanosleep", "  yes") or shows("crew_0", "select", "  yes"), "the pool's worker is shown")
        tap.wait_for(lambda: shows(" waits for ever  ", "futex", "yes, if it is a Condition, Event, Queue"), "the thread is shown")
        tap.wait_for(lambda: shows("unstick-python", "it is unstick's own"), "the service thread is shown")
    finally:
        program.kill()
        program.wait()


def test_a_free_threaded_build_is_refused():
    refused = run_python("-c", "import sys; sys.abiflags += 't'; import unstick")
    assert refused.returncode and "ImportError: unstick relies on the GIL" in refused.stderr, refused.stderr


UNHOOKED = """
import os, threading, time, unstick
assert not unstick._unstick.hooked
r, w = os.pipe()
with unstick.move_on_after(0.02) as scope:
    os.read(r, 1)
assert scope.cancelled_caught
errors = []
def read():
    try:
        os.read(r, 1)
    except OSError as error:
        errors.append(error)
thread = threading.Thread(target=read)
thread.start()
outcome = unstick.interrupt(thread, until=20)
while outcome.kind != "woken":
    outcome = unstick.interrupt(thread, until=20)
thread.join()
print(errors[0].errno, outcome.raised)
"""


def test_without_the_hook_a_bare_thread_gets_an_oserror():
    ran = run_python("-c", UNHOOKED, UNSTICK_PYTHON_HOOK="0")
    assert ran.returncode == 0 and ran.stdout in ("125 False\n",), ran.stdout + ran.stderr


def test_a_program_ends_with_a_scope_open_and_a_daemon_thread_in_one():
    code = """
import threading, time, unstick
def waits():
    with unstick.timeout(1000):
        time.sleep(1000)
threading.Thread(target=waits, daemon=True).start()
unstick.timeout(1000).__enter__()
print("over")
"""
    ran = run_python("-c", code)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "over\n", ""), ran


def test_error_that_ssl_swallows_beside_a_loop():
    """ssl makes an empty result of the call's error. The exception is not lost when its thread has to wait for the GIL before it is raised."""
    over = []

    def spin():
        while not over:
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        for _ in range(20):
            with contextlib.ExitStack() as stack:
                worker = tap.Worker(calls.ssl_read(stack))
                tap.wait_settled(worker.tid)
                outcome = unstick.interrupt(worker.thread, until=20)
                assert isinstance(worker.join().error, unstick.Interrupted) and outcome.raised, (worker.result, outcome)
    finally:
        over.append(True)
        spinner.join()


if __name__ == "__main__":
    tap.run_module(globals())
