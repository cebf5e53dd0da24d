"""A file that is being played: how many of its packets, its first, have arrived.

Theory of operation. Its packets leave in batches, each with a receipt of its own, a
`Part`. Parts arrive in order, whole or packet by packet, and what a reader of a FIFO
left unread has not arrived any more: then the parts that it was of stand open again. So
what has arrived is where the first open part begins, and what of it has.

What is dropped on its way, for whatever makes it unfit (its link type), counts as
arrived: it is not to be sent again. What is given up with the end of the process is.
"""

from bisect import insort
from collections.abc import Callable

from pcap_zmq.counters import Follower, Owner, Reason
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.formats.checkpoint import Play
from pcap_zmq.packet import Octets

GIVEN_UP = frozenset({Reason.NO_READER, Reason.SHUTDOWN, Reason.OUTPUT_FAILED})
"""Why packets are dropped that are still to be sent."""


class Playing:
    """checkpoint: moves octets for us. record: what it says of this file; `arrived` is
    where it begins. moved: is told of each change of what has arrived."""

    def __init__(
        self, checkpoint: Checkpoint, record: Play, moved: Callable[["Playing"], None]
    ) -> None:
        self.checkpoint = checkpoint
        self.record = record
        self._moved = moved
        self.read = record.arrived
        """Packets, from the file's first."""
        self.has_ended = False
        """No more will be read."""
        # Those that have not arrived whole, in order.
        self._open: list[Part] = []

    @property
    def arrived(self) -> int:
        """Packets, its first."""
        if not self._open:
            return self.read
        return self._open[0].start + self._open[0].arrived

    @property
    def is_over(self) -> bool:
        """Everything of it has arrived."""
        return self.has_ended and not self._open

    def begin_at(self, packets: int) -> None:
        """So many, its first, have arrived: as many as it took to get where an earlier
        run came to."""
        self.read = packets
        self._moved(self)

    def part(self, packets: int, octets: int, owner: Owner | None) -> "Part":
        """The next so many packets; the receipt of their batch. octets: of their
        records. owner: theirs so far, who counts them, too."""
        part = Part(self, self.read, packets, octets, owner)
        self.read += packets
        if packets:
            self._open.append(part)
        return part

    def count(self, part: "Part") -> None:
        """Something of it has arrived, or turned out not to have."""
        if not part.is_whole and not part.is_open:
            part.is_open = True
            insort(self._open, part, key=lambda each: each.start)
        while self._open and self._open[0].is_whole:
            self._open.pop(0).is_open = False
        self._moved(self)


class Part(Follower):
    """The receipt of a batch: counters' `Owner` and `Follower`."""

    __slots__ = (
        "_begun",
        "_dropped",
        "_is_given",
        "_octets",
        "_owner",
        "_packets",
        "_written",
        "is_open",
        "of",
        "start",
    )

    def __init__(
        self,
        of: Playing,
        start: int,
        packets: int,
        octets: int,
        owner: Owner | None,
    ) -> None:
        self.of = of
        self.start = start
        self.is_open = packets > 0
        self._packets = packets
        self._octets = octets
        self._owner = owner
        self._is_given = False
        self._written = self._dropped = self._begun = 0

    @property
    def arrived(self) -> int:
        """So many packets of it, its first."""
        return self._written + self._dropped + self._begun

    @property
    def is_whole(self) -> bool:
        """All of them."""
        return self.arrived >= self._packets

    def count_written(self, packets: int) -> int:
        """So many more are in the output; below 0: they turned out not to be."""
        self._written += packets
        self._begun = 0
        if self._owner is not None:
            self._owner.count_written(packets)
        self.of.count(self)
        if self._is_given:
            # Only now that it is noted; and before anything of it may be taken back.
            self._is_given = False
            self.of.checkpoint.moved(0)
        return packets

    def count_dropped(self, reason: Reason, packets: int) -> int:
        """So many will not be."""
        if reason not in GIVEN_UP:
            self._dropped += packets
        if self._owner is not None:
            self._owner.count_dropped(reason, packets)
        self.of.count(self)
        return packets

    def give(self, pipe: int, octets: Octets, at: int) -> int | None:
        """See Follower. Only of what is as it was read: where an earlier run came to
        has to be found again."""
        if len(octets) != self._octets or self.of.arrived != self.start:
            return None
        given = self.of.checkpoint.move(self.of.record, self.start, pipe, octets, at)
        self._is_given = given is not None
        return given

    def note_begun(self, packets: int, octets: int) -> None:
        """So many more are there, but not counted before all are."""
        if self._is_given:
            self.of.checkpoint.moved(octets)
            return
        self._begun = packets
        self.of.count(self)

    def settle(self) -> None:
        """The batch has arrived, at who does not count packets: a receiver."""
        if not self._written:
            self.of.checkpoint.count_batch(self._packets)
            self.count_written(self._packets - self._dropped)
