"""Whose packets of a merged batch arrive, one after the other or all at once."""

from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.counters import Reason
from pcap_zmq.formats.file_part import FileTally
from pcap_zmq.formats.file_parts import FileParts, totals_of, without_first
from tests.support.properties import bounded

RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=9)


class Case:
    """A receipt, and whose each of its packets is."""

    def __init__(self, runs: list[tuple[int, int]]) -> None:
        self.tallies = [FileTally(str(number)) for number in range(4)]
        self.owners = [number for number, packets in runs for _ in range(packets)]
        for number in self.owners:
            self.tallies[number].read += 1
        order = [number for run in runs for number in run]
        self.parts = FileParts(self.tallies, order, totals_of(order, 4))

    def counted(self) -> list[tuple[int, int]]:
        return [
            (tally.written, tally.dropped[Reason.SHUTDOWN]) for tally in self.tallies
        ]

    def expected(self, written: int, dropped: int) -> list[tuple[int, int]]:
        end = written + dropped
        return [
            (self.owners[:written].count(n), self.owners[written:end].count(n))
            for n in range(4)
        ]


def test_what_was_written_turns_out_not_to_be() -> None:
    case = Case([(0, 2), (1, 2), (0, 1)])
    assert case.parts.count_written(4) == 4
    assert case.parts.count_written(-3) == -3
    assert case.counted() == case.expected(1, 0)
    assert not case.tallies[0].is_settled


@given(RUNS, st.data())
@bounded
def test_packets_are_those_of_their_files_in_order(
    runs: list[tuple[int, int]], data: st.DataObject
) -> None:
    case = Case(runs)
    packets = len(case.owners)
    assert case.parts.packets == packets
    written = 0
    for _ in range(data.draw(st.integers(0, 4))):
        step = data.draw(st.integers(-written, packets - written))
        written += step
        assert case.parts.count_written(step) == step
        assert case.counted() == case.expected(written, 0)
    dropped = data.draw(st.integers(0, packets - written))
    assert case.parts.count_dropped(Reason.SHUTDOWN, dropped) == dropped
    assert case.counted() == case.expected(written, dropped)
    case.parts.settle()
    assert all(tally.is_settled for tally in case.tallies)


@given(RUNS, st.integers(0, 50))
@bounded
def test_an_order_goes_without_its_first_packets(
    runs: list[tuple[int, int]], packets: int
) -> None:
    owners = [number for number, count in runs for _ in range(count)]
    left = without_first([number for run in runs for number in run], packets)
    pairs = list(zip(left[::2], left[1::2], strict=True))
    assert [n for n, count in pairs for _ in range(count)] == owners[packets:]
    assert all(count for _, count in pairs)
    assert totals_of(left, 4) == [owners[packets:].count(n) for n in range(4)]
