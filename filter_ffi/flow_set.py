"""Flows by the million, to ask whether a packet is of one of them."""

import secrets
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import Any

from filter_ffi._filter import ffi, lib

Octets = bytes | bytearray | memoryview
Address = IPv4Address | IPv6Address

PACKED: int = lib.FLOW_PACKED
"""Octets of a packed flow: version (4 or 6), protocol, two ports (big-endian), two
addresses (16 octets each, those of IPv4 first in theirs)."""

_PACKED = struct.Struct(">BBHH16s16s")
_TOGETHER = 4096


def pack_flow(
    protocol: int, one: Address, one_port: int, other: Address, other_port: int
) -> bytes:
    """A flow as `FlowSet.add_packed` takes it. Raises ValueError where its ends are of
    two versions of IP, or a number is too large."""
    if one.version != other.version:
        raise ValueError(f"{one} and {other} are of two versions of IP")
    try:
        return _PACKED.pack(
            one.version, protocol, one_port, other_port, one.packed, other.packed
        )
    except struct.error as error:
        raise ValueError(
            f"no flow: protocol {protocol}, ports {one_port} and {other_port}"
        ) from error


class FlowSet:
    """Either direction is the same flow. A flow is two addresses, a protocol and, where
    the protocol has some, ports: of ICMP and others, whose ports are 0, a flow is all
    between two hosts. 16 octets and some room for a flow of IPv4, 40 for one of IPv6.
    `Filters` of several threads may share it once all is added. Raises MemoryError.

    flows: protocol, one address and port, the other address and port; see `add`.
    """

    def __init__(
        self, flows: Iterable[tuple[int, Address, int, Address, int]] = ()
    ) -> None:
        self._set = ffi.gc(lib.flow_set_new(secrets.randbits(64)), lib.flow_set_free)
        if not self._set:
            raise MemoryError
        self.add(flows)

    def __len__(self) -> int:
        """Flows that differ."""
        return int(lib.flow_set_count(self._set))

    @property
    def c(self) -> Any:
        """For the C functions; lives as long as the set does."""
        return self._set

    def add(self, flows: Iterable[tuple[int, Address, int, Address, int]]) -> None:
        """Raises ValueError where one is none: see `pack_flow`."""
        left = iter(flows)
        while packed := b"".join(pack_flow(*flow) for flow in islice(left, _TOGETHER)):
            self.add_packed(packed)

    def add_packed(self, packed: Octets) -> None:
        """Flows of `PACKED` octets back to back. Raises ValueError for what is none;
        those before it are added."""
        flows, rest = divmod(len(packed), PACKED)
        octets = ffi.from_buffer("uint8_t[]", packed)
        added = int(lib.flow_set_add_packed(self._set, octets, flows))
        if added < 0:
            raise MemoryError
        if added < flows or rest:
            raise ValueError(f"no packed flow after {added} of them")
