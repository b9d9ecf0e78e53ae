# The extension, as the package's own Python files use it. What is public is described in __init__.pyi.
from types import FrameType
from typing import Any, Optional, Tuple

from . import (
    Cancelled as Cancelled,
    Interrupted as Interrupted,
    Lock as Lock,
    Scope as Scope,
    Timeout as Timeout,
    Token as Token,
    move_on_after as move_on_after,
    shield as shield,
    timeout as timeout,
)

version: str
hooked: bool

def interrupt(ident: int, native_id: int, exc: Any, until: Optional[float], /) -> Tuple[tuple, bool]: ...
def look(pid: int, tid: int, /) -> Tuple[str, str, int, int, str, int, str, str, float, str, str]: ...
def stop() -> None: ...
def in_first_interpreter() -> bool: ...
def gil_is_for_all() -> bool: ...
def frame(ident: int, /) -> Optional[FrameType]: ...
def work() -> Scope: ...
