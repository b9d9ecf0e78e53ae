# SPDX-License-Identifier: MIT
"""python3 -m unstick ps [PID...]: the threads of Python processes, and what they are blocked in.

A thread's name is what the kernel knows: of an unstick.Thread or a worker of an unstick.ThreadPoolExecutor its first 15 bytes, of any
thread since Python 3.14; else the program's. In the process itself unstick.stacks() tells more.
"""

import argparse
import os
import sys

from . import _unstick


def _python_processes():
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            program = os.path.basename(os.readlink(f"/proc/{name}/exe"))
        except OSError:
            continue
        if program.startswith("python") and int(name) != os.getpid():
            yield int(name)


# Names of threads that this package and its library start.
_OURS = ("unstick", "unstick-python", "unstick-io", "unstick-file")


def _verdict(pid, tid, name, freeable, expect, why):
    """Of code that may be Python: what state its interpreter is in cannot be seen from here."""
    if name in _OURS and tid != pid:
        return "it is unstick's own"
    if expect == "not blocked":
        return "yes, in Python code"
    if expect == "lock":
        return "yes, if it is a lock of Python's" if tid == pid else "yes, if it is a Condition, Event, Queue, Semaphore or Future"
    return "yes" if freeable == 1 else why or "?"


def _rows(pid):
    for tid in sorted(int(name) for name in os.listdir(f"/proc/{pid}/task")):
        name, state, freeable, nr, call, fd, obj, wait, seconds, expect, why = _unstick.look(pid, tid)
        doing = call or ("running" if expect == "not blocked" else "?")
        blocked = f"{seconds:.1f}" if call and seconds >= 0 else "-"
        yield (str(pid), str(tid), name, state, blocked, doing, obj or "-", _verdict(pid, tid, name, freeable, expect, why))


def _print_table(rows):
    rows = [("PID", "TID", "NAME", "S", "SECONDS", "CALL", "OBJECT", "CAN BE FREED"), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python3 -m unstick", description="See what Python processes are stuck in.")
    commands = parser.add_subparsers(dest="command", required=True)
    about = "The threads, the call each is blocked in, on what, for how long, and whether unstick could free it from inside its process."
    ps = commands.add_parser("ps", help="threads, the call each is blocked in, on what, for how long", description=about)
    ps.add_argument("pid", nargs="*", type=int, help="default: all Python processes that you may look at")
    chosen = parser.parse_args(arguments)
    rows, failed = [], False
    for pid in chosen.pid or sorted(_python_processes()):
        try:
            rows.extend(_rows(pid))
        except OSError as error:
            if chosen.pid:
                failed = True
                print(f"unstick: process {pid}: {error.strerror or error}", file=sys.stderr)
    _print_table(rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
