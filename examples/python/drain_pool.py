# SPDX-License-Identifier: MIT
"""A pool of workers in calls that nobody will answer, and one in a lock: gone after at most 3 seconds, and what is left is named.

    python3 drain_pool.py [SECONDS]
"""

import socket
import sys
import threading
import time

import unstick

patience = float(sys.argv[1]) if len(sys.argv) > 1 else 3

silent = socket.create_server(("127.0.0.1", 0))
lock = threading.Lock()
lock.acquire()


def ask():
    with socket.create_connection(silent.getsockname()) as connection:
        return connection.recv(1)


pool = unstick.ThreadPoolExecutor(4, "worker")
futures = [pool.submit(ask), pool.submit(time.sleep, 1000000), pool.submit(lock.acquire), pool.submit(sum, [1, 2])]
for stack in pool.shutdown(deadline=patience):
    print(f"left: {stack.work} in {stack.call}: {stack.why}")
print(*("cancelled" if future.cancelled() else future.result() for future in futures))
print("over")
