"""What netfilter rules say, whichever tool wrote them: the common form of both.

Specification: nft(8), iptables(8), iptables-extensions(8).
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from pcap_zmq.formats.ip import Address


class Field(enum.Enum):
    """What of a packet a rule may ask for, as far as it is understood here."""

    FAMILY = "family"
    PROTOCOL = "protocol"
    SOURCE = "source address"
    DESTINATION = "destination address"
    SOURCE_PORT = "source port"
    DESTINATION_PORT = "destination port"
    COMES_IN = "incoming interface"
    GOES_OUT = "outgoing interface"


Value: TypeAlias = str | int | Address


@dataclass(frozen=True, slots=True)
class Span:
    """From one value to another, both included; names are spans of one."""

    first: Value
    last: Value


@dataclass(frozen=True, slots=True)
class Condition:
    """Whether a field is in one of the spans, or, negated, in none."""

    field: Field
    spans: tuple[Span, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """A condition that is not understood here: it may hold or not."""


class Ending(enum.Enum):
    """Where a packet goes after a rule."""

    STOP = "stop"
    """Accepted, dropped or handed on: no later rule of this hook sees it."""
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Ends the rule. certain: False where it is one of several, as in a verdict map."""

    ending: Ending
    target: str = ""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Log:
    """Hands a copy to a group; None: to the kernel's log. Zeros: the rule sets none."""

    group: int | None
    prefix: str = ""
    threshold: int = 0
    snaplen: int = 0
    range: int = 0
    """--nflog-range, which never did anything."""


Step: TypeAlias = Condition | Unknown | Log | Verdict


class Backend(enum.Enum):
    """Whose rule it is, and so how it is changed."""

    NFT = "nft"
    IPTABLES = "iptables"
    IP6TABLES = "ip6tables"
    IPTABLES_LEGACY = "iptables-legacy"
    IP6TABLES_LEGACY = "ip6tables-legacy"


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to a packet, step by step, until a condition does not hold. number:
    nft's handle, or the place in an iptables chain, from 1."""

    steps: tuple[Step, ...]
    number: int
    packets: int | None = None
    """How many it has seen; None: it does not count."""

    @property
    def logs(self) -> tuple[Log, ...]:
        """Its log statements, of which there is nearly always one at most."""
        return tuple(step for step in self.steps if isinstance(step, Log))


@dataclass(frozen=True, slots=True)
class Chain:
    """hook: None for one that is only jumped to."""

    name: str
    hook: str | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rules that can jump to each other. family: ip, ip6, inet, bridge, arp, netdev."""

    backend: Backend
    family: str
    name: str
    chains: tuple[Chain, ...]

    def where(self, chain: str, number: int) -> str:
        """A rule's place, for people."""
        if self.backend is Backend.NFT:
            return f"nft {self.family} {self.name} {chain} (handle {number})"
        return f"{self.backend.value} -t {self.name} {chain} (rule {number})"
