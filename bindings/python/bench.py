# SPDX-License-Identifier: MIT
"""What a limit costs around a call that does not wait: `with timeout(5): os.read(ready)` beside the bare call and other ways.

Hypothesis: at most 1.5 times the bare call, whatever is read: a byte of /dev/zero is the cheapest read that there is. The
ratio is the median of those of the rounds, with the 10th and 90th percentile; the bare call once more is the noise (A/A).
    PYTHONPATH=build/bindings/python python3 bench.py
"""

import asyncio
import fcntl
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
BOUND = 1.5
F_SETPIPE_SZ = 1031  # fcntl's since 3.10
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


def with_lock(count):
    """What `with` costs, and two methods written in C."""
    read, fd, lock = os.read, ready, threading.Lock()
    for _ in range(count):
        with lock:
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


def show(what, ways, prepare=lambda: None):
    """Each of `ways`, (name, function, number of calls in a round), beside the first. Returns the ratio of the second."""
    times = {name: [] for name, _, _ in ways}
    for _ in range(ROUNDS):
        for name, function, count in ways:
            prepare()
            times[name].append(measure(function, count))
    base = times[ways[0][0]]
    print(f"\n{what}")
    for name, values in times.items():
        ratios = sorted(mine / bare for mine, bare in zip(values, base))
        print(f"{name:18} {statistics.median(values):10.0f} ns   {statistics.median(ratios):6.2f} x bare", end="")
        print(f"   ({ratios[ROUNDS // 10]:.2f}..{ratios[-1 - ROUNDS // 10]:.2f})")
    return statistics.median(mine / bare for mine, bare in zip(times[ways[1][0]], base))


def beside_others():
    ways = [
        ("bare", bare, 20000),
        ("unstick.timeout", unstick_timeout, 20000),
        ("with a token", unstick_token, 5000),
        ("threading.Lock", with_lock, 5000),
        ("signal.setitimer", signal_setitimer, 5000),
        ("asyncio.timeout", asyncio_timeout, 2000),
        ("join(timeout)", thread_join, 100),
        ("bare again (A/A)", bare, 20000),
    ]
    signal.signal(signal.SIGALRM, lambda *unused: None)
    return show("4096 bytes of /dev/zero", [way for way in ways if way[1] != asyncio_timeout or hasattr(asyncio, "timeout")])


def read_of(what, fd, size, count, prepare=lambda: None):
    global ready, SIZE
    ready, SIZE = fd, size
    ways = [("bare", bare, count), ("unstick.timeout", unstick_timeout, count), ("bare again (A/A)", bare, count)]
    return show(what, ways, prepare)


def full_pipe():
    """A pipe, and what fills it anew."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 1 << 20)
    os.set_blocking(writer, False)

    def fill():
        try:
            while True:
                os.write(writer, bytes(4096))
        except BlockingIOError:
            return

    fill()
    return reader, fill


def main():
    print(f"Python {platform.python_version()}, os.read(), {ROUNDS} interleaved rounds")
    pipe, fill = full_pipe()
    ratios = {
        "4096 bytes of /dev/zero": beside_others(),
        "a byte of /dev/zero": read_of("1 byte of /dev/zero", ready, 1, 20000),
        "64 bytes of a pipe": read_of("64 bytes of a pipe", pipe, 64, 15000, fill),
    }
    worst = max(ratios, key=ratios.get)
    print(f"\nfigure: {platform.python_version()}: at most {ratios[worst]:.2f} x the bare call ({worst}), for {BOUND}")
    return 0 if ratios[worst] <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
