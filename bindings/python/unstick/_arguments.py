# SPDX-License-Identifier: MIT
"""Arguments that are checked before anything is done, so that what is wrong with them is said in their own terms."""

import math
import threading
from typing import Any, Optional


def seconds(value: Any, name: str) -> Optional[float]:
    """None, or a number of seconds as a float."""
    if value is None:
        return None
    try:
        nan = math.isnan(value)
    except TypeError:
        raise TypeError(f"{name} must be a number of seconds or None, not {type(value).__name__}") from None
    if nan:
        raise ValueError(f"{name} must be a number of seconds or None, not NaN")
    return float(value)


def check_thread(thread: Any) -> None:
    if not isinstance(thread, threading.Thread):
        raise TypeError(f"thread must be a threading.Thread, not {type(thread).__name__}")


def check_exception(exc: Any) -> None:
    if not (isinstance(exc, BaseException) or (isinstance(exc, type) and issubclass(exc, BaseException))):
        raise TypeError("exc must be an exception: a class derived from BaseException, or an instance")
