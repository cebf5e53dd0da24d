"""Mending a batch: what goes on, and that the ledger still counts what was logged."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pcap_ffi import count_records
from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats.runs import Runs
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.stages.mend import Mend
from tests.formats.test_runs import Desk
from tests.pcap_ffi.wire import TCP, Segment
from tests.support.records import NOW, RAW, batch_of

MTU = 576
SEGMENT = MTU - 40


def packet(segments: int, *, finished: bool = False) -> Packet:
    """One that becomes so many; whole where that is one."""
    octets = SEGMENT * segments if segments > 1 else 10
    made = Segment(4, TCP, bytes(octets)).encoded(finished=finished)
    return Packet(0, len(made), made)


def mending(counters: ReceiverCounters | None = None, *, fix: bool = False) -> Mend:
    return Mend(fix=fix, mtu=MTU, counters=counters or ReceiverCounters())


def fed(stage: Mend, batch: Batch) -> Batch:
    (made,) = stage.feed(batch, NOW)
    return made


def test_a_batch_with_nothing_to_mend_goes_on_as_it_is() -> None:
    counters = ReceiverCounters()
    batch = batch_of([packet(1, finished=True)] * 3, object())
    assert fed(mending(counters, fix=True), batch) is batch
    assert counters == ReceiverCounters()


def test_an_empty_batch_goes_on_with_its_receipt() -> None:
    batch = batch_of([], object())
    assert fed(mending(fix=True), batch) is batch


def test_fixing_changes_no_count_and_no_receipt() -> None:
    counters = ReceiverCounters()
    receipt = Desk(1).receipt((0, 2))
    batch = batch_of([packet(1), packet(1)], receipt)
    made = fed(mending(counters, fix=True), batch)
    assert (made.count, made.receipt) == (2, receipt)
    assert counters.fixed == 2
    # Nobody changes a batch that others may hold.
    assert batch.records == batch_of([packet(1), packet(1)]).records


def test_a_split_packet_counts_where_it_is_split() -> None:
    counters = ReceiverCounters()
    made = fed(mending(counters), batch_of([packet(1), packet(4), packet(3)]))
    assert made.count == count_records(made.records) == 8
    assert (counters.segmented_in, counters.segmented_out) == (2, 7)
    assert counters.received == 0


def test_a_sender_goes_on_as_if_the_segments_had_been_logged() -> None:
    counters = SenderCounters(received=3)
    stage = Mend(fix=False, mtu=MTU, counters=counters)
    made = fed(stage, batch_of([packet(1), packet(4), packet(3)]))
    assert counters.received == counters.logged == made.count == 8


def test_what_cannot_be_split_is_counted() -> None:
    counters = ReceiverCounters()
    corrupt = packet(4, finished=True)
    corrupt = replace(corrupt, data=corrupt.data[:-1] + b"\1")
    batch = batch_of([corrupt])
    assert fed(mending(counters), batch) is batch
    assert counters.unsegmented == 1


def test_a_packet_is_written_with_its_last_segment() -> None:
    desk = Desk(1)
    counters = ReceiverCounters()
    made = fed(mending(), batch_of([packet(1), packet(4)], desk.receipt((0, 2))))
    counters.count_written(made.receipt, 4)
    assert (desk.written, counters.written) == ([1], 1)
    counters.count_written(made.receipt, 1)
    assert (desk.written, counters.written) == ([2], 2)
    # A reader died with two of the four unread.
    counters.count_written(made.receipt, -2)
    assert (desk.written, counters.written) == ([1], 1)
    assert [n for _, n in made.receipt.left(2)] == [1]


def test_a_packet_is_dropped_with_its_last_segment() -> None:
    desk = Desk(1)
    counters = ReceiverCounters()
    made = fed(mending(), batch_of([packet(4), packet(1)], desk.receipt((0, 2))))
    counters.count_written(made.receipt, 3)
    counters.count_dropped(made.receipt, Reason.NO_READER, 2)
    assert (desk.written, counters.written) == ([0], 0)
    assert counters.dropped == desk.streams[0].dropped == {Reason.NO_READER: 2}


@given(
    st.lists(
        st.lists(st.sampled_from((1, 1, 1, 2, 5)), max_size=5), min_size=1, max_size=4
    ),
    st.data(),
)
def test_written_and_left_are_what_was_logged_at_every_moment(
    shares: list[list[int]], data: st.DataObject
) -> None:
    """However many streams a batch is of, and however a reader comes and goes."""
    desk = Desk(len(shares))
    receipt = desk.receipt(*((who, len(share)) for who, share in enumerate(shares)))
    made_of = [segments for share in shares for segments in share]
    batch = batch_of([packet(segments) for segments in made_of], receipt)
    made = fed(mending(), batch)
    counters = ReceiverCounters()
    assert made.count == sum(made_of)
    place = 0
    for to in data.draw(st.lists(st.integers(0, made.count), max_size=6)):
        counters.count_written(made.receipt, to - place)
        place = to
        ends = [sum(made_of[: n + 1]) for n in range(len(made_of))]
        assert counters.written == sum(desk.written) == sum(end <= to for end in ends)
        left = sum(n for _, n in made.receipt.left(made.count - to))
        assert counters.written + left == len(made_of)
    counters.count_written(made.receipt, made.count - place)
    assert desk.written == [len(share) for share in shares]


def test_a_batch_is_settled_once_all_that_became_of_it_has_arrived() -> None:
    """Its flows may go different ways."""
    desk = Desk(1)
    made = fed(
        mending(), batch_of([packet(3), packet(1), packet(2)], desk.receipt((0, 3)))
    )
    runs = list(made.receipt.runs())
    assert [n for _, n in runs] == [3, 1, 2]
    ways = [Runs.of([runs[0], runs[1]]), Runs.of([runs[2]])]
    ways[1].count_written(2)
    assert desk.arrive(ways[1]) == 0
    assert desk.written == [1]
    ways[0].count_written(4)
    assert desk.arrive(ways[0]) == 1
    assert desk.written == [3]


def test_a_batch_that_is_split_is_settled_as_one() -> None:
    desk = Desk(2)
    receipt = desk.receipt((0, 1), (1, 2))
    made = fed(mending(), batch_of([packet(3), packet(1), packet(2)], receipt))
    assert desk.arrive(made.receipt) == 1
    assert desk.acknowledged == [1, 1]


def test_mending_a_part_of_a_batch_keeps_whose_it_is() -> None:
    desk = Desk(2)
    receipt = desk.receipt((0, 2), (1, 2))
    first, second = receipt.parts()
    part = Runs.of([(second, 1), (first, 2)])
    batch = Batch(RAW, batch_of([packet(4), packet(1), packet(3)]).records, 3, part)
    made = fed(mending(), batch)
    made.receipt.count_written(5)
    assert desk.written == [1, 1]
