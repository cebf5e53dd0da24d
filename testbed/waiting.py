"""Waits for a condition until a deadline: nothing here ever sleeps and hopes."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# Against a command's own start, some 2 ms: finer would only take its processor away.
POLL_INTERVAL_S = 0.005


class _Readable(Protocol):
    def fileno(self) -> int: ...
    def readline(self) -> str: ...


def wait_until(condition: Callable[[], T], timeout_s: float, what: str) -> T:
    """The first true value of `condition`; after `timeout_s`, a `TimeoutError`.

    `what` completes its message, "waited in vain for ...". The condition is asked
    at least once, and once more after the deadline, so that a machine that stood still
    for a while does not fail what has come true meanwhile.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        is_last = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if is_last:
            raise TimeoutError(f"waited {timeout_s:g} s in vain for {what}")
        time.sleep(POLL_INTERVAL_S)


def first_line(stream: _Readable, timeout_s: float, what: str) -> str:
    """The first line of a child's output, without its end; "" when the child closed it.

    Only for a stream nobody has read from: what a buffer holds, a descriptor hides.
    """
    readable, _, _ = select.select([stream], [], [], timeout_s)
    if not readable:
        raise TimeoutError(f"waited {timeout_s:g} s in vain for {what}")
    return stream.readline().rstrip("\n")
