# SPDX-License-Identifier: MIT
"""What a limit costs around a call that does not wait: `with timeout(5): os.read(ready)` beside the bare call and other ways.

Hypothesis: at most 1.5 times the bare call. Medians of interleaved rounds; ratios count, not nanoseconds.
    PYTHONPATH=build/bindings/python python3 bench.py
"""

import asyncio
import os
import platform
import signal
import statistics
import sys
import threading
import time

sys.path.pop(0)  # this folder has the package's source, without the extension
import unstick  # noqa: E402

SIZE = 4096
ROUNDS = 25
ready = os.open("/dev/zero", os.O_RDONLY)


def bare(count):
    read, fd = os.read, ready
    for _ in range(count):
        read(fd, SIZE)


def unstick_timeout(count):
    read, fd, timeout = os.read, ready, unstick.timeout
    for _ in range(count):
        with timeout(5):
            read(fd, SIZE)


def unstick_token(count):
    read, fd, timeout, token = os.read, ready, unstick.timeout, unstick.Token()
    for _ in range(count):
        with timeout(5, token=token):
            read(fd, SIZE)


def signal_setitimer(count):
    read, fd, setitimer = os.read, ready, signal.setitimer
    for _ in range(count):
        setitimer(signal.ITIMER_REAL, 5)
        try:
            read(fd, SIZE)
        finally:
            setitimer(signal.ITIMER_REAL, 0)


def asyncio_timeout(count):
    async def run():
        read, fd, timeout = os.read, ready, asyncio.timeout
        for _ in range(count):
            async with timeout(5):
                read(fd, SIZE)

    asyncio.run(run())


def thread_join(count):
    for _ in range(count):
        thread = threading.Thread(target=os.read, args=(ready, SIZE))
        thread.start()
        thread.join(5)


def measure(function, count):
    begun = time.perf_counter_ns()
    function(count)
    return (time.perf_counter_ns() - begun) / count


def main():
    ways = [(bare, 20000), (unstick_timeout, 20000), (unstick_token, 5000), (signal_setitimer, 5000), (thread_join, 100)]
    if hasattr(asyncio, "timeout"):
        ways.insert(4, (asyncio_timeout, 2000))
    signal.signal(signal.SIGALRM, lambda *unused: None)
    times = {function.__name__: [] for function, _ in ways}
    for _ in range(ROUNDS):
        for function, count in ways:
            times[function.__name__].append(measure(function, count))
    base = statistics.median(times["bare"])
    print(f"Python {platform.python_version()}, os.read() of {SIZE} bytes of /dev/zero, medians of {ROUNDS} rounds")
    for name, values in times.items():
        print(f"{name:18} {statistics.median(values):10.0f} ns   {statistics.median(values) / base:6.2f} x bare")
    return 0 if statistics.median(times["unstick_timeout"]) <= 1.5 * base else 1


if __name__ == "__main__":
    sys.exit(main())
