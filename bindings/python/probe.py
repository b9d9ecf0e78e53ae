# SPDX-License-Identifier: MIT
"""What meson asks a Python: can the package be built for it? "no" and why not; or "yes", its version, the folder of its headers, the folder
under PREFIX for packages, and whether it is "searched" or "not searched" by that Python.

    probe.py PREFIX
"""

import os
import platform
import site
import sys
import sysconfig


def obstacle():
    version = platform.python_version()
    if sys.version_info < (3, 8):
        return "Python %s is too old, it takes 3.8" % version
    if "t" in sys.abiflags:
        return "Python %s is a free-threaded build" % version
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        return "the headers of Python %s are not installed (Debian: python3-dev)" % version
    return ""


def place(prefix):
    """Debian's scheme puts "local" after any prefix; where a Python looks says more than the schemes do."""
    for path in site.getsitepackages():
        if path.startswith(os.path.join(prefix, "lib")):
            return path, "searched"
    return sysconfig.get_path("platlib", "posix_prefix", vars={"base": prefix, "platbase": prefix}), "not searched"


why = obstacle()
if why:
    print("no", why, sep="\n")
else:
    print("yes", platform.python_version(), sysconfig.get_path("include"), *place(sys.argv[1]), sep="\n")
