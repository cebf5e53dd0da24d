"""What a filter asks of a packet.

A test holds where one of its values does, for either end of the packet. Specification:
docs/filter.md, "Filters".
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import NamedTuple, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

PORT_MAX = 0xFFFF
ASN_MAX = 0xFFFFFFFF

PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "sctp": 132,
    "udplite": 136,
}
"""By the names that are written here; of others there is the number."""

WITH_PORTS = frozenset(
    PROTOCOLS[name] for name in ("tcp", "udp", "dccp", "sctp", "udplite")
)

_FLOW = struct.Struct(">BBHH16s16s")


class Ports(NamedTuple):
    """A span of them. protocol: None: whichever has ports."""

    first: int
    last: int
    protocol: int | None = None


Flow: TypeAlias = bytes
"""Two ends that have to do with each other, in either direction, as `flow` makes it:
the same flow is always the same octets, those that `filter_ffi.FlowSet` takes. A set of
millions is affordable so."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """An address of either end is in one of these."""

    values: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Port:
    """A port of either end is one of these."""

    values: tuple[Ports, ...]


@dataclass(frozen=True, slots=True)
class Ether:
    """A MAC address of either end is one of these, of six octets."""

    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Asn:
    """An address of either end belongs to one of these autonomous systems."""

    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bpf:
    """One of these expressions of pcap-filter(7) takes it."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InFlow:
    """It is of one of these flows; where there are none, of none."""

    values: frozenset[Flow]


@dataclass(frozen=True, slots=True)
class Everything:
    """Every packet."""


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds."""

    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Either:
    """One part holds at least."""

    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Condition"


Test: TypeAlias = Subnet | Port | Ether | Asn | Bpf | InFlow | Everything
Condition: TypeAlias = Test | All | Either | Not


Rules: TypeAlias = Mapping[str, Condition]
"""Filters by name, in their order."""


class NoValueError(ValueError):
    """What is written is no such value; the message says what is one."""


class FlowEnds(NamedTuple):
    """What is in a Flow. Ports are 0 where the protocol has none."""

    protocol: int
    one: Address
    one_port: int
    other: Address
    other_port: int


def flow(
    protocol: int, source: Address, source_port: int, target: Address, target_port: int
) -> Flow:
    """Of a packet's ends. Raises NoValueError where they are of two IP versions."""
    if source.version != target.version:
        raise NoValueError(f"{source} and {target} are of two IP versions")
    if protocol not in WITH_PORTS:
        source_port = target_port = 0
    ends = [(source.packed, source_port), (target.packed, target_port)]
    (one, one_port), (other, other_port) = sorted(ends)
    return _FLOW.pack(source.version, protocol, one_port, other_port, one, other)


def flow_ends(octets: Flow) -> FlowEnds:
    """What it is made of."""
    version, protocol, one_port, other_port, one, other = _FLOW.unpack(octets)
    length = 4 if version == 4 else 16
    return FlowEnds(
        protocol,
        ip_address(one[:length]),
        one_port,
        ip_address(other[:length]),
        other_port,
    )


def as_numbers(condition: Condition) -> Iterator[int]:
    """All that are in it."""
    match condition:
        case Asn(values):
            yield from values
        case All(parts) | Either(parts):
            for part in parts:
                yield from as_numbers(part)
        case Not(part):
            yield from as_numbers(part)


def expressions(condition: Condition) -> Iterator[str]:
    """All of pcap-filter(7) that are in it."""
    match condition:
        case Bpf(values):
            yield from values
        case All(parts) | Either(parts):
            for part in parts:
                yield from expressions(part)
        case Not(part):
            yield from expressions(part)
