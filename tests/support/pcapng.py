"""Reads pcapng strictly, without any code of the package: whatever does not keep to the
specification is an AssertionError.

Specification: draft-ietf-opsawg-pcapng.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
SNAPLEN = 262_144

_TEXT, _LONG, _TIME = "text", "long", "time"
_OPTIONS: dict[int, dict[int, tuple[str, str | int]]] = {
    SECTION: {2: ("hardware", _TEXT), 3: ("os", _TEXT), 4: ("application", _TEXT)},
    INTERFACE: {2: ("name", _TEXT), 3: ("description", _TEXT), 9: ("tsresol", 1)},
    STATISTICS: {
        2: ("start", _TIME),
        3: ("end", _TIME),
        4: ("ifrecv", _LONG),
        5: ("ifdrop", _LONG),
        7: ("osdrop", _LONG),
        8: ("usrdeliv", _LONG),
    },
    PACKET: {1: ("comment", _TEXT), 2: ("flags", 4), 4: ("dropcount", 8)},
}
_FIXED = {SECTION: 16, INTERFACE: 8, STATISTICS: 12, PACKET: 20}


@dataclass(frozen=True)
class Interface:
    """As it was declared; time units per second."""

    linktype: int
    name: str
    description: str
    per_second: int


@dataclass(frozen=True)
class PacketBlock:
    """One packet, and the interface that it is of."""

    interface: Interface
    ts_ns: int
    origlen: int
    data: bytes
    comment: str = ""
    flags: int = 0
    dropcount: int = 0


@dataclass(frozen=True)
class Statistics:
    """What was said of an interface."""

    interface: Interface
    numbers: dict[str, int]


@dataclass
class Stream:
    """All of it, in order."""

    sections: list[dict[str, str | int]] = field(default_factory=list)
    interfaces: list[list[Interface]] = field(default_factory=list)
    """Of each section."""
    packets: list[PacketBlock] = field(default_factory=list)
    statistics: list[Statistics] = field(default_factory=list)
    torn: bytes = b""
    """What is left at the end."""

    def by_name(self) -> dict[str, list[PacketBlock]]:
        """The packets of each interface."""
        found: dict[str, list[PacketBlock]] = {}
        for packet in self.packets:
            found.setdefault(packet.interface.name, []).append(packet)
        return found


def read(octets: bytes) -> Stream:
    """A stream, of which only the end may be torn."""
    stream = Stream()
    at = 0
    for kind, block, end in _blocks(octets):
        fixed = _FIXED[kind]
        if kind == PACKET:
            _read_packet(stream, block)
        elif kind == SECTION:
            magic, major, minor, length = struct.unpack("<IHHq", block[:fixed])
            assert (magic, major, minor, length) == (0x1A2B3C4D, 1, 0, -1)
            stream.sections.append(_options(kind, block[fixed:]))
            stream.interfaces.append([])
        elif kind == INTERFACE:
            linktype, reserved, snaplen = struct.unpack("<HHI", block[:fixed])
            assert (reserved, snaplen) == (0, SNAPLEN)
            said = _options(kind, block[fixed:])
            interface = Interface(
                linktype,
                str(said["name"]),
                str(said.get("description", "")),
                10 ** int(str(said["tsresol"])),
            )
            stream.interfaces[-1].append(interface)
        else:
            number, high, low = struct.unpack("<III", block[:fixed])
            numbers = _options(kind, block[fixed:])
            numbers["time"] = high << 32 | low
            stream.statistics.append(
                Statistics(
                    stream.interfaces[-1][number],
                    {name: int(str(value)) for name, value in numbers.items()},
                )
            )
        at = end
    stream.torn = octets[at:]
    return stream


def _blocks(octets: bytes) -> Iterator[tuple[int, bytes, int]]:
    at = 0
    while len(octets) - at >= 12:
        kind, length = struct.unpack_from("<II", octets, at)
        assert kind in _FIXED
        assert (at == 0) <= (kind == SECTION)
        assert length % 4 == 0
        assert length >= 12 + _FIXED[kind]
        if length > len(octets) - at:
            return
        assert octets[at + length - 4 : at + length] == octets[at + 4 : at + 8]
        yield kind, octets[at + 8 : at + length - 4], at + length
        at += length


def _read_packet(stream: Stream, block: bytes) -> None:
    number, high, low, caplen, origlen = struct.unpack("<IIIII", block[:20])
    interface = stream.interfaces[-1][number]
    assert caplen <= min(origlen, SNAPLEN)
    end = 20 + caplen
    padding = -caplen % 4
    assert block[end : end + padding] == bytes(padding)
    said = _options(PACKET, block[end + padding :])
    stream.packets.append(
        PacketBlock(
            interface,
            (high << 32 | low) * (1_000_000_000 // interface.per_second),
            origlen,
            block[20:end],
            str(said.get("comment", "")),
            int(str(said.get("flags", 0))),
            int(str(said.get("dropcount", 0))),
        )
    )


def _options(kind: int, octets: bytes) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    at = 0
    while at < len(octets):
        code, length = struct.unpack_from("<HH", octets, at)
        at += 4
        if code == 0:
            assert length == 0
            assert at == len(octets)
            return found
        name, form = _OPTIONS[kind][code]
        assert name not in found
        value = octets[at : at + length]
        assert len(value) == length > 0
        at += length + -length % 4
        if form == _TEXT:
            found[name] = value.decode()
        elif form == _TIME:
            high, low = struct.unpack("<II", value)
            found[name] = high << 32 | low
        else:
            assert length == (8 if form == _LONG else form)
            found[name] = int.from_bytes(value, "little")
    # The last one is needed only where there are others.
    assert not octets
    return found
