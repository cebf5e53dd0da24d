"""pcapng: whose each packet is, where some are missing, and how many of whom.

Specification: draft-ietf-opsawg-pcapng; docs/pcapng.md says what we make of it.

Theory of operation. An interface stands for a sender (and link type). It is declared
when its first packet comes, right before the packets of that batch: so what a batch is
encoded to begins with what was not declared yet, if anything. Numbers of interfaces are
never used again within a section; when one has very many, the next batch begins another
one, which knows nobody yet. A reader that begins in the middle gets everything that was
declared in the section that it begins in; it is then not to be told again what the rest
of that section declares, which is at the beginning of batches (`first_unread`).

What a sender had missed and dropped when it sent a batch comes with the batch
(`Part.lost`), so that a gap is where it was, however long the batch has waited here.
"""

from collections.abc import Callable, Iterator, Sequence

from pcap_ffi import count_packets, encode_packets, undeclared, whole_blocks
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.pcapng_blocks import About, encode_statistics
from pcap_zmq.formats.pcapng_section import (
    NOBODY,
    Interface,
    Key,
    Section,
    key_of,
    newly_lost,
    numbers_of,
)
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Part, Receipt, Stream
from pcap_zmq.packet import Batch, Instant, Octets

INTERFACES_MAX = 4_096
"""A receiver remembers as many senders."""

STATISTICS_NS = 10_000_000_000
"""How often statistics are written while packets come; and at the end."""

_MADE_OF_NFLOG = (linktypes.RAW, linktypes.ETHERNET)


class Pcapng:
    """A stream in pcapng, from its first section to its end. linktype: what becomes of
    packets of LINKTYPE_NFLOG: RAW or ETHERNET; else they stay. nanoseconds: as the
    decoder left the times in the records. ledger: the numbers of now; None: no
    statistics. interfaces_max: of a section, after which another one begins; those of
    one batch may be more."""

    def __init__(
        self,
        about: About,
        *,
        linktype: int | None = None,
        nanoseconds: bool = True,
        ledger: Callable[[], Sequence[Line]] | None = None,
        interfaces_max: int = INTERFACES_MAX,
    ) -> None:
        self._about = about
        self._linktype = linktype
        self._nanoseconds = nanoseconds
        self._ledger = ledger
        self._interfaces_max = interfaces_max
        self._section = Section(about, nanoseconds=nanoseconds)
        self._earlier: dict[Key, Interface] = {}
        self._statistics_ns: int | None = None
        # Packets that this output dropped, and nobody was told of yet.
        self._skipped: dict[Key, int] = {}
        # What was declared in octets that were cut.
        self._undeclared = b""
        # Of what was encoded last: its order, and which of its parts tells of how many
        # packets that are missing.
        self._order: Sequence[int] = ()
        self._told: list[tuple[int, Key, int]] = []

    @property
    def section(self) -> object:
        """See FileFormat."""
        return self._section

    def header(self, linktype: int, section: object = None) -> bytes:
        """A section, and all interfaces that are known of it. Never none, since libpcap
        reads on until it has one: who is here is declared where nobody has sent
        anything yet."""
        if isinstance(section, Section) and section is not self._section:
            return b"".join(section.blocks)
        self._undeclared = b""
        present = self._section
        if not present.interfaces:
            for line in self._lines():
                if line.is_here and len(present.interfaces) < self._interfaces_max:
                    key = bytes.fromhex(line.sender), line.name, self._wanted(linktype)
                    present.declare(key, line.address, self._earlier)
        if not present.interfaces:
            present.declare((b"", NOBODY, self._wanted(linktype)), "", self._earlier)
        return b"".join(present.blocks)

    def encode(self, batch: Batch, now: Instant) -> Octets:
        """Interfaces that are new, packets, and statistics where they are due."""
        wanted = self._wanted(batch.linktype)
        parts, order = _parts_of(batch)
        streams = [None if part is None else part.stream for part in parts]
        keys = [key_of(stream, wanted) for stream in streams]
        declared, self._undeclared = [self._undeclared], b""
        declared += self._make_room(keys)
        section = self._section
        self._order, self._told = order, []
        ours: list[tuple[int, int]] = []
        for part, stream, key in zip(parts, streams, keys, strict=True):
            if part is not None and not part.packets:
                # A batch of none, gathered with others: it can tell nothing.
                ours.append((0, 0))
                continue
            interface = section.interfaces.get(key)
            if interface is None:
                address = "" if stream is None else stream.identity.address
                interface = section.declare(key, address, self._earlier)
                declared.append(section.blocks[-1])
            lost = self._skipped.pop(key, 0) if self._skipped else 0
            if part is not None and stream is not None:
                lost += newly_lost(interface, part, stream)
            if lost:
                self._told.append((len(ours), key, lost))
            ours.append((interface.number, lost))
        return encode_packets(
            batch.records,
            batch.count,
            ours,
            order,
            nanoseconds=self._nanoseconds,
            linktype=batch.linktype,
            wanted=wanted,
            before=b"".join(declared),
            after=self._statistics_due(now),
        )

    def end(self) -> Octets:
        """Statistics of all interfaces of the section."""
        return b"".join(self._statistics(is_last=True))

    def skip(self, batch: Batch) -> None:
        """The next packet of each of these senders tells of them."""
        wanted = self._wanted(batch.linktype)
        for stream, found in _left(batch):
            self._tell_later(key_of(stream, wanted), found)

    def cut(self, octets: Octets, at: int) -> tuple[int, int]:
        """See FileFormat. What the rest would have declared, and told of what is
        missing, the next batch does."""
        if not octets:
            # It was not even encoded.
            return 0, 0
        first = undeclared(octets, 0)
        packets = end = 0
        if at == 0:
            self._undeclared = bytes(octets[:first])
        else:
            # With a packet, after declarations alone too: so it stays a batch, which
            # the next reader gets where this one has not read it.
            reached = max(at, first + 1)
            end = whole_blocks(octets, reached)
            if end < reached:
                end += int.from_bytes(octets[end + 4 : end + 8], "little")
            packets = count_packets(octets[:end])
        begun = _parts_among(self._order, packets)
        for part, key, lost in self._told:
            if part not in begun:
                self._tell_later(key, lost)
        self._told = []
        return packets, end

    def whole(self, octets: Octets, limit: int) -> int:
        """See FileFormat."""
        return whole_blocks(octets, max(0, limit))

    def count(self, octets: Octets) -> int:
        """See FileFormat."""
        return count_packets(octets)

    def first_unread(self, octets: Octets, read: int, *, is_declared: bool) -> int:
        """See FileFormat."""
        at = whole_blocks(octets, max(0, read))
        return undeclared(octets, at) if is_declared else at

    def _wanted(self, linktype: int) -> int:
        if linktype == linktypes.NFLOG and self._linktype in _MADE_OF_NFLOG:
            return self._linktype
        return linktype

    def _make_room(self, keys: Sequence[Key]) -> list[bytes]:
        """Another section where this one has no room for those that are new."""
        interfaces = self._section.interfaces
        if len(interfaces) < self._interfaces_max:
            return []
        if all(key in interfaces for key in keys):
            return []
        self._earlier = interfaces
        self._section = Section(self._about, nanoseconds=self._nanoseconds)
        return self._section.blocks[:]

    def _tell_later(self, key: Key, lost: int) -> None:
        if key not in self._skipped and len(self._skipped) >= self._interfaces_max:
            # Of one that is gone, most likely.
            self._skipped.pop(next(iter(self._skipped)))
        self._skipped[key] = self._skipped.get(key, 0) + lost

    def _lines(self) -> Sequence[Line]:
        return () if self._ledger is None else self._ledger()

    def _statistics_due(self, now: Instant) -> bytes:
        if self._statistics_ns is None:
            self._statistics_ns = now.mono_ns + STATISTICS_NS
        if now.mono_ns < self._statistics_ns:
            return b""
        self._statistics_ns = now.mono_ns + STATISTICS_NS
        return b"".join(self._statistics(is_last=False))

    def _statistics(self, *, is_last: bool) -> Iterator[bytes]:
        unit_ns = 1 if self._nanoseconds else 1_000
        for line in self._lines():
            sender = bytes.fromhex(line.sender), line.name
            interface = self._section.latest.get(sender)
            if interface is None:
                continue
            numbers = numbers_of(line, unit_ns)
            if is_last or numbers != interface.told:
                interface.told = numbers
                yield encode_statistics(interface.number, numbers)


def _parts_of(batch: Batch) -> tuple[Sequence[Part | None], Sequence[int]]:
    """Whose the packets are: the parts, and the index of one with how many packets of
    it, by turns."""
    receipt = batch.receipt
    if isinstance(receipt, Runs):
        return receipt.parts, receipt.order
    if isinstance(receipt, Receipt):
        parts = receipt.parts()
        order = [n for at, part in enumerate(parts) for n in (at, part.packets)]
        return parts, order
    return [None], [0, batch.count]


def _parts_among(order: Sequence[int], packets: int) -> set[int]:
    """Whose the first so many are."""
    found = set[int]()
    for at in range(0, len(order), 2):
        if packets <= 0:
            break
        if order[at + 1]:
            found.add(order[at])
        packets -= order[at + 1]
    return found


def _left(batch: Batch) -> Iterator[tuple[Stream | None, int]]:
    if isinstance(batch.receipt, Receipt | Runs):
        yield from batch.receipt.left(batch.count)
    else:
        yield None, batch.count
