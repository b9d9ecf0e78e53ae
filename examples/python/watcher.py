# SPDX-License-Identifier: MIT
"""A watcher that after 5 seconds stops the thread that is stuck, and then itself; the program ends with "over".

    python3 watcher.py [SECONDS]
"""

import socket
import sys
import time

import unstick

patience = float(sys.argv[1]) if len(sys.argv) > 1 else 5


def work(peer):
    print("work: wait for an answer")
    peer.recv(1)


def watch(thread):
    time.sleep(patience)
    for stack in unstick.stacks():
        if stack.tid == thread.native_id:
            print(f"watch: {stack.name} is in {stack.call} on {stack.object}")
    print(f"watch: stop it: {thread.kill().kind}")
    print("watch: stop myself")
    watcher.kill()


ours, theirs = socket.socketpair()
worker = unstick.Thread(target=work, args=(ours,), name="worker")
watcher = unstick.Thread(target=watch, args=(worker,), name="watcher")
worker.start()
watcher.start()
worker.join()
watcher.join()
print("over")
