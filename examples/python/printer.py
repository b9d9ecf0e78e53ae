# SPDX-License-Identifier: MIT
"""A worker that prints for ever, stopped after 5 seconds; then "over". Nothing in the loop looks at a flag.

    python3 printer.py [SECONDS]
"""

import sys
import time

import unstick

patience = float(sys.argv[1]) if len(sys.argv) > 1 else 5


def work():
    while True:
        print("still here")
        time.sleep(patience / 10)


worker = unstick.Thread(target=work)
worker.start()
time.sleep(patience)
worker.kill()
worker.join()
print("over")
