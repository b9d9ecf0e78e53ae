# SPDX-License-Identifier: MIT
"""CPython's own tests of threads, sockets, programs, signals and executors: the same results with unstick as without.

    cpython_suites.py [TEST...]      prints TAP: a line a suite

With unstick each suite runs in a Python in which unstick is imported, every thread is in a scope of a day (so it is attached, and its calls
are watched over), and the main thread too. A test case has the same result in both, or it is run again, several times in both: what
differs in every run is a difference; what does not is unstable, and is said. A case that hangs is ended and named, and the suite goes on
behind it; that it hangs is its result.
"""

import contextlib
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import tap

SUITES = ["test_threading", "test_socket", "test_subprocess", "test_signal", "test_concurrent_futures"]
DAY, AGAIN = 86400, 3
SILENCE = 300  # seconds: no case takes as long; what says nothing for longer hangs
MOST_HANGS = 20


def attach():
    """Every thread that threading starts, and this one, in a scope that does not fire."""
    import threading

    import unstick

    run = threading.Thread._bootstrap_inner

    def attached(self):
        with unstick.timeout(DAY):
            run(self)

    threading.Thread._bootstrap_inner = attached
    unstick.timeout(DAY).__enter__()


class Result(unittest.TextTestResult):
    """Prints a line when a case begins, and one of what became of it."""

    def note(self, case, verdict):
        print(f"@ {case.id()} {verdict}", file=sys.__stdout__, flush=True)

    def startTest(self, test):
        super().startTest(test)
        self.note(test, "begins")

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "ok")

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "error")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "fail")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.note(test, "fail")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skip")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.note(test, "unexpected success")


def chosen(suite, done):
    """Without the cases that have a result, and without those that hang, whoever runs them, in a virtual machine that cannot reach itself
    by vsock: they are named as left out."""
    if not isinstance(suite, unittest.TestCase):
        return [case for part in suite for case in chosen(part, done)]
    if suite.id() in done:
        return []
    if "VSOCK" in suite.id():
        print(f"@ {suite.id()} left out", flush=True)
        return []
    return [suite]


def child(with_unstick, done, names):
    """In the Python of a suite."""
    if with_unstick:
        attach()
    import test.support

    test.support.use_resources = ["network", "subprocess"]
    with open(done) as file:
        suite = unittest.TestSuite(chosen(unittest.TestLoader().loadTestsFromNames(names), set(file.read().split())))
    unittest.TextTestRunner(stream=io.StringIO() if not os.environ.get("VERBOSE") else sys.stderr, resultclass=Result).run(suite)
    sys.stdout.flush()
    os._exit(0)


def watch(program, output):
    """Until it ends: "died" if it did not do so by itself; or, when it has said nothing for too long, "hung"."""
    size, since = -1, 0
    while program.poll() is None:
        if size != os.fstat(output.fileno()).st_size:
            size, since = os.fstat(output.fileno()).st_size, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            return "hung"
        time.sleep(0.1)
    return "died" if program.returncode else ""


def run(with_unstick, names, done):
    """What it printed, and how it ended. All that it has started is ended with it."""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile("w") as done_file:
        print(*done, sep="\n", file=done_file, flush=True)
        command = [sys.executable, os.path.abspath(__file__), "--child", "with" if with_unstick else "without", done_file.name, *names]
        program = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, cwd=directory, start_new_session=True
        )
        try:
            end = watch(program, output)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        output.seek(0)
        return output.read().decode(errors="replace").splitlines(), end


LINE = re.compile(
    r"@ (?:setUpClass \(|setUpModule \()?(\S+?)\)? (begins|ok|error|fail|skip|expected failure|unexpected success|left out)$"
)


def results(with_unstick, names):
    """{case: verdict}. A run that hangs or dies in a case is begun again behind that; if it does so outside of one, it has what it got to."""
    found = {}
    for _ in range(MOST_HANGS):
        lines, end = run(with_unstick, names, found)
        # What the suites print themselves stands before it.
        for match in filter(None, map(LINE.search, lines)):
            if found.get(match[1], "begins") in ("begins", "ok", "skip"):  # a case with subtests has several
                found[match[1]] = match[2]
        inside = [case for case, verdict in found.items() if verdict == "begins"]
        for case in inside:
            found[case] = end or "no result"
        if not (end and inside):
            break
    return found


def differ(names, attempts):
    """Cases that have no result in common, without and with, and those that have several in one of them."""
    seen = [{}, {}]
    for _ in range(attempts):
        for way in (0, 1):
            for case, verdict in results(bool(way), names).items():
                seen[way].setdefault(case, set()).add(verdict)
    cases = sorted(set(seen[0]) | set(seen[1]))
    apart = [case for case in cases if not seen[0].get(case, {"not run"}) & seen[1].get(case, {"not run"})]
    return cases, apart, seen


def suite(name):
    if importlib.util.find_spec(f"test.{name}") is None:
        raise tap.Skip(f"test.{name} is not installed with {sys.executable} (Debian: libpython3-testsuite)")
    cases, apart, seen = differ([f"test.{name}"], 1)
    failing = sum(bool(seen[0].get(case, set()) - {"ok", "skip", "expected failure", "left out"}) for case in cases)
    print(f"# {name}: {len(cases)} cases, {failing} of them fail without unstick; {len(apart)} differ at first", flush=True)
    for way, word in enumerate(("without", "with")):
        for verdict in ("hung", "died", "left out"):
            named = [case for case in cases if verdict in seen[way].get(case, ())]
            if named:
                print(f"# {verdict} {word} unstick: {', '.join(named)}", flush=True)
    if apart:
        unstable = apart
        _, apart, seen = differ(apart, AGAIN)
        print(f"# unstable: {', '.join(case for case in unstable if case not in apart)}")
    lines = [f"{case}: {seen[0].get(case, 'not run')} without, {seen[1].get(case, 'not run')} with" for case in apart]
    assert not lines, "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2] == "with", sys.argv[3], sys.argv[4:])
    try:
        import test.support  # noqa: F401
    except ImportError:
        print("1..0 # SKIP CPython's tests are not installed (Debian: libpython3-testsuite)")
        sys.exit(0)
    tap.run([(f"{name}: the same with unstick", lambda name=name: suite(name)) for name in sys.argv[1:] or SUITES])
