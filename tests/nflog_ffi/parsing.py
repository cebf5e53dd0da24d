"""Calls the parser on octets and watches over the memory that it may write to."""

from dataclasses import dataclass

from nflog_ffi._nflog import ffi, lib
from pcap_ffi import count_records
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Packet

CANARY = 0xA5
CANARIES = 64
ROOMY = 1 << 17
NOW_NS = 1_800_000_000_987_654_321

COUNTS = (
    "received",
    "missed",
    "not_ip",
    "stamped_by_kernel",
    "stamped_here",
    "gaps",
    "malformed",
)


@dataclass(frozen=True)
class Parsed:
    """What one call gave back."""

    records: bytes
    """All that is in the buffer, what was there before included."""
    taken: int
    """Octets of the datagram that are done with."""

    @property
    def packets(self) -> list[Packet]:
        return list(iter_packets(self.records))


class Parser:
    """One struct nflog_parser with its groups."""

    def __init__(self, *groups: int, linktype: int = 0) -> None:
        # Both owned here, the groups for as long as the parser points to them.
        self._groups = ffi.new("struct nflog_group[]", len(groups))
        for slot, group in zip(self._groups, sorted(groups), strict=True):
            slot.id = group
        self._parser = ffi.new("struct nflog_parser *")
        self._parser.groups = self._groups
        self._parser.groups_count = len(groups)
        self._parser.linktype = linktype

    def counts(self) -> dict[str, int]:
        """Those counts that the parser keeps and that are not 0."""
        counts = self._parser.counts
        shown = {name: int(getattr(counts, name)) for name in COUNTS}
        return {name: count for name, count in shown.items() if count}

    def expect(self, group: int, seq: int) -> None:
        """As after the packet before `seq`."""
        for slot in self._groups:
            if slot.id == group:
                slot.next_seq = seq

    def next_seq(self, group: int) -> int:
        """What the next packet of a group should be numbered."""
        return next(int(slot.next_seq) for slot in self._groups if slot.id == group)

    def parse(
        self,
        datagram: bytes,
        *,
        capacity: int = ROOMY,
        before: bytes = b"",
        now_ns: int = NOW_NS,
    ) -> Parsed:
        """Parses into a buffer that holds `before` already. Fails where an octet
        outside of what it may write has changed, or where what it wrote is no records.
        """
        buffer = bytearray(before)
        buffer += bytes([CANARY]) * (capacity - len(before) + CANARIES)
        used = ffi.new("size_t *", len(before))
        taken = lib.nflog_parse(
            self._parser,
            # A bytearray's memory is aligned as netlink's has to be.
            ffi.from_buffer("uint8_t[]", bytearray(datagram)),
            len(datagram),
            now_ns,
            ffi.from_buffer("uint8_t[]", buffer),
            capacity,
            used,
        )
        assert len(before) <= used[0] <= capacity
        assert buffer.startswith(before)
        assert buffer.count(CANARY, used[0]) == len(buffer) - used[0]
        records = bytes(buffer[: used[0]])
        count_records(records)
        return Parsed(records, int(taken))
