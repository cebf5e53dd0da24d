"""Reads ahead of the loop, in a thread: whatever waits for a disk, a pipe or a
decompressor goes here. Nothing outside of this file knows of threads.
"""

import os
import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pcap_zmq.errors import PcapZmqError
from pcap_zmq.poll import READABLE, Watch, new_wake

T = TypeVar("T")

JOIN_S = 0.2
"""A thread that is stuck in reading is left to the end of the process."""


@dataclass(frozen=True, slots=True)
class _End:
    failure: BaseException | None


class ReadAhead(Generic[T]):
    """items: what the thread runs; closed there, so that what it has opened is closed
    by whoever was reading. depth: so many lie ready at most."""

    def __init__(self, items: Generator[T, None, None], depth: int) -> None:
        self.failure: BaseException | None = None
        """What the items ended by, once all before it were taken."""
        self._items = items
        self._ahead: queue.Queue[T | _End] = queue.Queue(depth)
        self._wake, self._woken = new_wake()
        self._is_stopped = self._is_exhausted = self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def get(self) -> T | None:
        """The next one; None: nothing yet, or nothing any more."""
        if self._is_exhausted:
            return None
        try:
            item = self._ahead.get_nowait()
        except queue.Empty:
            return None
        os.read(self._wake, 1)
        if not isinstance(item, _End):
            return item
        self._is_exhausted = True
        self.failure = item.failure
        return None

    def watch(self) -> Iterable[Watch]:
        """Readable while something lies ready."""
        if not self._is_exhausted:
            yield Watch(self._wake, READABLE)

    def is_exhausted(self) -> bool:
        """All was taken, or a stop."""
        return self._is_exhausted

    def stop(self) -> None:
        """The rest stays unread."""
        self._is_stopped = self._is_exhausted = True

    def close(self) -> bool:
        """Ends the thread, unless it is stuck in reading: False, and what it reads is
        still in use."""
        self.stop()
        while not self._ahead.empty():
            self._ahead.get_nowait()
        self._thread.join(timeout=JOIN_S)
        if self._thread.is_alive():
            return False
        if not self._is_closed:
            self._is_closed = True
            os.close(self._wake)
            os.close(self._woken)
        return True

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            for item in self._items:
                self._hand_over(item)
                if self._is_stopped:
                    break
        except PcapZmqError as error:
            failure = error
        except BaseException as error:
            # No end of what is read: whoever asks for it shall fail, too.
            failure = error
            raise
        finally:
            self._items.close()
            self._hand_over(_End(failure))

    def _hand_over(self, item: T | _End) -> None:
        # First the octet: whoever finds the item finds an octet for it to read.
        os.write(self._woken, b"\0")
        while not self._is_stopped:
            try:
                self._ahead.put(item, timeout=0.1)
            except queue.Full:
                continue
            return
