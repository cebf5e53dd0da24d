"""Where every packet of every sender is: one equation across the network.

For each sender, at any time:

    logged = delivered + held + dropped + missed + elsewhere + unaccounted

Theory of operation. `logged`, `missed`, what the sender holds and what it has dropped
are its own words, of one moment: that of its last message. `delivered`, and what is
held and dropped here, the receiver knows by itself. What is under way, or held here and
not yet acknowledged, the sender counts as held by itself; so it is counted here and
taken off there. Nothing of this is computed from anything else, so `unaccounted` is
zero as long as every part tells the truth, at every moment and not only at the end.

Specification: docs/ledger.md.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from pcap_zmq.counters import Reason
from pcap_zmq.errors import WireError
from pcap_zmq.formats.output_line import OutputLine, decode_output, encode_output
from pcap_zmq.packet import Octets


@dataclass(slots=True)
class Tally:
    """The terms of the equation, in packets."""

    logged: int = 0
    delivered: int = 0
    held_by_sender: int = 0
    held_by_receiver: int = 0
    missed: int = 0
    missed_tail: int = 0
    """Estimated: lost after the last packet that the sender saw."""
    elsewhere: int = 0
    """Acknowledged before this receiver can vouch: by an earlier one, say."""
    dropped: Counter[Reason] = field(default_factory=Counter)
    """By either end."""

    @property
    def unaccounted(self) -> int:
        """What the equation lacks; below zero where something is counted twice."""
        return self.logged - (
            self.delivered
            + self.held_by_sender
            + self.held_by_receiver
            + self.missed
            + self.missed_tail
            + self.elsewhere
            + self.dropped.total()
        )

    def add(self, other: "Tally") -> None:
        """Takes in the terms of another run, or of another sender."""
        for term in _NUMBERS:
            setattr(self, term, getattr(self, term) + getattr(other, term))
        self.dropped.update(other.dropped)


# What is said of itself by whoever answers; a term may be the sum of many 64-bit ones.
_TERM_MAX = 1 << 96
_MOMENT_MAX = (1 << 64) - 1
_MESSAGE_MAX = 200

_NUMBERS = tuple(term.name for term in fields(Tally) if term.name != "dropped")


@dataclass(frozen=True, slots=True)
class Line:
    """One sender in the ledger, over all its runs that the receiver has seen."""

    name: str
    key: str
    """Its public key, Z85; empty without keys."""
    address: str
    """Where its last connection came from; empty where that is not known."""
    sender: str
    """Its id on the wire, in hexadecimal digits."""
    started_ns: int
    """When its present run began, by its own clock."""
    since_ns: int
    """From when on this receiver can vouch for it."""
    seen_ns: int
    """When it was last heard."""
    is_here: bool
    runs: int
    """Starts of the sender that this receiver has seen."""
    repeated: int
    """Packets that came again after a reconnect, and were passed over."""
    malformed: int
    """Messages and batches of its that no format explains."""
    rate: int
    """Packets a second, over the time since the sender's last message but one."""
    tally: Tally
    late: int = 0
    """Packets that came too late to be put in order, where that is done."""
    clock_offset_ns: int | None = None
    """How far its clock is ahead of the receiver's; None: not known."""
    clock_error_ns: int | None = None
    """The offset is known to so much in either direction."""
    clock_jumps: int = 0
    """Times that its clock was found to have been set."""


def total_of(lines: Iterable[Line]) -> Tally:
    """All of them together."""
    total = Tally()
    for line in lines:
        total.add(line.tally)
    return total


@dataclass(frozen=True, slots=True)
class State:
    """What a receiver says of itself when it is asked."""

    version: str
    address: str
    output: str
    started_ns: int
    now_ns: int
    """Its clock when it was asked."""
    senders: Sequence[Line]
    receiver: Mapping[str, int]
    """Its own counters; empty for who may see only a line."""
    outputs: Sequence[OutputLine] = ()
    """Where there are several; none for who may see only a line."""

    @property
    def total(self) -> Tally:
        """All senders together."""
        return total_of(self.senders)


def encode_state(state: State) -> bytes:
    """As JSON: docs/ledger.md has every field."""
    fields_of_state = {
        **{name: getattr(state, name) for name in _ABOUT_RECEIVER},
        "receiver": state.receiver,
        "outputs": [encode_output(line) for line in state.outputs],
        "senders": [_encode_line(line) for line in state.senders],
        "total": _encode_tally(state.total),
    }
    return json.dumps(fields_of_state, separators=(",", ":")).encode()


def decode_state(octets: Octets) -> State:
    """What `encode_state` made; later versions may say more. Raises WireError."""
    try:
        said = json.loads(bytes(octets))
        return State(
            **{
                name: _checked(said, name, kind)
                for name, kind in _ABOUT_RECEIVER.items()
            },
            receiver=_numbers_in(said["receiver"]),
            # Earlier versions had one.
            outputs=tuple(decode_output(line) for line in said.get("outputs", ())),
            senders=[_decode_line(line) for line in said["senders"]],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireError(f"no answer of a receiver: {error}"[:_MESSAGE_MAX]) from error


def _encode_line(line: Line) -> dict[str, Any]:
    about = {name: getattr(line, name) for name in (*_ABOUT_SENDER, *_MAYBE)}
    return {**about, **_encode_tally(line.tally)}


def _encode_tally(tally: Tally) -> dict[str, Any]:
    return {
        **{term: getattr(tally, term) for term in _NUMBERS},
        "dropped": {reason.value: n for reason, n in tally.dropped.items() if n},
        "unaccounted": tally.unaccounted,
    }


def _decode_line(said: Mapping[str, Any]) -> Line:
    tally = Tally(**{term: _checked(said, term, int) for term in _NUMBERS})
    for reason, packets in _numbers_in(said["dropped"]).items():
        tally.dropped[Reason(reason)] = packets
    about = {name: _checked(said, name, kind) for name, kind in _ABOUT_SENDER.items()}
    maybe = {n: _checked(said, n, int) for n in _MAYBE if said.get(n) is not None}
    return Line(**about, **maybe, tally=tally)


def _checked(said: Mapping[str, Any], name: str, kind: type) -> Any:
    value = said[name]
    if type(value) is not kind:
        raise TypeError(f"{name!r} is {value!r}")
    most = _MOMENT_MAX if name.endswith("_ns") else _TERM_MAX
    if isinstance(value, int) and abs(value) > most:
        raise ValueError(f"{name!r} is {value!r}")
    return value


def _numbers_in(said: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): _checked(said, name, int) for name in dict(said)}


# What is not always known, nor by every receiver.
_MAYBE = ("late", "clock_offset_ns", "clock_error_ns", "clock_jumps")
_ABOUT_SENDER: dict[str, type] = {
    "name": str,
    "key": str,
    "address": str,
    "sender": str,
    "started_ns": int,
    "since_ns": int,
    "seen_ns": int,
    "is_here": bool,
    "runs": int,
    "repeated": int,
    "malformed": int,
    "rate": int,
}
_ABOUT_RECEIVER: dict[str, type] = {
    "version": str,
    "address": str,
    "output": str,
    "started_ns": int,
    "now_ns": int,
}
