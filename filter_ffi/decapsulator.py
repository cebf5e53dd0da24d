"""Packet records in, the packets within their tunnels out."""

import enum
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from filter_ffi._filter import ffi, lib
from filter_ffi.memory import NewBuffer, array, new_buffer, not_whole, octets_of

Octets = bytes | bytearray | memoryview

DEPTH_MAX: int = lib.DEPTH_MAX
"""Most tunnels that are taken off one packet."""


class Encapsulation(enum.IntFlag):
    """What packets may be taken out of."""

    VLAN = 1 << 0
    """IEEE 802.1Q and 802.1ad, any number of tags: they are cut out."""
    MPLS = 1 << 1
    """Labels around IP are cut out; of pseudowires the frame within is left."""
    PPPOE = 1 << 2
    """Cut out where there is IP within."""
    IP_IN_IP = 1 << 3
    """IPv4 and IPv6 in either of them: 6in4, 4in6 and the like; and MPLS in IP."""
    GRE = 1 << 4
    """Around IP, Ethernet (NVGRE), MPLS or PPP (PPTP)."""
    ERSPAN = 1 << 5
    """Types I, II and III."""
    VXLAN = 1 << 6
    """Its GPE, too."""
    GENEVE = 1 << 7
    GTPU = 1 << 8
    TEREDO = 1 << 9
    ALL = (1 << 10) - 1


class Undone(enum.Enum):
    """Why a packet stays in a tunnel that is to be taken off."""

    FRAGMENT = 0
    """Only a part of the tunnel's packet is here; it is left to whoever reads it."""
    NOTHING_WITHIN = 1
    """No packet of IP or frame of Ethernet is within, or it was cut off."""
    DEPTH = 2
    """There were as many tunnels around it as are taken off."""


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive packets of one link type. Its records are the batch's own where
    nothing was taken off, or memory that the parts of a batch share."""

    linktype: int
    records: Octets
    count: int


class Decapsulator:
    """depth: so many tunnels are taken off a packet, at most; VLAN tags, MPLS labels
    and PPPoE do not count, and those around a tunnel go with it. kinds: what is taken
    off; a tunnel of another kind ends the way inside, and other tags and labels are
    only looked through.

    A frame of Ethernet within is of link type Ethernet, a packet of IP within is raw,
    and what is in no tunnel stays of its link type. Times stay; origlen is what it was
    less what was taken off, padding behind the tunnel's packet included. No packet is
    lost, and none grows. Nothing but the numbers is kept from one batch to the next.
    new_buffer: makes the memory of what is changed. Raises ValueError for a depth that
    is not 1 to DEPTH_MAX.
    """

    def __init__(
        self,
        *,
        depth: int = DEPTH_MAX,
        kinds: Encapsulation = Encapsulation.ALL,
        new_buffer: NewBuffer = new_buffer,
    ) -> None:
        if not 1 <= depth <= DEPTH_MAX:
            raise ValueError(f"a depth of {depth} is not 1 to {DEPTH_MAX}")
        self._c = ffi.new("struct peeler *", {"depth": depth, "kinds": int(kinds)})
        self._new_buffer = new_buffer

    def peel(self, linktype: int, records: Octets, count: int) -> list[Part]:
        """The same packets, in their order: a part for each stretch of one link type.
        Raises ValueError where the records are not `count` whole ones."""
        out = self._new_buffer(len(records))
        peeled = array("struct peeled", count)
        parts = int(
            lib.peel_records(
                self._c,
                linktype,
                octets_of(records),
                len(records),
                count,
                octets_of(out),
                peeled,
            )
        )
        if parts < 0:
            raise not_whole(records, count)
        if parts == 0:
            return [Part(linktype, records, count)] if count else []
        made = [peeled[at] for at in range(parts)]
        ends = list(itertools.accumulate(part.length for part in made))
        begins = [0, *ends]
        return [
            Part(part.linktype, out[begin:end], part.count)
            for part, begin, end in zip(made, begins, ends, strict=False)
        ]

    @property
    def changed(self) -> int:
        """Packets that something was taken off, since the beginning."""
        return int(self._c.changed)

    @property
    def taken_off(self) -> Mapping[Encapsulation, int]:
        """Packets that each kind was taken off, since the beginning."""
        return {
            kind: self._c.taken_off[kind.bit_length() - 1] for kind in Encapsulation.ALL
        }

    @property
    def undone(self) -> Mapping[Undone, int]:
        """Packets that stayed in a tunnel, since the beginning."""
        return {why: self._c.undone[why.value] for why in Undone}
