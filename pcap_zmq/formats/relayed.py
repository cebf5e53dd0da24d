"""What a relay tells its next hop of itself: the sums over its senders, and its own.

Specification: docs/relay.md, docs/wire.md section 4.

Theory of operation. Of all the senders together the ledger says where their packets
are, which takes a while to add up, and every message wants numbers of one moment. So
the sums are taken now and then, and what has come since is reckoned with: a packet that
came is no longer with its sender, or, where none was left there, is one that was logged
since. Both sides of the equation grow by the same number, so it holds at any time.
"""

from collections import Counter
from dataclasses import dataclass, replace

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.ledger import Tally
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.spool_state import Left
from pcap_zmq.formats.stream import Receipt

_SLOT_MAX = (1 << 64) - 1

_OF_THE_PROCESS = frozenset({Reason.SENDER_GONE, Reason.SHUTDOWN})
"""What a relay's queue counts so is no loss: its senders have it, and send it again."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The receipt of a batch on its way to the next hop: whose it is, and how many of
    its packets go on."""

    receipt: Receipt | Runs
    packets: int


class Relayed:
    """received: the counters of the side where the senders are. sent: those of the send
    queue. left: what an earlier run left in the spool."""

    def __init__(
        self, received: ReceiverCounters, sent: SenderCounters, left: Left | None
    ) -> None:
        self.told = SenderCounters()
        """As of the last `tell`."""
        self._received = received
        self._sent = sent
        self._base = _carried_over(sent, left)
        self._sums = Tally()
        self._received_then = 0
        self._dropped_then: Counter[Reason] = Counter()

    def look(self, sums: Tally) -> None:
        """The terms of all senders together, as they are now."""
        self._sums = sums
        # Senders that were forgotten, whose packets went on all the same.
        forgotten = self._received.written - sums.delivered
        sums.logged += forgotten - sums.elsewhere
        self._received_then = self._received.received
        self._dropped_then = self._received.dropped.copy()

    def tell(self, held_here: int) -> int:
        """Brings `told` up to date; returns what is held altogether: by the senders, or
        here, where there are so many packets, in memory and on the disk."""
        base, sums, told, sent = self._base, self._sums, self.told, self._sent
        came = self._received.received - self._received_then
        told.missed = base.missed + sums.missed
        told.missed_tail = sums.missed_tail
        told.acknowledged = sent.acknowledged
        told.reconnects = sent.reconnects
        logged = base.logged + sums.logged + max(0, came - sums.held_by_sender)
        # Batches that died with an earlier run, and that its senders had kept.
        logged -= sent.dropped[Reason.SENDER_GONE]
        dropped = base.dropped + sums.dropped + self._dropped_since()
        # What a sender's predecessor turned out not to have lost is below zero there.
        logged += dropped.total() - base.dropped.total() - sums.dropped.total()
        logged -= self._dropped_since().total()
        told.dropped = Counter()
        for reason, packets in (dropped + self._dropped_by_queue()).items():
            # A header has no place for what only a receiver counts.
            slot = reason if reason in wire.REASONS_TOLD else Reason.DAMAGED
            told.dropped[slot] += packets
        told.received = logged - told.missed - told.missed_tail
        return max(0, sums.held_by_sender - came) + held_here

    def encode(self, held_here: int, spooled: int) -> bytes:
        """The counters of a message. A sender's own may be any numbers."""
        held = self.tell(held_here)
        told = replace(self.told)
        told.missed = _fit(told.missed)
        told.missed_tail = _fit(told.missed_tail)
        told.received = _fit(self.told.logged) - told.missed - told.missed_tail
        told.dropped = Counter({r: _fit(n) for r, n in told.dropped.items()})
        return wire.encode_totals(told, _fit(held), spooled)

    def _dropped_since(self) -> Counter[Reason]:
        return self._received.dropped - self._dropped_then

    def _dropped_by_queue(self) -> Counter[Reason]:
        dropped = self._sent.dropped
        return Counter({r: n for r, n in dropped.items() if r not in _OF_THE_PROCESS})


def _fit(number: int) -> int:
    """As a slot can hold it."""
    return min(max(0, number), _SLOT_MAX)


@dataclass(slots=True)
class _Base:
    """What earlier runs of the same stream have told, but for what they held in memory:
    that comes again."""

    logged: int
    missed: int
    dropped: Counter[Reason]


def _carried_over(sent: SenderCounters, left: Left | None) -> _Base:
    if left is None or left.stream is None:
        return _Base(left.packets if left else 0, 0, Counter())
    was = wire.decode_totals(left.totals)
    sent.acknowledged = was.acknowledged
    missed = was.missed + was.missed_tail
    dropped = Counter(was.dropped)
    logged = was.acknowledged + missed + dropped.total() + left.packets
    return _Base(logged, missed, dropped)
