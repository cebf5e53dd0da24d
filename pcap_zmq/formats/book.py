"""A line for each sender, over all its runs: the ledger as a receiver keeps it.

Specification: docs/ledger.md.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pcap_zmq.counters import Reason
from pcap_zmq.formats.ledger import Line, Tally
from pcap_zmq.formats.stream import Identity, Stream
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import Instant


def key_of(identity: Identity, stream: StreamId) -> StreamId:
    """Senders with different names can use the same id, in good faith or not."""
    if not identity.name:
        return stream
    digest = hashlib.blake2b(stream.sender + identity.name.encode(), digest_size=16)
    return StreamId(digest.digest(), stream.started_ns)


@dataclass(slots=True)
class _Sender:
    """What is kept of a sender while its earlier runs are forgotten."""

    since_ns: int
    present: StreamId
    open: set[StreamId]
    """Its streams that are not forgotten."""
    runs: int = 0
    repeated: int = 0
    malformed: int = 0
    late: int = 0
    past: Tally = field(default_factory=Tally)


class Book:
    """Who the senders are, and which of the streams is a sender's present run."""

    def __init__(self) -> None:
        self._senders: dict[bytes, _Sender] = {}

    def is_present(self, stream: Stream) -> bool:
        """Whether no later run of its sender is known."""
        return self._senders[stream.key.sender].present == stream.key

    def enter(self, run: Stream) -> StreamId | None:
        """This run has said hello. Returns the one that it supersedes, if any."""
        sender = self._senders.get(run.key.sender)
        if sender is None:
            sender = _Sender(run.since_ns, run.key, {run.key}, runs=1)
            self._senders[run.key.sender] = sender
            return None
        sender.open.add(run.key)
        if sender.present == run.key:
            return None
        superseded, sender.present = sender.present, run.key
        sender.runs += 1
        return superseded

    def return_to(self, run: Stream) -> None:
        """This run was taken for superseded, and is alive."""
        self._senders[run.key.sender].present = run.key

    def close(self, stream: Stream) -> None:
        """A stream is forgotten: its terms stay in its sender's line, as long as that
        has other ones."""
        sender = self._senders[stream.key.sender]
        tally = stream.tally(held_here=0)
        tally.dropped[Reason.SENDER_GONE] += tally.held_by_sender
        tally.held_by_sender = 0
        sender.past.add(tally)
        sender.repeated += stream.repeated
        sender.malformed += stream.malformed
        sender.late += stream.late
        sender.open.discard(stream.key)
        if not sender.open:
            del self._senders[stream.key.sender]

    def lines(
        self, streams: Iterable[Stream], held: Mapping[StreamId, int], now: Instant
    ) -> list[Line]:
        """held: packets of each stream, by its key, that are found in the receiver."""
        by_sender: dict[bytes, list[Stream]] = {}
        for stream in streams:
            by_sender.setdefault(stream.key.sender, []).append(stream)
        return [
            _line(self._senders[sender], runs, held, now)
            for sender, runs in by_sender.items()
        ]


def _line(
    sender: _Sender,
    streams: Sequence[Stream],
    held: Mapping[StreamId, int],
    now: Instant,
) -> Line:
    first, *others = streams
    tally = first.tally(held.get(first.key, 0))
    for stream in others:
        tally.add(stream.tally(held.get(stream.key, 0)))
    if sender.runs > len(streams):
        tally.add(sender.past)
    present = max(streams, key=lambda stream: stream.key == sender.present)
    mono_to_wall_ns = now.wall_ns - now.mono_ns
    return Line(
        name=present.name,
        key=present.identity.key,
        address=present.identity.address,
        sender=present.id.sender.hex(),
        started_ns=present.id.started_ns,
        since_ns=sender.since_ns + mono_to_wall_ns,
        seen_ns=max(stream.lane.heard_ns for stream in streams) + mono_to_wall_ns,
        is_here=present.is_here,
        runs=sender.runs,
        repeated=sender.repeated + sum(stream.repeated for stream in streams),
        malformed=sender.malformed + sum(stream.malformed for stream in streams),
        late=sender.late + sum(stream.late for stream in streams),
        rate=present.rate,
        clock_offset_ns=present.clock.offset_ns(now),
        clock_error_ns=present.clock.error_ns(now),
        clock_jumps=present.clock.jumps,
        tally=tally,
    )
