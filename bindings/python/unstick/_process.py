# SPDX-License-Identifier: MIT
"""unstick.run_process(): a program with a time limit that holds, ended together with what it has started.

The program leads a process group of its own. The group is signalled only while its leader has not been reaped, so that its number
cannot be somebody else's by then.
"""

import contextlib
import os
import signal
import subprocess
import time
from typing import Any, Optional, Tuple

from ._arguments import seconds
from ._unstick import shield

_LAST_WORDS = 0.1  # for output after a kill: a process that has left the group may hold the pipes open for ever


class ProcessResult(subprocess.CompletedProcess):
    """As subprocess.CompletedProcess; more: `rusage` (resource.getrusage()'s tuple of it and what it waited for) and `seconds`."""

    def __init__(self, args: Any, returncode: int, stdout: Any, stderr: Any, rusage: Any, seconds: float) -> None:
        super().__init__(args, returncode, stdout, stderr)
        self.rusage = rusage
        self.seconds = seconds

    @property
    def output(self) -> Any:
        """The same as stdout."""
        return self.stdout


class _Program(subprocess.Popen):
    """Reaped with its resource usage; once `ending`, what is left of its group is killed just before."""

    rusage: Any = None
    ending = False

    def signal_group(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _try_wait(self, wait_flags: int) -> Tuple[int, int]:
        try:
            if self.ending:
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | wait_flags) is None:
                    return 0, 0
                self.signal_group(signal.SIGKILL)
            pid, status, rusage = os.wait4(self.pid, wait_flags)
            if pid:
                self.rusage = rusage
            return pid, status
        except ChildProcessError:
            return self.pid, 0  # somebody else has reaped it, or SIGCHLD is ignored

    def end(self, grace: float) -> Tuple[Any, Any]:
        """SIGTERM, after `grace` seconds SIGKILL. Reaped in any case. Returns what it has put out."""
        self.ending = True
        self.signal_group(signal.SIGTERM)
        collected = self._collect(grace)
        if self.returncode is None:
            self.signal_group(signal.SIGKILL)
            collected = self._collect(_LAST_WORDS)
            self.wait()
        return collected

    def _collect(self, timeout: float) -> Tuple[Any, Any]:
        try:
            return self.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            return error.output, error.stderr

    def _close(self) -> None:
        for file in (self.stdin, self.stdout, self.stderr):
            if file:
                with contextlib.suppress(OSError):
                    file.close()


def run_process(
    args: Any,
    *,
    timeout: Optional[float] = None,
    input: Any = None,
    capture_output: bool = False,
    check: bool = False,
    grace: float = 1.0,
    **options: Any,
) -> ProcessResult:
    """Run a program and wait for it, as subprocess.run() does, with the same arguments.

    `timeout` is one limit for all of it: input, output, and its end. When it is over the program's process group gets SIGTERM, and
    `grace` seconds later SIGKILL; then subprocess.TimeoutExpired is raised, with the output so far. The same happens before an
    exception leaves that ends the wait: of unstick.timeout(), unstick.interrupt(), KeyboardInterrupt. No zombie is left, and a
    process that has left the group, but holds the output open, holds up nobody. Only the start of the program, until it has been
    executed, is not cut short.

    A limit around subprocess.run(shell=True), os.system() or Popen.wait() ends the waiting and leaves the children running: this does not.

    >>> unstick.run_process("make | tee log", shell=True, timeout=60)
    """
    if input is not None:
        if options.get("stdin") is not None:
            raise ValueError("stdin and input may not both be used: the input is written to a pipe")
        options["stdin"] = subprocess.PIPE
    if capture_output:
        if options.get("stdout") is not None or options.get("stderr") is not None:
            raise ValueError("stdout and stderr may not be used with capture_output")
        options["stdout"] = options["stderr"] = subprocess.PIPE
    options["start_new_session"] = True
    timeout, grace = seconds(timeout, "timeout"), seconds(grace, "grace") or 0.0
    begun = time.monotonic()
    program = None
    try:
        with shield():
            program = _Program(args, **options)
        left = None if timeout is None else max(0.0, begun + timeout - time.monotonic())
        stdout, stderr = program.communicate(input, timeout=left)
    except BaseException as error:
        if program is None:
            raise
        with shield():
            output, errors = program.end(grace)
        if isinstance(error, subprocess.TimeoutExpired):
            raise subprocess.TimeoutExpired(program.args, timeout or 0.0, output=output, stderr=errors) from None
        raise
    finally:
        if program is not None:
            program._close()
    result = ProcessResult(program.args, program.returncode, stdout, stderr, program.rusage, time.monotonic() - begun)
    if check:
        result.check_returncode()
    return result
