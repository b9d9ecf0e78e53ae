# SPDX-License-Identifier: MIT
"""Which Pythons are here: a line "3.N PATH" for each of 3.8 to 3.13, or for those named; PATH is - if it is absent. From PATH, and pyenv."""

import glob
import os
import subprocess
import sys


def works(path, version):
    try:
        ran = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
        )
    except OSError:
        return False
    return ran.stdout.strip() == version


def find(version):
    roots = os.path.join(os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv"), "versions")
    candidates = sorted(glob.glob(f"{roots}/{version}.*/bin/python3")) + [f"python{version}", "/usr/bin/python3"]
    return next((path for path in candidates if works(path, version)), "-")


for version in sys.argv[1:] or ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]:
    print(version, find(version))
