"""The line of a relay in the ledger of its next hop, when the relay goes and comes."""

import struct

import pytest

from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.ledger import Tally
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.wire import Message, MessageType, Role, StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from tests.support.receipts import stream_of

RELAY = b"r" * 16


def totals(logged: int, acknowledged: int, held: int, spooled: int = 0) -> bytes:
    slots = [0] * 16
    slots[0], slots[5], slots[10], slots[14] = logged, acknowledged, held, spooled
    return struct.pack(">16Q", *slots)


class NextHop:
    """A receiver's link, which hears runs of one relay."""

    def __init__(self) -> None:
        self.counters = ReceiverCounters()
        self.link = ReceiverLink(7, 1 << 20, self.counters)
        self.taken: list[EncodedBatch] = []

    def hears(
        self,
        kind: MessageType,
        said: bytes,
        *,
        run: int = 1,
        sequence: int = 1,
        count: int = 0,
        role: int = Role.RELAY,
    ) -> None:
        message = Message(
            kind,
            StreamId(RELAY, run),
            sequence,
            window=1 << 20,
            count=count,
            codec=role if kind is MessageType.HELLO else 0,
            totals=said,
        )
        batch = self.link.receive(bytes([run]), message, run)
        if batch is not None:
            self.taken.append(batch)
        list(self.link.outgoing(run))

    def writes(self) -> None:
        for batch in self.taken:
            self.counters.count_written(batch.receipt, batch.count)
            self.link.written(batch.receipt, 1)
        self.taken.clear()

    def tally(self) -> Tally:
        held = {stream_of(batch).key: batch.count for batch in self.taken}
        (line,) = self.link.lines(held, Instant(1, 1))
        assert line.tally.unaccounted == 0
        return line.tally


@pytest.fixture
def hop() -> NextHop:
    """It has 30 of the 100 packets that a relay tells of, 10 of them written."""
    hop = NextHop()
    hop.hears(MessageType.HELLO, totals(100, 0, 100))
    hop.hears(MessageType.BATCH, totals(100, 0, 100), count=10)
    hop.writes()
    hop.hears(MessageType.BATCH, totals(100, 0, 100), sequence=2, count=20)
    return hop


def test_what_a_killed_relay_held_is_no_loss_and_comes_with_the_next_run(
    hop: NextHop,
) -> None:
    hop.hears(MessageType.HELLO, totals(70, 0, 70), run=2)
    tally = hop.tally()
    assert not tally.dropped
    assert (tally.logged, tally.delivered) == (100, 10)
    assert (tally.held_by_sender, tally.held_by_receiver) == (70, 20)


def test_what_a_killed_sender_held_is_lost(hop: NextHop) -> None:
    hop.hears(MessageType.HELLO, totals(100, 0, 100), role=Role.SENDER)
    hop.hears(MessageType.HELLO, totals(0, 0, 0), run=2, role=Role.SENDER)
    assert hop.tally().dropped.total() == 70


def test_what_a_relay_holds_when_it_says_goodbye_is_no_loss(hop: NextHop) -> None:
    hop.hears(MessageType.GOODBYE, totals(100, 0, 100, spooled=40), sequence=3)
    tally = hop.tally()
    assert not tally.dropped
    assert tally.logged == 70
    assert tally.held_by_sender == 40
