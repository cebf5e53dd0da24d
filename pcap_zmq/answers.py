"""Turns the ledger and a receiver's counters into answers to whoever may ask."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pcap_zmq import __version__
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.inquiry import Question
from pcap_zmq.formats.ledger import Line, State, encode_state
from pcap_zmq.formats.stream import Identity
from pcap_zmq.packet import Instant

FRESH_NS = 100 * NS_PER_MS
"""An answer serves everybody who asks within this time."""

REST = 10
"""And within this many times what it took to make: asking shall cost little."""


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> Instant: ...


class Answers:
    """address, output: how the receiver was called. held: packets in it. ledger: its
    lines at an instant."""

    def __init__(
        self,
        *,
        address: str,
        output: str,
        counters: ReceiverCounters,
        held: Callable[[], int],
        ledger: Callable[[Instant], Sequence[Line]],
        clock: Clock,
    ) -> None:
        self._address = address
        self._output = output
        self._counters = counters
        self._held = held
        self._ledger = ledger
        self._clock = clock
        self._started_ns = clock.now().wall_ns
        self._fresh_until_ns = 0
        self._lines: Sequence[Line] = ()
        self._made: dict[str, bytes] = {}

    def answer(self, question: Question, identity: Identity) -> bytes:
        """The state of the receiver. A sender with a key sees its own line, an operator
        all; without keys there is nobody to tell apart."""
        now = self._clock.now()
        if now.mono_ns >= self._fresh_until_ns:
            self._made.clear()
            self._lines = self._ledger(now)
            took_ns = self._clock.now().mono_ns - now.mono_ns
            self._fresh_until_ns = now.mono_ns + max(FRESH_NS, REST * took_ns)
        scope = identity.name if identity.key and not identity.is_operator else ""
        if scope not in self._made:
            self._made[scope] = self._state(scope, now)
        return self._made[scope]

    def _state(self, scope: str, now: Instant) -> bytes:
        lines = self._lines
        if scope:
            lines = [line for line in lines if line.key and line.name == scope]
        return encode_state(
            State(
                version=__version__,
                address=self._address,
                output=self._output,
                started_ns=self._started_ns,
                now_ns=now.wall_ns,
                senders=lines,
                receiver={} if scope else self._numbers(),
            )
        )

    def _numbers(self) -> dict[str, int]:
        counters = self._counters
        return {
            "received": counters.received,
            "written": counters.written,
            "held": self._held(),
            "dropped": counters.dropped.total(),
            "repeated": counters.repeated,
            "readers": counters.readers,
            "replayed": counters.replayed,
            "malformed_messages": counters.malformed_messages,
            "unsupported_messages": counters.unsupported_messages,
            "uncalled_messages": counters.uncalled_messages,
            "refused_connections": counters.refused_connections,
            "failed_handshakes": counters.failed_handshakes,
            "cut_off": counters.cut_off,
        }
