# SPDX-License-Identifier: MIT
"""The examples end as their readers expect, and the README's program prints what it says."""

import os
import re
import subprocess
import sys

import tap

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
EXAMPLES = os.path.join(ROOT, "examples", "python")


def output_of(*args):
    result = subprocess.run([sys.executable, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    text = result.stdout.decode()
    assert result.returncode == 0, f"exit {result.returncode}: {text}"
    return text


def example(name, pattern, seconds="0.3"):
    text = output_of(os.path.join(EXAMPLES, name), seconds)
    assert re.fullmatch(pattern, text), text


def test_sleeper():
    example("sleeper.py", "work: start\nstopped in (clock_nanosleep|pselect6): woken\nover\n")


def test_printer():
    example("printer.py", "(still here\n)+over\n")


def test_scanner():
    example("scanner.py", r"quick: \[0, 1, 2\]\nslow: no result after 1 s, killed: True\nover\n", "1")


def test_watcher():
    example(
        "watcher.py",
        "work: wait for an answer\nwatch: worker is in recvfrom on .*unix.*\nwatch: stop it: woken\nwatch: stop myself\nover\n",
    )


def test_drain_pool():
    example("drain_pool.py", "left: lock.acquire in futex: .*lock.*\ncancelled cancelled cancelled 3\nover\n", "4")


def programs_of(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return re.findall(r"^```python\n(.*?)^```$", file.read(), re.M | re.S)


def test_readme():
    (program,) = programs_of("README.md")
    assert output_of("-c", program) == "not done after 0.100 s\n"


def test_idioms():
    printed = [output_of("-c", program) for program in programs_of("bindings", "python", "README.md")]
    inner, decorator, processes = "the inner one: not done after 0.100 s\n", "not done after 0.100 s\n", "over: sleep 1000 | cat\n"
    assert printed == ["", inner, decorator, processes, "", ""], printed


if __name__ == "__main__":
    tap.run_module(globals())
