# SPDX-License-Identifier: MIT
"""A worker that sleeps for 1,000,000 seconds, stopped after 5; then "over".

    python3 sleeper.py [SECONDS]
"""

import sys
import time

import unstick

patience = float(sys.argv[1]) if len(sys.argv) > 1 else 5


def work():
    print("work: start")
    time.sleep(1000000)
    print("work: done")


worker = unstick.Thread(target=work)
worker.start()
worker.join(patience)
outcome = worker.kill()
worker.join()
print(f"stopped in {outcome.call}: {outcome.kind}")
print("over")
