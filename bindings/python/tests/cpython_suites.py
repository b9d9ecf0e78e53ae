# SPDX-License-Identifier: MIT
"""CPython's own tests of threads, sockets, programs, signals and executors: the same results with unstick as without.

    cpython_suites.py [TEST...]      prints TAP: a line a suite

With unstick each suite runs in a Python in which unstick is imported, every thread is in a scope of a day (so it is attached, and its calls
are watched over), and the main thread too. A test case has the same result in both, or it is run again, several times in both: what
differs in every run is a difference; what does not is unstable, and is said.
"""

import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import unittest

import tap

SUITES = ["test_threading", "test_socket", "test_subprocess", "test_signal", "test_concurrent_futures"]
DAY, LIMIT, AGAIN = 86400, 1500, 3


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
    """Prints one line for each case: its name and what became of it."""

    def note(self, case, verdict):
        print(f"@ {case.id()} {verdict}", file=sys.__stdout__, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, "ok")

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "error")

    def addFailure(self, test, err):
        super().addFailure(test, err)
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


def without_strangers(suite):
    """Without the cases that hang in a virtual machine that cannot reach itself by vsock, whoever runs them."""
    if isinstance(suite, unittest.TestCase):
        return [] if "VSOCK" in suite.id() else [suite]
    return [case for part in suite for case in without_strangers(part)]


def child(with_unstick, names):
    """In the Python of a suite."""
    if with_unstick:
        attach()
    import test.support

    test.support.use_resources = ["network", "subprocess"]
    loader = unittest.TestLoader()
    suite = unittest.TestSuite(without_strangers(loader.loadTestsFromNames(names)))
    unittest.TextTestRunner(stream=io.StringIO() if not os.environ.get("VERBOSE") else sys.stderr, resultclass=Result).run(suite)
    sys.stdout.flush()
    os._exit(0)


def results(with_unstick, names):
    """{case: verdict}; a suite that does not end, or dies, has what it got to."""
    command = [sys.executable, os.path.abspath(__file__), "--child", "with" if with_unstick else "without", *names]
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as output:
        try:
            subprocess.run(command, stdout=output, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=directory, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            pass
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    found = {}
    for line in lines:  # what the suites print themselves stands before it
        match = re.search(r"@ (?:setUpClass \(|setUpModule \()?(\S+?)\)? (ok|error|fail|skip|expected failure|unexpected success)$", line)
        if match and found.get(match[1], "ok") in ("ok", "skip"):
            found[match[1]] = match[2]
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
    failing = sum(bool(seen[0].get(case, set()) - {"ok", "skip", "expected failure"}) for case in cases)
    print(f"# {name}: {len(cases)} cases, {failing} of them fail without unstick; {len(apart)} differ at first", flush=True)
    if apart:
        unstable = apart
        _, apart, seen = differ(apart, AGAIN)
        print(f"# unstable: {', '.join(case for case in unstable if case not in apart)}")
    lines = [f"{case}: {seen[0].get(case, 'not run')} without, {seen[1].get(case, 'not run')} with" for case in apart]
    assert not lines, "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2] == "with", sys.argv[3:])
    try:
        import test.support  # noqa: F401
    except ImportError:
        print("1..0 # SKIP CPython's tests are not installed (Debian: libpython3-testsuite)")
        sys.exit(0)
    tap.run([(f"{name}: the same with unstick", lambda name=name: suite(name)) for name in sys.argv[1:] or SUITES])
