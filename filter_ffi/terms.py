"""What a filter asks of a packet: tests, and what joins them. Values; nothing runs."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

from filter_ffi.flow_set import FlowSet

Network: TypeAlias = IPv4Network | IPv6Network


class Side(enum.IntFlag):
    """Which end of a packet a test looks at; of both together one is enough."""

    SOURCE = 1
    TARGET = 2
    EITHER = 3


@dataclass(frozen=True, slots=True)
class Subnets:
    """An address is in one of these networks."""

    networks: Sequence[Network]
    side: Side = Side.EITHER


@dataclass(frozen=True, slots=True)
class Ports:
    """A port is in one of these spans: the first one, the last one, and the protocol,
    None for TCP, UDP, UDP-Lite, DCCP and SCTP. Later fragments of a datagram have the
    ports of its first one."""

    spans: Sequence[tuple[int, int, int | None]]
    side: Side = Side.EITHER


@dataclass(frozen=True, slots=True)
class Macs:
    """A hardware address is one of these, of 6 octets. Of a link type that has none the
    test does not hold; of Linux's cooked captures there is a source only."""

    addresses: Sequence[bytes]
    side: Side = Side.EITHER


@dataclass(frozen=True, slots=True)
class InFlows:
    """The packet is of one of these flows, in either direction, or an ICMP error that
    quotes one of its packets."""

    flows: FlowSet


@dataclass(frozen=True, slots=True)
class Bpf:
    """An expression of pcap-filter(7), compiled for each link type that comes."""

    expression: str


@dataclass(frozen=True, slots=True)
class Between:
    """from_ns <= time < until_ns, since the epoch."""

    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Everything:
    """Holds always."""


@dataclass(frozen=True, slots=True)
class Not:
    """The term does not hold."""

    term: "Term"


@dataclass(frozen=True, slots=True)
class AllOf:
    """All terms hold; of none, always."""

    terms: Sequence["Term"]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One term holds at least; of none, never."""

    terms: Sequence["Term"]


Test: TypeAlias = Subnets | Ports | Macs | InFlows | Bpf | Between
Term: TypeAlias = Test | Everything | Not | AllOf | AnyOf
