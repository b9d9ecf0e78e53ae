# SPDX-License-Identifier: MIT
"""Scopes: limits on calls and on computing, nesting, cancelling, rescheduling, shields, tokens, threads and forks."""

import contextlib
import copy
import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time

import unstick

import tap
from tap import raises

READ, WRITE = os.pipe()


def block():
    os.read(READ, 1)


def compute():
    while True:
        [i for i in range(100)]


def limited(seconds, function):
    with unstick.timeout(seconds):
        return function()


def test_a_block_that_is_done_in_time_is_left_alone():
    with unstick.timeout(1000) as scope:
        os.write(WRITE, b"x")
        assert os.read(READ, 1) == b"x"
    assert not scope.fired and not scope.cancelled_caught


def test_a_timeout_is_a_timeout_error_that_knows_its_scope():
    scope = unstick.timeout(0.02)

    def waits():
        with scope:
            block()

    error = raises(unstick.Timeout, waits)
    assert isinstance(error, TimeoutError) and error.scope is scope
    assert "0.020 s" in str(error)


def test_a_loop_that_computes_is_ended():
    raises(unstick.Timeout, lambda: limited(0.02, compute))


def test_a_loop_that_computes_is_ended_in_a_worker():
    worker = tap.Worker(lambda: limited(0.02, compute)).join()
    assert isinstance(worker.error, unstick.Timeout)


def test_one_limit_holds_for_many_short_calls():
    def sleeps():
        while True:
            time.sleep(0.001)

    raises(unstick.Timeout, lambda: limited(0.05, sleeps))


def test_time_that_is_over_at_the_beginning():
    for seconds in (0, -1):
        raises(unstick.Timeout, lambda seconds=seconds: limited(seconds, block))
        raises(unstick.Timeout, lambda seconds=seconds: limited(seconds, compute))


def test_no_limit():
    os.write(WRITE, b"x")
    with unstick.timeout(None) as scope:
        assert scope.deadline is None
        assert os.read(READ, 1) == b"x"


def test_move_on_after_goes_on():
    with unstick.move_on_after(0.02) as scope:
        block()
        raise AssertionError("not reached")
    assert scope.cancelled_caught and scope.fired


def test_only_the_matching_scope_catches():
    with unstick.move_on_after(0.02) as outer:
        with unstick.move_on_after(1000) as inner:
            block()
        raise AssertionError("not reached")
    assert outer.cancelled_caught and not inner.cancelled_caught
    with unstick.move_on_after(1000) as outer:
        with unstick.move_on_after(0.02) as inner:
            block()
        reached = True
    assert reached and inner.cancelled_caught and not outer.cancelled_caught


def test_the_outer_scope_is_the_one_if_both_are_due():
    with unstick.move_on_after(0.02) as outer:
        with unstick.timeout(0.02):
            time.sleep(1000)
    assert outer.cancelled_caught


def test_an_inner_timeout_can_be_handled_in_an_outer_scope():
    with unstick.timeout(1000) as outer:
        error = raises(unstick.Timeout, lambda: limited(0.02, block))
        assert error.scope is not outer
    assert not outer.fired


def test_forty_scopes_nest():
    with contextlib.ExitStack() as stack:
        scopes = [stack.enter_context(unstick.move_on_after(1000)) for _ in range(40)]
        with unstick.move_on_after(0.02) as last:
            block()
    assert last.cancelled_caught and not any(scope.fired for scope in scopes)


def test_cancel_from_another_thread():
    scopes = []

    def cancelled():
        with unstick.timeout(1000) as scope:
            scopes.append(scope)
            block()

    worker = tap.Worker(cancelled)
    tap.wait_blocked(worker.tid)
    scopes[0].cancel()
    worker.join()
    assert isinstance(worker.error, unstick.Cancelled) and not isinstance(worker.error, Exception)
    assert worker.error.scope is scopes[0]


def test_cancel_has_ended_the_call_when_it_returns():
    scope = unstick.move_on_after(None)

    def cancelled():
        with scope:
            block()

    worker = tap.Worker(cancelled)
    tap.wait_blocked(worker.tid)
    scope.cancel()
    fired = scope.fired
    worker.join()
    assert fired and scope.cancelled_caught


def test_cancel_of_a_loop_that_computes():
    scopes = []

    def cancelled():
        with unstick.move_on_after(1000) as scope:
            scopes.append(scope)
            compute()
        return "went on"

    worker = tap.Worker(cancelled)
    tap.wait_for(lambda: scopes)
    scopes[0].cancel()
    assert worker.join().result == "went on" and scopes[0].cancelled_caught


def test_cancel_before_entering_and_by_oneself():
    scope = unstick.move_on_after(1000)
    scope.cancel()
    with scope:
        block()
    assert scope.cancelled_caught
    with unstick.move_on_after(1000) as scope:
        scope.cancel()
        block()
    assert scope.cancelled_caught


def test_a_token_cuts_scopes_in_several_threads():
    token = unstick.Token()

    def waits():
        with unstick.timeout(1000, token=unstick.Token(token)):
            block()

    workers = [tap.Worker(waits) for _ in range(3)]
    for worker in workers:
        tap.wait_blocked(worker.tid)
    assert not token.cancelled
    token.cancel()
    for worker in workers:
        assert isinstance(worker.join().error, unstick.Cancelled)
    assert token.cancelled and token.fired
    raises(unstick.Cancelled, waits)


def test_a_token_has_a_deadline():
    token = unstick.Token()
    token.set_deadline(time.monotonic() + 0.02)
    with unstick.move_on_after(None, token=token) as scope:
        block()
    assert scope.cancelled_caught and token.fired and not token.cancelled
    raises(RuntimeError, lambda: token.set_deadline(None))


def test_the_deadline_can_be_read_and_moved():
    with unstick.move_on_after(1000) as scope:
        assert 990 < scope.deadline - time.monotonic() <= 1000
        scope.reschedule(time.monotonic() + 0.02)
        block()
    assert scope.cancelled_caught
    raises(RuntimeError, lambda: scope.reschedule(None))
    with unstick.timeout(0.02) as scope:
        scope.reschedule(None)
        assert scope.deadline is None
        time.sleep(0.05)
    assert not scope.fired


def test_a_shield_holds_off_what_is_around_it():
    steps = []

    def cleans_up():
        with unstick.timeout(0.02) as scope:
            try:
                block()
            finally:
                with scope.shield():
                    time.sleep(0.05)
                    steps.append("cleaned up")

    raises(unstick.Timeout, cleans_up)
    assert steps == ["cleaned up"]


def test_a_scope_in_a_shield_works_and_what_is_due_comes_after_it():
    with unstick.move_on_after(0.02) as outer:
        with unstick.shield():
            with unstick.move_on_after(0.05) as inner:
                block()
            assert inner.cancelled_caught and not outer.fired
        block()
    assert outer.cancelled_caught


def test_code_that_swallows_the_error_is_told_at_the_end():
    def swallows():
        with unstick.timeout(0.02):
            with contextlib.suppress(OSError):
                block()

    raises(unstick.Timeout, swallows)


def test_code_that_tries_again_does_not_escape():
    tries = []

    def tries_again():
        with unstick.timeout(0.02):
            while len(tries) < 3:
                with contextlib.suppress(OSError):
                    tries.append(1)
                    block()

    raises(unstick.Timeout, tries_again)
    assert len(tries) in (2, 3)  # 2: see the next


def test_code_that_tries_again_for_ever_is_ended():
    tries = []

    def tries_again():
        with unstick.timeout(0.02):
            while True:
                with contextlib.suppress(OSError):
                    tries.append(1)
                    block()

    error = raises(unstick.Timeout, tries_again)
    assert isinstance(error.__cause__, unstick.Interrupted) and error.scope is error.__cause__.scope
    assert len(tries) > 1

    with unstick.move_on_after(0.02) as scope:
        while True:
            with contextlib.suppress(OSError):
                block()
    assert scope.cancelled_caught


def test_errors_can_be_sent_to_other_processes():
    error = raises(unstick.Timeout, lambda: limited(0.02, block))
    error.seen = True
    for copied in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(copied) is unstick.Timeout and copied.scope is None and copied.seen
        assert copied.errno == error.errno and str(copied) == str(error) == "not done after 0.020 s"
    scope = unstick.timeout(None)
    scope.cancel()

    def cancelled():
        with scope:
            block()

    error = raises(unstick.Cancelled, cancelled)
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is unstick.Cancelled and copied.args == error.args and copied.scope is None
    assert str(unstick.Timeout("mine")) == "mine" and str(unstick.Timeout(110, "mine")) == "mine" and str(unstick.Timeout()) == ""


def test_the_text_says_what_limit_it_was():
    def held_up():
        with unstick.timeout(0.02):
            with unstick.shield():
                time.sleep(0.3)
            block()

    assert "not done after 0.020 s; it came out 0." in str(raises(unstick.Timeout, held_up))
    assert str(raises(unstick.Timeout, lambda: limited(-1, block))) == "there was no time left"
    token = unstick.Token()
    token.set_deadline(time.monotonic() + 0.02)

    def on_token():
        with unstick.timeout(1000, token=token):
            block()

    assert str(raises(unstick.Timeout, on_token)) == "the token was out of time"


def test_a_scope_tells_what_became_of_it():
    scope = unstick.timeout(1.5)
    assert repr(scope) == "<unstick.timeout(1.5): not entered>"
    with scope:
        assert repr(scope) == "<unstick.timeout(1.5): open>" and scope.overrun == 0
    assert repr(scope) == "<unstick.timeout(1.5): left>" and scope.overrun == 0 and not scope.cancelled
    assert repr(unstick.move_on_after(None)) == "<unstick.move_on_after(None): not entered>"
    assert repr(unstick.shield()) == "<unstick.shield(): not entered>"
    with unstick.move_on_after(0.02) as scope:
        block()
    assert repr(scope) == "<unstick.move_on_after(0.02): fired>" and scope.overrun > 0 and not scope.cancelled
    with unstick.move_on_after(None) as scope:
        scope.cancel()
        block()
    assert scope.cancelled_caught and scope.cancelled and scope.overrun == 0
    raises(TypeError, unstick.Scope)


def test_a_thread_that_blocks_all_signals_has_limits_too():
    def limited_with_signals_blocked():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return limited(0.02, block)

    worker = tap.Worker(limited_with_signals_blocked).join()
    assert isinstance(worker.error, unstick.Timeout)


def test_whoever_wants_to_know_is_told_of_what_cannot_be_ended():
    program = """import threading, time, unstick
lock = threading.Lock()
lock.acquire()
def work():
    try:
        with unstick.timeout(0.02):
            lock.acquire()
    except unstick.Timeout as error:
        print(error)
worker = threading.Thread(target=work)
worker.start()
time.sleep(1.5)
lock.release()
worker.join()
"""
    told = subprocess.run([sys.executable, "-c", program], env=dict(os.environ, UNSTICK_LOG="stderr"), capture_output=True, text=True)
    assert told.returncode == 0 and "could not be: " in told.stderr and "in futex" in told.stderr, told


def test_an_error_made_of_ours_becomes_a_timeout_with_a_cause():
    def translates():
        with unstick.timeout(0.02):
            try:
                block()
            except OSError as error:
                raise ValueError("no data") from error

    error = raises(unstick.Timeout, translates)
    assert isinstance(error.__cause__, ValueError)


def test_an_error_that_has_nothing_to_do_with_it_passes():
    raises(KeyError, lambda: limited(1000, lambda: {}["x"]))
    with contextlib.suppress(KeyError):
        with unstick.move_on_after(1000) as scope:
            raise KeyError
    assert not scope.cancelled_caught


def test_sockets_with_their_own_timeout_still_have_it():
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.02)
        error = raises(OSError, lambda: limited(1000, lambda: one.recv(1)))
        assert not isinstance(error, unstick.Timeout)


def test_timeout_errors_of_others_are_as_ever():
    assert TimeoutError(1, "x").errno == 1 and str(TimeoutError("x")) == "x"
    assert type(OSError(110, "x")) is TimeoutError


def test_a_scope_is_entered_once():
    with unstick.timeout(1000) as scope:
        pass
    raises(RuntimeError, scope.__enter__)
    raises(RuntimeError, lambda: scope.__exit__(None, None, None))


def test_a_scope_is_left_by_its_own_thread():
    scope = unstick.timeout(1000)
    worker = tap.Worker(scope.__enter__).join()
    assert worker.result is scope
    raises(RuntimeError, lambda: scope.__exit__(None, None, None))


def test_wrong_arguments():
    wrong = {
        "must be real number": lambda: unstick.timeout("5"),
        "timeout() missing 1 required": lambda: unstick.timeout(),
        "move_on_after() missing 1 required": lambda: unstick.move_on_after(token=None),
        "takes 1 positional argument but 2": lambda: unstick.timeout(5, unstick.Token()),
        "multiple values for argument 'seconds'": lambda: unstick.timeout(5, seconds=5),
        "unexpected keyword argument 'second'": lambda: unstick.timeout(second=5),
        "Token": lambda: unstick.timeout(5, token=3),
    }
    for text, call in wrong.items():
        assert text in str(raises(TypeError, call)), text
    raises(ValueError, lambda: unstick.timeout(float("nan")))
    raises(OverflowError, lambda: unstick.timeout(10**400))


def test_arguments_by_name():
    with unstick.timeout(token=unstick.Token(), seconds=1000) as scope:
        assert 0 < scope.deadline - time.monotonic() <= 1000
    with unstick.move_on_after(seconds=None) as scope:
        assert scope.deadline is None


def test_another_interpreter_makes_its_timeout_errors_itself():
    try:
        interpreters = importlib.import_module("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
    except ImportError:
        raise tap.Skip("this CPython has no module for other interpreters")
    ready, gone = os.pipe(), os.pipe()
    number = interpreters.create()
    # It sleeps: before 3.12 interpreters share the GIL, and none can ask another one for it.
    code = f"""import os, select
os.write({ready[1]}, b"x")
while not select.select([{gone[0]}], [], [], 0.0001)[0]:
    for _ in range(1000):
        assert type(TimeoutError(1, "x")) is TimeoutError
os.read({gone[0]}, 1)
"""
    worker = tap.Worker(lambda: getattr(interpreters, "exec", interpreters.__dict__.get("run_string"))(number, code))
    os.read(ready[0], 1)
    for _ in range(100):
        raises(unstick.Timeout, lambda: limited(0.001, block))
    mine = [one for one in unstick.stacks() if one.tid == os.getpid()]
    assert "test_another_interpreter" in mine[0].where, mine
    os.write(gone[1], b"x")
    worker.join()
    assert worker.error is None and worker.result is None, (worker.error, worker.result)
    code = f"""try:
    import sys
    sys.path[:0] = {sys.path!r}
    import unstick
except ImportError:
    import os
    os.write({gone[1]}, b"refused")
"""
    getattr(interpreters, "exec", interpreters.__dict__.get("run_string"))(number, code)
    os.set_blocking(gone[0], False)
    assert os.read(gone[0], 10) == b"refused"
    interpreters.destroy(number)
    for fd in ready + gone:
        os.close(fd)


def test_generators_may_interleave_scopes():
    def generator():
        with unstick.timeout(1000):
            yield
            yield

    one, other = generator(), generator()
    next(one), next(other), next(one)
    one.close()
    next(other)
    other.close()
    with unstick.move_on_after(0.02) as scope:
        block()
    assert scope.cancelled_caught
    thrown_away = generator()
    next(thrown_away)
    del thrown_away


def test_a_fork_in_a_scope_with_a_token_of_its_own():
    with unstick.timeout(1000, token=unstick.Token()):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    with unstick.timeout(20):
        assert os.waitpid(pid, 0)[1] == 0
    with unstick.timeout(20, token=unstick.Token()):
        subprocess.run(["true"], preexec_fn=lambda: None, check=True)


def test_a_finaliser_while_the_exception_is_made():
    """CPython has emptied the slot by then, and may fill it again (before 3.12)."""

    class Slow:
        def __del__(self):
            until = time.monotonic() + 0.1
            while time.monotonic() < until:
                pass

    def computes(_):
        while True:
            pass

    try:
        limited(0.02, lambda: list(map(computes, [Slow()])))
    except unstick.Timeout:
        return
    raise AssertionError("no Timeout")


def test_exit_with_a_class_in_place_of_an_error():
    scope = unstick.move_on_after(0)
    scope.__enter__()
    with contextlib.suppress(BaseException):
        block()
    scope.__exit__(ValueError, ValueError, None)


def test_a_generator_that_another_thread_throws_away():
    def generator():
        with unstick.timeout(1000):
            yield

    mine = generator()
    next(mine)
    worker = tap.Worker(mine.close).join()
    assert worker.error is None, worker.error
    with unstick.move_on_after(0.02) as scope:
        block()
    assert scope.cancelled_caught


def test_a_forked_child_has_no_limits_but_its_own():
    with unstick.timeout(1000) as scope:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                assert scope.deadline is None
                with unstick.move_on_after(0.02) as own:
                    block()
                status = 0 if own.cancelled_caught else 2
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0


def test_many_threads_at_once():
    def waits():
        with unstick.move_on_after(0.1) as scope:
            block()
        return scope.cancelled_caught

    workers = [tap.Worker(waits) for _ in range(100)]
    assert all(worker.join().result for worker in workers)


if __name__ == "__main__":
    tap.run_module(globals())
