# SPDX-License-Identifier: MIT
"""Scanners that sleep in a loop: joined for 3 seconds, asked for their result, and killed if they are still at it.

    python3 scanner.py [SECONDS]
"""

import sys
import time

import unstick

patience = float(sys.argv[1]) if len(sys.argv) > 1 else 3


def scan(ports, pause):
    found = []
    for port in ports:
        time.sleep(pause)
        found.append(port)
    return found


quick = unstick.Thread(target=scan, args=(range(3), patience / 100), name="quick")
slow = unstick.Thread(target=scan, args=(range(1000000), patience / 100), name="slow")
for scanner in quick, slow:
    scanner.start()
for scanner in quick, slow:
    scanner.join(patience)
    if scanner.is_alive():
        print(f"{scanner.name}: no result after {patience:g} s, killed: {scanner.kill().raised}")
        scanner.join()
    else:
        print(f"{scanner.name}: {scanner.get_result()}")
print("over")
