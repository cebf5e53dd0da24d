"""The interfaces of a pcapng section: whose each is, and what was told of it.

Specification: draft-ietf-opsawg-pcapng.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pcap_zmq.counters import Reason
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.pcapng_blocks import (
    About,
    Numbers,
    encode_interface,
    encode_section,
)
from pcap_zmq.formats.stream import Part, Stream

NOBODY = "unknown"
"""The interface of packets whose sender was forgotten, or is not known yet."""

Sender = tuple[bytes, str]
"""Its id on the wire, and its name."""
Key = tuple[bytes, str, int]
"""The same, and a link type."""

_OF_OUTPUTS = frozenset(
    {Reason.NO_READER, Reason.SLOW_OUTPUT, Reason.OUTPUT_FAILED, Reason.SHUTDOWN}
)
"""Dropped by an output, perhaps by another one than this."""


@dataclass(slots=True)
class Interface:
    """One sender with one link type."""

    number: int
    run: int = 0
    """The latest one of its sender: when that started."""
    lost: int = 0
    """Of this run, told so far."""
    told: Numbers | None = None


class Section:
    """Interfaces by whose they are, and the blocks that declare them."""

    def __init__(self, about: About, *, nanoseconds: bool) -> None:
        self.blocks = [encode_section(about)]
        self.interfaces: dict[Key, Interface] = {}
        self.latest: dict[Sender, Interface] = {}
        """Of each sender the one that was declared last."""
        self._nanoseconds = nanoseconds

    def declare(
        self, key: Key, address: str, earlier: Mapping[Key, Interface]
    ) -> Interface:
        """Another one; its block is the last. earlier: of the section before this."""
        sender, name, linktype = key
        interface = Interface(len(self.interfaces))
        before = earlier.get(key)
        if before is not None:
            interface.run, interface.lost = before.run, before.lost
        self.interfaces[key] = interface
        self.latest[sender, name] = interface
        words = [f"sender {sender.hex()}"] if sender else []
        words += [f"from {address}"] if address else []
        self.blocks.append(
            encode_interface(
                linktype, name, ", ".join(words), nanoseconds=self._nanoseconds
            )
        )
        return interface


def key_of(stream: Stream | None, linktype: int) -> Key:
    """Whose interface it is."""
    if stream is None:
        return b"", NOBODY, linktype
    return stream.id.sender, stream.name, linktype


def newly_lost(interface: Interface, part: Part, stream: Stream) -> int:
    """What its sender has lost, and we of it, since its last packet; of a run that has
    a later one, nothing."""
    lost = part.lost
    for reason, packets in stream.dropped.items():
        lost += 0 if reason in _OF_OUTPUTS else packets
    run = stream.id.started_ns
    if run > interface.run:
        interface.run, interface.lost = run, 0
    if run < interface.run or lost <= interface.lost:
        return 0
    newly, interface.lost = lost - interface.lost, lost
    return newly


def numbers_of(line: Line, unit_ns: int) -> Numbers:
    """What the ledger says of a sender. unit_ns: of its interface's times."""
    tally = line.tally
    return Numbers(
        received=tally.logged,
        missed=tally.missed + tally.missed_tail,
        dropped=tally.dropped.total(),
        delivered=tally.delivered,
        start=min(line.started_ns, line.since_ns) // unit_ns,
        end=line.seen_ns // unit_ns,
    )
