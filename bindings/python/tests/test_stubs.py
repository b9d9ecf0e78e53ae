# SPDX-License-Identifier: MIT
"""The stubs say what is there: each public name, each parameter; a type checker agrees, if there is one."""

import ast
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
import types

import unstick

import tap

STUB = os.path.join(os.path.dirname(unstick.__file__), "__init__.pyi")

PROGRAM = """
import threading, time
from typing import Any, List, Optional
import unstick

def use(thread: threading.Thread, pool: unstick.ThreadPoolExecutor) -> List[unstick.Stack]:
    with unstick.timeout(5), unstick.move_on_after(None, token=unstick.Token()) as scope, unstick.shield(), unstick.Lock():
        when: Optional[float] = scope.deadline
        caught: bool = scope.cancelled_caught
    outcome: unstick.Outcome = unstick.interrupt(thread, KeyError("x"), until=None)
    kind: str = outcome.kind
    future = pool.submit(time.sleep, 1)
    last: Optional[unstick.Outcome] = future.outcome
    result: Any = unstick.Thread(target=use).get_result(1)
    error: Optional[unstick.Scope] = unstick.Timeout().scope
    seconds: float = unstick.run_process(["true"], timeout=1).seconds
    return pool.shutdown(deadline=3, cancel_after=1)
"""


def tree():
    with open(STUB) as file:
        return ast.parse(file.read()).body


def public(names):
    return {name for name in names if not name.startswith("_")}


def defined(body):
    """Name -> node, of what a stub's body defines."""
    found = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.update({name.asname: node for name in node.names})
    return found


def is_property(node):
    return any(getattr(decorator, "id", "") == "property" for decorator in node.decorator_list)


def stub_parameters(node):
    a = node.args
    names = [arg.arg for arg in getattr(a, "posonlyargs", []) + a.args]
    return [name for name in names if name != "self"] + ["*" + arg.arg for arg in a.kwonlyargs]


def runtime_parameters(function):
    """None: a function in C that does not tell."""
    try:
        found = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    if any(one.name == "object" and one.kind is one.POSITIONAL_ONLY for one in found):
        return None  # what 3.13 says of one in C that takes one argument
    return [("*" if one.kind is one.KEYWORD_ONLY else "") + one.name for one in found if one.name != "self"]


def check_function(where, node, function):
    there = runtime_parameters(function)
    assert callable(function), where
    if there is not None and node.args.vararg is None:
        assert stub_parameters(node) == there, (where, stub_parameters(node), there)


def check_class(node, type):
    members = defined(node.body)
    for name, member in members.items():
        assert hasattr(type, name), f"{node.name}.{name}"
        if name == "__init__":
            check_function(node.name, member, type)
        elif isinstance(member, ast.FunctionDef) and not is_property(member):
            check_function(f"{node.name}.{name}", member, getattr(type, name))
    missing = public(vars(type)) - set(members)
    assert not missing, f"{node.name}: {missing}"


def test_each_public_name_is_in_the_stubs():
    stubs = defined(tree())
    assert set(stubs) - {"__version__"} == set(unstick.__all__), set(stubs) ^ set(unstick.__all__)
    there = {name for name, value in vars(unstick).items() if not isinstance(value, types.ModuleType)}
    assert public(there) == set(unstick.__all__), public(there) ^ set(unstick.__all__)


def test_each_signature_is_the_one_that_is_there():
    for name, node in defined(tree()).items():
        if isinstance(node, ast.ClassDef):
            check_class(node, getattr(unstick, name))
        elif isinstance(node, ast.FunctionDef):
            check_function(name, node, getattr(unstick, name))


def test_each_public_thing_is_documented():
    for name in unstick.__all__:
        thing = getattr(unstick, name)
        assert inspect.getdoc(thing), name
        for member in public(vars(thing)) if isinstance(thing, type) else ():
            assert name == "ProcessResult" or inspect.getdoc(getattr(thing, member)) or member in ("start", "scope"), f"{name}.{member}"


def checked(*command):
    folder = os.path.dirname(os.path.dirname(unstick.__file__))
    environment = {**os.environ, "MYPYPATH": folder, "PYTHONPATH": folder, "MYPY_CACHE_DIR": os.devnull}
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd="/")
    assert ran.returncode == 0, ran.stdout.decode()


def mypy():
    program = shutil.which("mypy")
    if not program or sys.version_info[:2] != (3, 11):
        raise tap.Skip("needs mypy; one version of Python is enough" if program else "mypy is not installed")
    return program


def test_mypy_finds_nothing_in_the_package_and_in_a_program_that_uses_it():
    program = mypy()
    checked(program, "-p", "unstick")
    checked(program, "--strict", "-c", PROGRAM)


def test_stubtest_finds_nothing():
    stubtest = os.path.join(os.path.dirname(mypy()), "stubtest")
    if not os.path.exists(stubtest):
        raise tap.Skip("stubtest is not installed")
    with tempfile.NamedTemporaryFile("w") as known:
        known.write("unstick._stacks.NamedTuple\nunstick._threads.NamedTuple\n")  # mypy 1.0 takes it for a class
        known.flush()
        checked(stubtest, "unstick", "--allowlist", known.name, "--ignore-unused-allowlist")


if __name__ == "__main__":
    tap.run_module(globals())
