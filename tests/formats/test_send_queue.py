"""What a sender holds, in memory and on a disk, and in which order it comes out."""

from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.send_queue import SendQueue
from pcap_zmq.formats.spool_state import SENT_ENTRIES, Left
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import EncodedBatch
from tests.support.list_spool import ListSpool

STREAM = StreamId(b"s" * 16, 1)
COST = wire.cost_of(100)


class Case:
    """A queue for three batches, and its spool."""

    def __init__(self, left: Left | None = None, batches: int = 0) -> None:
        self.spool = ListSpool(left)
        self.counters = SenderCounters()
        self._given = 0
        for _ in range(batches):
            assert self.spool.append(self._next(), is_taken=False) is not None
        self.queue = SendQueue(3 * COST, self.counters, self.spool)

    def _next(self) -> EncodedBatch:
        self._given += 1
        return EncodedBatch(101, self._given, 0, 100, bytes(100))

    def offer(self, times: int = 1) -> int:
        """How many of so many batches are taken; the n-th has n packets."""
        return sum(self.queue.offer(self._next()) for _ in range(times))

    def acknowledge(self, written: int) -> list[int]:
        return [held.sequence for held in self.queue.acknowledge(written)]

    def send_all(self) -> list[int]:
        """The packet counts of what can be sent now, in order."""
        counts: list[int] = []
        sequence = self.queue.first
        while self.queue.may_send(sequence):
            counts.append(self.queue.send(sequence).batch.count)
            sequence += 1
        return counts

    def check(self) -> None:
        """Every packet that was given is somewhere."""
        given = self._given * (self._given + 1) // 2
        assert given == (
            self.counters.acknowledged
            + self.queue.held_packets
            + sum(self.counters.dropped.values())
        )


def test_what_memory_has_room_for_stays_off_the_disk() -> None:
    case = Case()
    assert case.offer(3) == 3
    assert case.spool.records == []
    assert case.queue.is_at_risk


def test_beyond_that_all_of_it_goes_to_the_disk_in_order() -> None:
    case = Case()
    assert case.offer(5) == 5
    assert [batch.count for batch in case.spool.records] == [1, 2, 3, 4, 5]
    assert case.spool.unread_packets == 4 + 5
    assert case.queue.shelved_packets == case.queue.held_packets == 15
    assert not case.queue.is_at_risk


def test_what_is_on_the_disk_comes_back_in_order_and_gets_its_numbers_then() -> None:
    case = Case()
    case.offer(5)
    assert case.queue.last == 3
    assert case.send_all() == [1, 2, 3]
    assert case.acknowledge(2) == [1, 2]
    assert case.send_all() == [3, 4, 5]
    assert case.queue.last == 5
    assert case.acknowledge(5) == [3, 4, 5]
    assert case.queue.is_empty
    case.check()


def test_new_batches_wait_behind_those_on_the_disk() -> None:
    case = Case()
    case.offer(5)
    case.send_all()
    case.acknowledge(3)
    # Memory is empty, and still.
    case.offer()
    assert case.send_all() == [4, 5, 6]


def test_once_all_has_come_back_memory_alone_does() -> None:
    case = Case()
    case.offer(4)
    case.send_all()
    case.acknowledge(3)
    case.send_all()
    case.offer()
    assert len(case.spool.records) == 4
    assert case.queue.is_at_risk


def test_what_came_later_is_written_behind_what_the_disk_has() -> None:
    case = Case()
    case.offer(4)
    case.send_all()
    case.acknowledge(3)
    case.send_all()
    case.offer(4)
    assert [batch.count for batch in case.spool.records] == list(range(1, 9))


def test_while_nobody_answers_batches_go_to_the_disk_at_once() -> None:
    case = Case()
    case.queue.is_shelving = True
    case.offer(2)
    assert len(case.spool.records) == 2
    # They are in memory as well, so nothing has to be read again.
    assert not case.spool.has_unread


def test_a_disk_that_takes_no_more_leaves_memory_to_hold_what_it_can() -> None:
    case = Case()
    case.queue.is_shelving = case.spool.is_full = True
    assert case.offer(5) == 3
    assert not case.queue.shelve()
    case.spool.is_full = False
    assert case.queue.shelve()
    assert [batch.count for batch in case.spool.records] == [1, 2, 3]


def test_a_disk_that_takes_no_more_lets_nothing_pass_what_it_holds() -> None:
    case = Case()
    case.offer(5)
    case.spool.is_full = True
    case.send_all()
    case.acknowledge(3)
    assert case.offer() == 0


def test_memory_is_bounded_whatever_is_on_the_disk() -> None:
    case = Case()
    case.offer(50)
    case.send_all()
    assert case.queue.held_bytes <= 3 * COST
    assert not case.queue.load()


def test_the_end_leaves_on_the_disk_what_was_in_memory() -> None:
    case = Case()
    case.offer(3)
    assert case.queue.abandon() == 0
    assert case.queue.held_packets == case.queue.shelved_packets == 6
    assert len(case.spool.records) == 3
    case.check()


def test_the_end_with_a_full_disk_drops_what_is_in_memory_only() -> None:
    case = Case()
    case.offer(4)
    case.send_all()
    case.acknowledge(3)
    case.send_all()
    case.offer(2)
    case.spool.is_full = True
    assert case.queue.abandon() == 5 + 6
    assert case.counters.dropped[Reason.SHUTDOWN] == 11
    assert case.queue.held_packets == 4
    case.check()


def test_a_damaged_record_keeps_its_number_and_loses_its_packets() -> None:
    case = Case()
    case.offer(5)
    case.spool.damaged = {3}
    case.send_all()
    case.acknowledge(3)
    assert case.send_all() == [0, 5]
    assert case.queue.held_packets == 9
    case.check()
    case.acknowledge(5)
    assert case.counters.dropped == {Reason.DAMAGED: 4}
    assert case.counters.acknowledged == 11
    case.check()


def test_a_damaged_record_that_the_receiver_has_is_none_lost() -> None:
    case = Case(Left(STREAM, 1, 2, 3, wire.NO_TOTALS), batches=2)
    case.spool.damaged = {0}
    case.queue.reach(2)
    case.acknowledge(2)
    assert case.counters.acknowledged == 3
    assert case.counters.dropped.total() == 0


def test_one_that_was_given_up_by_an_earlier_run_stays_so() -> None:
    case = Case(Left(STREAM, 1, 2, 3, wire.NO_TOTALS), batches=2)
    case.spool.damaged = {0}
    case.spool.sent = {1: 0, 2: 2}
    case.acknowledge(2)
    assert case.counters.acknowledged == 2
    assert case.counters.dropped == {Reason.DAMAGED: 1}


def test_an_earlier_run_is_gone_on_with_from_its_first_number() -> None:
    case = Case(Left(STREAM, 7, 8, 6, wire.NO_TOTALS), batches=3)
    assert (case.queue.first, case.queue.last, case.queue.sent) == (7, 6, 8)
    assert case.queue.has_more(7)
    assert case.send_all() == [1, 2, 3]
    assert case.queue.last == 9


def test_what_is_acknowledged_need_not_be_in_memory() -> None:
    case = Case(Left(STREAM, 7, 9, 6, wire.NO_TOTALS), batches=3)
    assert case.acknowledge(8) == [7, 8]
    assert case.queue.first == 9


def test_what_is_acknowledged_and_nowhere_to_be_found_is_passed_over() -> None:
    case = Case(Left(STREAM, 7, 9, 0, wire.NO_TOTALS))
    assert case.acknowledge(9) == []


def test_the_place_of_the_first_in_memory_is_what_is_saved() -> None:
    case = Case()
    case.offer(5)
    case.send_all()
    case.acknowledge(2)
    case.queue.save(STREAM, lambda: wire.NO_TOTALS)
    assert case.spool.saved[-1] == (STREAM, 3, 3)
    assert case.spool.freed == 2
    case.acknowledge(3)
    case.queue.save(STREAM, lambda: wire.NO_TOTALS)
    assert case.spool.freed == 3


def test_only_so_many_are_under_way_as_can_be_remembered() -> None:
    case = Case()
    case.offer(1)
    assert case.queue.may_send(1)
    assert not case.queue.may_send(1 + SENT_ENTRIES)


def test_without_a_spool_nothing_is_written_and_the_end_drops_all() -> None:
    counters = SenderCounters()
    queue = SendQueue(3 * COST, counters)
    for _ in range(3):
        assert queue.offer(EncodedBatch(101, 2, 0, 100, bytes(100)))
    assert not queue.offer(EncodedBatch(101, 2, 0, 100, bytes(100)))
    assert not queue.shelve()
    assert not queue.load()
    queue.save(STREAM, lambda: wire.NO_TOTALS)
    assert queue.abandon() == 6
    assert (queue.held_bytes, queue.held_packets, queue.shelved_packets) == (0, 0, 0)
    assert counters.dropped[Reason.SHUTDOWN] == 6
