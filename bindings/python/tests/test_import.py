# SPDX-License-Identifier: MIT
"""Where it cannot work, importing it fails, and says why: before the extension is loaded, and in the extension itself."""

import importlib.util
import os
import subprocess
import sys

import unstick

import tap

EXTENSION = os.path.join(os.path.dirname(unstick.__file__), "_unstick.abi3.so")


def last_line(program):
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert ran.returncode == 1, ran
    return ran.stdout.decode().splitlines()[-1]


def refused_if(change, reason):
    said = last_line(f"import sys\n{change}\nimport unstick")
    assert said.startswith("ImportError: unstick ") and reason in said, said


def test_free_threaded():
    refused_if("sys.abiflags = 't'", "free-threaded build")
    refused_if("sys.abiflags = 'td'", "free-threaded build")


def test_free_threaded_in_the_extension():
    load = f"import importlib.util as u; u.module_from_spec(u.spec_from_file_location('unstick._unstick', {EXTENSION!r}))"
    said = last_line(f"import sys\nsys.abiflags = 't'\n{load}")
    assert said.startswith("ImportError: unstick ") and "free-threaded build" in said, said


def test_extension_by_itself_where_it_works():
    spec = importlib.util.spec_from_file_location("unstick._unstick", EXTENSION)
    assert importlib.util.module_from_spec(spec).version == unstick.__version__


def test_old_python():
    refused_if("sys.version_info = (3, 7, 16)", "3.8 or later, this is 3.7")


def test_other_system():
    refused_if("sys.platform = 'darwin'", "Linux only, this is darwin")


def test_other_implementation():
    refused_if("sys.implementation.name = 'pypy'", "CPython only, this is pypy")


if __name__ == "__main__":
    tap.run_module(globals())
