# SPDX-License-Identifier: MIT
"""unstick.run_process(): subprocess.run()'s manners, and an end in time, with all that was started, and no zombie."""

import os
import signal
import subprocess
import sys
import tempfile

import unstick

import tap
from tap import raises


def no_children():
    assert tap.children() == [], tap.children()


def gone(pid):
    """Not there, or dead and about to be reaped by its new parent."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_result():
    result = unstick.run_process(["cat"], input=b"hello", capture_output=True, timeout=60)
    assert (result.returncode, result.stdout, result.output, result.stderr) == (0, b"hello", b"hello", b"")
    assert isinstance(result, subprocess.CompletedProcess) and result.args == ["cat"]
    assert result.rusage.ru_maxrss > 0 and result.seconds > 0
    text = unstick.run_process("echo $0 >&2; exit 3", shell=True, capture_output=True, text=True)
    assert text.returncode == 3 and text.stderr == "/bin/sh\n", text
    no_children()


def test_large_input_and_output():
    data = os.urandom(3000000)
    assert unstick.run_process(["cat"], input=data, capture_output=True, timeout=60).stdout == data


def test_check_and_wrong_arguments():
    assert raises(subprocess.CalledProcessError, unstick.run_process, ["false"], check=True).returncode == 1
    raises(FileNotFoundError, unstick.run_process, ["/nonexistent/program"])
    raises(ValueError, unstick.run_process, ["cat"], input=b"", stdin=subprocess.PIPE)
    raises(ValueError, unstick.run_process, ["cat"], capture_output=True, stdout=subprocess.PIPE)
    for name in "timeout", "grace":
        assert f"{name} must be a number of seconds" in str(raises(TypeError, unstick.run_process, ["cat"], **{name: "x"}))
    no_children()


def test_timeout_ends_the_group_and_keeps_the_output():
    script = "sleep 1000 & echo $!; exec sleep 1000"
    error = raises(subprocess.TimeoutExpired, unstick.run_process, ["sh", "-c", script], capture_output=True, timeout=0.5)
    assert error.timeout == 0.5 and error.output.strip().isdigit(), error.output
    tap.wait_for(lambda: gone(int(error.output)), "the grandchild ends")
    no_children()


def test_timeout_of_one_that_ignores_sigterm():
    script = "trap '' TERM; echo $$; while :; do sleep 1000; done"
    error = raises(
        subprocess.TimeoutExpired, unstick.run_process, ["sh", "-c", script], capture_output=True, timeout=0.5, grace=0.1
    )
    tap.wait_for(lambda: gone(int(error.output)), "it ends")
    no_children()


def test_sigterm_leaves_time_to_say_something():
    script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done"
    error = raises(
        subprocess.TimeoutExpired, unstick.run_process, ["sh", "-c", script], capture_output=True, timeout=0.5, grace=60
    )
    assert error.output == b"hello\nbye\n", error.output
    no_children()


def test_what_holds_the_output_open_outside_the_group_holds_up_nobody():
    with tempfile.NamedTemporaryFile() as file:
        script = f"setsid sleep 1000 & echo $! >{file.name}; exec sleep 1000"
        raises(
            subprocess.TimeoutExpired, unstick.run_process, ["sh", "-c", script], capture_output=True, timeout=0.5, grace=0.1
        )
        pid = int(file.read())
    no_children()
    os.kill(pid, signal.SIGKILL)


def test_scope_and_interrupt_end_it_too():
    def limited():
        with unstick.timeout(0.5):
            unstick.run_process(["sleep", "1000"])

    assert isinstance(tap.Worker(limited).join().error, unstick.Timeout)
    no_children()
    worker = tap.Worker(lambda: unstick.run_process(["sleep", "1000"], capture_output=True))
    tap.wait_for(lambda: tap.runs("sleep"), "the program runs")
    tap.wait_settled(worker.tid)
    assert unstick.interrupt(worker.thread, until=20).raised
    assert isinstance(worker.join().error, unstick.Interrupted), worker.error
    no_children()


def test_sigchld_ignored():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        result = unstick.run_process([sys.executable, "-c", "print(1)"], capture_output=True, timeout=60)
        assert result.stdout == b"1\n" and result.rusage is None, result
        raises(subprocess.TimeoutExpired, unstick.run_process, ["sleep", "1000"], timeout=0.2)
    finally:
        signal.signal(signal.SIGCHLD, before)
    no_children()


if __name__ == "__main__":
    tap.run_module(globals())
