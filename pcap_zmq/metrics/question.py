"""How a thread asks the loop for something, and waits for it a little.

Theory of operation. The loop owns all live state, so only it may look. A thread that
wants to know raises its hand and wakes the loop, which hands over a value that never
changes. A loop that hangs gives no answer: then the last one has to do.
"""

import os
import threading
from collections.abc import Iterable
from typing import Generic, TypeVar

from pcap_zmq.poll import READABLE, Watch, new_wake

PATIENCE_S = 1.0
"""Longer than any turn of a loop that is well."""

T = TypeVar("T")


class Question(Generic[T]):
    """One question, asked by any number of threads; the first answer is given."""

    def __init__(self, answer: T) -> None:
        self._answer = answer
        self._answers = 0
        self._condition = threading.Condition()
        self._wake, self._woken = new_wake()
        self._is_closed = False
        self.is_asked = False

    def ask(self) -> T:
        """For threads: an answer that the loop gives from now on, or the last one."""
        with self._condition:
            if self._is_closed:
                return self._answer
            seen = self._answers
            if not self.is_asked:
                self.is_asked = True
                os.write(self._woken, b"\0")
            self._condition.wait_for(lambda: self._answers > seen, PATIENCE_S)
            return self._answer

    def watch(self) -> Iterable[Watch]:
        """For the loop: readable while somebody waits."""
        yield Watch(self._wake, READABLE)

    def answer(self, answer: T) -> None:
        """For the loop: whoever has asked so far gets this."""
        with self._condition:
            if self.is_asked:
                os.read(self._wake, 1)
            self.is_asked = False
            self._answer = answer
            self._answers += 1
            self._condition.notify_all()

    def close(self) -> None:
        """For the loop: whoever asks from now on gets the last answer."""
        with self._condition:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._wake)
                os.close(self._woken)
