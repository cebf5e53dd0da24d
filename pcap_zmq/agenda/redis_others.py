"""Other dispatchers of the same Redis: who lives, and whose files go back.

Theory of operation. Each renews a lease. Of those of this host it is known at once
whether they run; of others that they live once they have renewed it, and that they do
not once it ran out, and then as long again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pcap_zmq.agenda.instance import is_running

Step = Callable[..., Any]
"""Takes a step of redis_agenda.lua: its name, and what it takes."""

Complain = Callable[..., None]
"""Takes a message for operators, and its values as octets."""


@dataclass(frozen=True, slots=True)
class _Other:
    """lease: empty where it has none; files: how many it has."""

    name: str
    lease: bytes
    files: int
    queue: str


class Others:
    """queue: ours. Every call but `forget` raises TransportError."""

    def __init__(
        self, step: Step, complain: Complain, *, queue: str, lease_ns: int
    ) -> None:
        self._step = step
        self._complain = complain
        self._queue = queue
        self._lease_ns = lease_ns
        self._leases: dict[str, bytes] = {}
        self._complains_at_ns: int | None = None
        self._has_complained = False

    def missing(self) -> list[str]:
        """Who has files of our queue, and is not known to live: who does will play
        them, and of who does not they may come back."""
        busy = {
            other.name: other.lease
            for other in self._all()
            if other.files and other.queue == self._queue
        }
        for name, lease in busy.items():
            self._leases.setdefault(name, lease)
        return [
            name
            for name, lease in busy.items()
            if not is_running(name) and (not lease or lease == self._leases[name])
        ]

    def may_return_files(self, now_ns: int) -> bool:
        """Whether anybody is missing; told to operators when it takes long."""
        missing = self.missing()
        if missing and self._complains_at_ns is None:
            # Whoever lives has renewed his lease by then.
            self._complains_at_ns = now_ns + self._lease_ns // 2
        is_late = self._complains_at_ns is not None and now_ns >= self._complains_at_ns
        if missing and is_late and not self._has_complained:
            self._has_complained = True
            self._complain(
                "nothing is heard of %s, which has files of this queue: waits until "
                "they are back in it, or it is heard of",
                os.fsencode(", ".join(missing)),
            )
        return bool(missing)

    def sweep(self) -> None:
        """Puts files of those who are gone back into their queues."""
        names = [other.name for other in self._all()]
        gone = [name for name in names if is_running(name) is False]
        found = self._step("sweep", *gone)
        for name, path in zip(found[::2], found[1::2], strict=True):
            self._complain(
                "%s goes back into the queue: nothing is heard any more of %s, which "
                "had it",
                path,
                name,
            )

    def forget(self) -> None:
        """The server was away: nobody can have renewed anything."""
        self._leases.clear()

    def _all(self) -> list[_Other]:
        found = self._step("others")
        return [
            _Other(os.fsdecode(name), lease, int(files), os.fsdecode(queue))
            for name, lease, files, queue in zip(*[iter(found)] * 4, strict=True)
        ]
