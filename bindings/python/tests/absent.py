# SPDX-License-Identifier: MIT
"""Stands for the tests of a Python that is not on this machine."""

import sys

print(f"1..0 # SKIP Python {sys.argv[1]} is not on this machine")
