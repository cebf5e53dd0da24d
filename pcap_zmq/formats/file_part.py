"""Where the packets of a batch come from: a file, and how far all of it is."""

from collections import Counter
from dataclasses import dataclass, field

from pcap_zmq.counters import Reason


@dataclass(slots=True)
class FileTally:
    """The packets of one file: read == written + held + dropped."""

    name: str
    read: int = 0
    written: int = 0
    dropped: Counter[Reason] = field(default_factory=Counter)

    @property
    def is_settled(self) -> bool:
        """Nothing of what was read is still on its way."""
        return self.read == self.written + self.dropped.total()


class FilePart:
    """The receipt of a batch: so many packets of a file. Counters' `Owner`."""

    __slots__ = ("_left", "tally")

    def __init__(self, tally: FileTally, packets: int) -> None:
        self.tally = tally
        self._left = packets

    def count_written(self, packets: int) -> int:
        """So many more of them, in their order, are in the output; or, below 0, turned
        out not to be."""
        self.tally.written += packets
        self._left -= packets
        return packets

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """So many will never be."""
        self.tally.dropped[reason] += packets
        self._left -= packets
        return packets

    def settle(self) -> None:
        """The batch has arrived, at who does not count packets: a receiver."""
        self.count_written(self._left)


def file_of(receipt: object) -> str:
    """Whose packets they are, for people."""
    return receipt.tally.name if isinstance(receipt, FilePart) else "a file"
