"""What the receiver's ledger says of each sender, in good and in bad times."""

import struct
from collections import Counter

import pytest

from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.stream import ANYBODY, Identity
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from pcap_zmq.packet import EncodedBatch, Instant
from tests.support.receipts import stream_of

SENDER = b"s" * 16
FIRST = StreamId(SENDER, 1)
SECOND = StreamId(SENDER, 2)
SECOND_NS = 1_000_000_000


def totals(
    logged: int = 0,
    acknowledged: int = 0,
    held: int = 0,
    *,
    missed: int = 0,
    shutdown: int = 0,
    gone: int = 0,
    spooled: int = 0,
) -> bytes:
    slots = [0] * 16
    slots[0], slots[1], slots[5], slots[9] = logged, missed, acknowledged, shutdown
    slots[10], slots[12], slots[14] = held, gone, spooled
    return struct.pack(">16Q", *slots)


class Desk:
    """A receiver's link and what it holds."""

    def __init__(self) -> None:
        self.now_ns = SECOND_NS
        self.counters = ReceiverCounters()
        self.link = ReceiverLink(7, 1_000_000, self.counters)
        self.waiting: list[EncodedBatch] = []

    def hears(
        self,
        kind: MessageType,
        sequence: int,
        said: bytes,
        *,
        stream: StreamId = FIRST,
        count: int = 0,
        identity: Identity = ANYBODY,
        peer: bytes | None = None,
    ) -> None:
        message = Message(
            kind, stream, sequence, window=1 << 20, count=count, totals=said
        )
        if peer is None:
            peer = stream.started_ns.to_bytes(8)
        batch = self.link.receive(peer, message, self.now_ns, identity)
        if batch is not None:
            self.waiting.append(batch)
        list(self.link.outgoing(self.now_ns))

    def hello(self, sequence: int = 1, said: bytes = totals(), **more: object) -> None:
        self.hears(MessageType.HELLO, sequence, said, **more)  # type: ignore[arg-type]

    def batch(self, sequence: int, count: int, said: bytes, **more: object) -> None:
        self.hears(MessageType.BATCH, sequence, said, count=count, **more)  # type: ignore[arg-type]

    def writes(self) -> None:
        batch = self.waiting.pop(0)
        self.counters.count_written(batch.receipt, batch.count)
        self.link.written(batch.receipt, self.now_ns)

    def drops(self) -> None:
        batch = self.waiting.pop(0)
        self.counters.count_dropped(batch.receipt, Reason.MALFORMED, batch.count)
        self.link.written(batch.receipt, self.now_ns)

    def lines(self) -> list[Line]:
        held: Counter[StreamId] = Counter()
        for batch in self.waiting:
            held[stream_of(batch).key] += batch.count
        return self.link.lines(held, Instant(self.now_ns, self.now_ns + 500))

    def line(self) -> Line:
        (line,) = self.lines()
        return line


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_nobody_has_a_line_before_a_hello(desk: Desk) -> None:
    desk.batch(1, 10, totals(10, held=10))
    assert desk.lines() == []


def test_what_is_under_way_is_held_by_the_sender(desk: Desk) -> None:
    desk.hello(said=totals(30, held=30))
    tally = desk.line().tally
    assert (tally.held_by_sender, tally.unaccounted) == (30, 0)


def test_what_was_taken_is_held_once_and_here(desk: Desk) -> None:
    desk.hello(said=totals(30, held=30))
    desk.batch(1, 10, totals(30, held=30))
    tally = desk.line().tally
    assert (tally.held_by_sender, tally.held_by_receiver) == (20, 10)
    assert tally.unaccounted == 0


def test_what_was_written_is_delivered_before_the_sender_knows(desk: Desk) -> None:
    desk.hello(said=totals(30, held=30))
    desk.batch(1, 10, totals(30, held=30))
    desk.writes()
    tally = desk.line().tally
    assert (tally.delivered, tally.held_by_sender) == (10, 20)
    assert tally.unaccounted == 0
    desk.hears(MessageType.HEARTBEAT, 2, totals(30, 10, 20))
    assert desk.line().tally == tally


def test_what_was_dropped_at_either_end_has_its_reason(desk: Desk) -> None:
    desk.hello(said=totals(34, held=30, shutdown=3, missed=1))
    desk.batch(1, 30, totals(34, held=30, shutdown=3, missed=1))
    desk.drops()
    tally = desk.line().tally
    assert tally.dropped == {Reason.SHUTDOWN: 3, Reason.MALFORMED: 30}
    assert (tally.missed, tally.unaccounted) == (1, 0)


def test_a_sender_that_lost_packets_itself_is_found_out(desk: Desk) -> None:
    desk.hello(said=totals(30, held=29))
    assert desk.line().tally.unaccounted == 1


def test_a_sender_that_believes_more_delivered_than_was_is_found_out(
    desk: Desk,
) -> None:
    desk.hello(said=totals(30, held=30))
    desk.batch(1, 10, totals(30, held=30))
    desk.hears(MessageType.HEARTBEAT, 2, totals(30, 10, 20))
    assert desk.line().tally.unaccounted == 10
    desk.writes()
    desk.hears(MessageType.HEARTBEAT, 2, totals(30, 11, 19))
    assert desk.line().tally.unaccounted == 1


def test_a_batch_that_got_lost_in_the_receiver_is_found_out(desk: Desk) -> None:
    desk.hello(said=totals(10, held=10))
    desk.batch(1, 10, totals(10, held=10))
    desk.waiting.clear()
    assert desk.line().tally.unaccounted == 10


def test_a_receiver_that_counts_twice_is_found_out(desk: Desk) -> None:
    desk.hello(said=totals(10, held=10))
    desk.batch(1, 10, totals(10, held=10))
    desk.counters.count_written(desk.waiting[0].receipt, 10)
    desk.writes()
    assert desk.line().tally.unaccounted == -10


def test_a_new_receiver_vouches_from_when_it_hears_of_the_sender(desk: Desk) -> None:
    desk.hello(sequence=6, said=totals(100, 90, 10))
    desk.batch(6, 10, totals(100, 90, 10))
    desk.writes()
    line = desk.line()
    assert (line.tally.elsewhere, line.tally.delivered) == (90, 10)
    assert line.tally.unaccounted == 0
    assert line.since_ns == desk.now_ns + 500


def test_what_another_receiver_has_taken_meanwhile_is_elsewhere(desk: Desk) -> None:
    desk.hello(said=totals(10, held=10))
    desk.batch(1, 10, totals(10, held=10))
    desk.writes()
    desk.hello(sequence=5, said=totals(60, 40, 20))
    line = desk.line()
    assert (line.tally.delivered, line.tally.elsewhere) == (10, 30)
    assert (line.tally.held_by_sender, line.tally.unaccounted) == (20, 0)


def test_what_a_sender_held_at_its_goodbye_it_has_given_up(desk: Desk) -> None:
    desk.hello(said=totals(30, held=30))
    desk.batch(1, 10, totals(30, held=30))
    desk.hears(MessageType.GOODBYE, 1, totals(30, held=30, spooled=5))
    tally = desk.line().tally
    assert tally.dropped == {Reason.SHUTDOWN: 15}
    assert (tally.held_by_sender, tally.held_by_receiver) == (5, 10)
    assert tally.unaccounted == 0


def test_what_a_sender_held_when_it_died_has_died_with_it(desk: Desk) -> None:
    desk.hello(said=totals(30, held=30))
    desk.batch(1, 10, totals(30, held=30))
    desk.hello(stream=SECOND, said=totals(4, held=4))
    line = desk.line()
    assert line.tally.dropped == {Reason.SENDER_GONE: 20}
    assert (line.tally.held_by_receiver, line.tally.held_by_sender) == (10, 4)
    assert (line.tally.unaccounted, line.runs) == (0, 2)


def test_the_runs_of_a_sender_are_added_up_and_forgotten(desk: Desk) -> None:
    for started in range(1, 20):
        run = StreamId(SENDER, started)
        desk.hello(said=totals(10, held=10), stream=run, peer=b"one")
        desk.batch(1, 10, totals(10, held=10), stream=run, peer=b"one")
        desk.writes()
        desk.now_ns += 2 * SECOND_NS
        list(desk.link.outgoing(desk.now_ns))
    line = desk.line()
    assert (line.tally.logged, line.tally.delivered, line.runs) == (190, 190, 19)
    assert line.tally.unaccounted == 0
    assert len(desk.link.streams) == 1


def test_a_run_of_which_packets_are_still_here_is_not_forgotten(desk: Desk) -> None:
    desk.hello(said=totals(10, held=10), peer=b"one")
    desk.batch(1, 10, totals(10, held=10), peer=b"one")
    desk.hello(stream=SECOND, said=totals(), peer=b"one")
    desk.now_ns += 2 * SECOND_NS
    list(desk.link.outgoing(desk.now_ns))
    assert len(desk.link.streams) == 2
    assert desk.line().tally.held_by_receiver == 10
    desk.writes()
    desk.now_ns += 2 * SECOND_NS
    list(desk.link.outgoing(desk.now_ns))
    assert len(desk.link.streams) == 1
    assert desk.line().tally.delivered == 10


def test_a_run_that_goes_on_from_a_spool_knows_not_what_was_delivered(
    desk: Desk,
) -> None:
    """Batches 1 to 3 were in memory when the process died, and batch 4 on its disk. Two
    of them had been written here, and it had heard of none."""
    desk.hello(said=totals(40, held=40, spooled=10))
    desk.batch(1, 10, totals(40, held=40, spooled=10))
    desk.batch(2, 10, totals(40, held=40, spooled=10))
    desk.writes()
    desk.writes()
    desk.hello(sequence=4, said=totals(40, held=10, gone=30, spooled=10))
    line = desk.line()
    assert line.tally.dropped == {Reason.SENDER_GONE: 10}
    assert (line.tally.delivered, line.tally.held_by_sender) == (20, 10)
    assert (line.tally.unaccounted, line.runs) == (0, 1)
    desk.batch(4, 10, totals(40, held=10, gone=30, spooled=10))
    desk.writes()
    assert desk.line().tally.delivered == 30
    assert desk.line().tally.unaccounted == 0


def test_repetitions_are_no_packets_of_their_own(desk: Desk) -> None:
    desk.hello(said=totals(10, held=10))
    desk.batch(1, 10, totals(10, held=10))
    desk.batch(1, 10, totals(10, held=10))
    line = desk.line()
    assert (line.repeated, line.tally.held_by_receiver) == (10, 10)
    assert line.tally.unaccounted == 0


def test_a_key_names_its_sender_whatever_it_calls_itself(desk: Desk) -> None:
    identity = Identity(name="gw1", key="k", address="192.0.2.1")
    desk.hello(said=totals(1, held=1), identity=identity)
    line = desk.line()
    assert (line.name, line.key, line.address) == ("gw1", "k", "192.0.2.1")


def test_nobody_can_speak_as_another(desk: Desk) -> None:
    """Neither before the other has come nor after, with the very same ids."""
    mine, yours = Identity(name="mine", key="a"), Identity(name="yours", key="b")
    desk.hello(said=totals(10, held=10), identity=yours, peer=b"yours")
    desk.hello(sequence=9, said=totals(99, held=99), identity=mine, peer=b"mine")
    desk.batch(9, 99, totals(99, held=99), identity=mine, peer=b"mine")
    desk.batch(1, 10, totals(10, held=10), identity=yours, peer=b"yours")
    lines = {line.name: line.tally for line in desk.lines()}
    assert lines["yours"].held_by_receiver == lines["yours"].logged == 10
    assert lines["mine"].held_by_receiver == lines["mine"].logged == 99


def test_a_rate_is_measured_over_a_second_or_more(desk: Desk) -> None:
    desk.hello(said=totals(0))
    desk.now_ns += 2 * SECOND_NS
    desk.hears(MessageType.HEARTBEAT, 1, totals(3000, held=3000))
    assert desk.line().rate == 1500


def test_what_is_malformed_is_counted_for_the_sender_on_that_connection(
    desk: Desk,
) -> None:
    desk.hello(peer=b"one")
    desk.link.blame(b"one")
    desk.link.blame(b"another")
    assert desk.line().malformed == 1


def test_of_two_that_use_one_id_neither_is_given_up(desk: Desk) -> None:
    desk.hello(said=totals(10, held=10), peer=b"one")
    desk.hello(said=totals(5, held=5), stream=SECOND, peer=b"two")
    assert desk.line().tally.dropped == {Reason.SENDER_GONE: 10}
    desk.batch(1, 10, totals(10, held=10), peer=b"one")
    tally = desk.line().tally
    assert (tally.held_by_receiver, tally.held_by_sender) == (10, 5)
    assert (tally.dropped.total(), tally.unaccounted) == (0, 0)
