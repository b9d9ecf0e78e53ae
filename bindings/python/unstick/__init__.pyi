import threading
from types import TracebackType
from typing import ContextManager, List, Literal, NamedTuple, Optional, Type, Union

from ._executor import Future as Future, ThreadPoolExecutor as ThreadPoolExecutor
from ._process import ProcessResult as ProcessResult, run_process as run_process
from ._thread import Thread as Thread

__version__: str

class Timeout(TimeoutError):
    scope: Optional[Scope]

class Interrupted(BaseException):
    scope: Optional[Scope]

class Cancelled(Interrupted): ...

class Token:
    def __init__(self, parent: Optional[Token] = ...) -> None: ...
    def cancel(self) -> None: ...
    def set_deadline(self, when: Optional[float]) -> None: ...
    def fileno(self) -> int: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def fired(self) -> bool: ...

class Lock:
    def __init__(self) -> None: ...
    def acquire(self, blocking: bool = ..., timeout: float = ...) -> bool: ...
    def release(self) -> None: ...
    def locked(self) -> bool: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...

class Scope:
    def __enter__(self) -> Scope: ...
    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> bool: ...
    def cancel(self) -> None: ...
    def reschedule(self, when: Optional[float]) -> None: ...
    def shield(self) -> ContextManager[Scope]: ...
    @property
    def deadline(self) -> Optional[float]: ...
    @property
    def cancelled_caught(self) -> bool: ...
    @property
    def fired(self) -> bool: ...

def timeout(seconds: Optional[float], *, token: Optional[Token] = ...) -> Scope: ...
def move_on_after(seconds: Optional[float], *, token: Optional[Token] = ...) -> Scope: ...
def shield() -> ContextManager[Scope]: ...

class Outcome(NamedTuple):
    kind: Literal[
        "woken",
        "finished first",
        "not blocked",
        "lock",
        "event loop",
        "uninterruptible",
        "signal blocked",
        "handler replaced",
        "stopped",
        "looping",
        "not inspectable",
        "gone",
        "left alone",
        "shielded",
        "no attempt",
    ]
    error: int
    tid: int
    child: int
    nr: int
    call: Optional[str]
    fd: int
    state: str
    wait: str
    signals: int
    seconds: float
    text: str
    raised: bool

class Stack(NamedTuple):
    name: str
    tid: int
    where: str
    call: str
    object: str
    seconds: float
    freeable: Optional[bool]
    why: str

def interrupt(
    thread: threading.Thread,
    exc: Union[BaseException, Type[BaseException]] = ...,
    until: Optional[float] = ...,
) -> Outcome: ...
def stacks() -> List[Stack]: ...
