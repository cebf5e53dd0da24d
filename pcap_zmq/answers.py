"""Turns the ledger and a receiver's counters into answers to whoever may ask."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pcap_zmq import __version__
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.excerpt import (
    Excerpt,
    Refusal,
    Wanted,
    decode_wanted,
    encode_excerpt,
)
from pcap_zmq.formats.inquiry import Kind, Question
from pcap_zmq.formats.ledger import Line, State, encode_state
from pcap_zmq.formats.output_line import OutputLine
from pcap_zmq.formats.stream import Identity
from pcap_zmq.packet import Instant
from pcap_zmq.stages.ring import Ring

FRESH_NS = 100 * NS_PER_MS
"""An answer serves everybody who asks within this time."""

REST = 10
"""And within this many times what it took to make: asking shall cost little."""


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> Instant: ...


class Answers:
    """address, output: how the receiver was called. held: packets in it. ledger: its
    lines at an instant. ring: the last packets; None: they are not kept.
    outputs: a line for each, where there are several."""

    def __init__(
        self,
        *,
        address: str,
        output: str,
        counters: ReceiverCounters,
        held: Callable[[], int],
        ledger: Callable[[Instant], Sequence[Line]],
        clock: Clock,
        ring: Ring | None = None,
        outputs: Callable[[], Sequence[OutputLine]] = tuple,
    ) -> None:
        self._address = address
        self._output = output
        self._counters = counters
        self._held = held
        self._ledger = ledger
        self._clock = clock
        self._ring = ring
        self._outputs = outputs
        self._started_ns = clock.now().wall_ns
        self._fresh_until_ns = 0
        self._lines: Sequence[Line] = ()
        self._made: dict[str, bytes] = {}

    def answer(self, question: Question, identity: Identity) -> bytes:
        """What was asked for. A sender with a key sees its own line of the state, and
        no packets, an operator all; without keys there is nobody to tell apart. Raises
        WireError for a question that makes no sense."""
        now = self._clock.now()
        match question.kind:
            case Kind.STATUS:
                return self._status(identity, now)
            case Kind.PACKETS:
                return self._packets(decode_wanted(question.details), identity, now)

    def _packets(self, wanted: Wanted, identity: Identity, now: Instant) -> bytes:
        refusal = None
        if identity.key and not identity.is_operator:
            refusal = Refusal.NOT_YOURS
        elif self._ring is None:
            refusal = Refusal.KEEPS_NOTHING
        if refusal is not None or self._ring is None:
            return encode_excerpt(Excerpt(0, 0, 0, 0, 0, None, True, refusal=refusal))
        return encode_excerpt(self._ring.excerpt(wanted, now))

    def _status(self, identity: Identity, now: Instant) -> bytes:
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
                # Whole commands and paths: for who may see all.
                output="(not shown)" if scope else self._output,
                started_ns=self._started_ns,
                now_ns=now.wall_ns,
                senders=lines,
                receiver={} if scope else self._numbers(),
                outputs=() if scope else self._outputs(),
            )
        )

    def _numbers(self) -> dict[str, int]:
        counters = self._counters
        return {
            "received": counters.received,
            "written": counters.written,
            "held": self._held(),
            "kept": self._ring.kept_packets if self._ring else 0,
            "kept_bytes": self._ring.kept_bytes if self._ring else 0,
            "dropped": counters.dropped.total(),
            "repeated": counters.repeated,
            "readers": counters.readers,
            "replayed": counters.replayed,
            "cut_readers": counters.cut_readers,
            "refused_readers": counters.refused_readers,
            "files": counters.files,
            "removed_files": counters.removed_files,
            "recovered_files": counters.recovered_files,
            "malformed_messages": counters.malformed_messages,
            "unsupported_messages": counters.unsupported_messages,
            "uncalled_messages": counters.uncalled_messages,
            "refused_connections": counters.refused_connections,
            "failed_handshakes": counters.failed_handshakes,
            "cut_off": counters.cut_off,
            "late": counters.late,
            "hurried": counters.hurried,
            "disordered": counters.disordered,
        }
