"""Several stages are one: everything goes through all of them, in order."""

from collections.abc import Iterable, Sequence

from pcap_zmq.packet import Instant
from pcap_zmq.ports import HoldingStage
from pcap_zmq.stages.chain import as_one
from tests.support.records import NOW


class Times:
    """Makes as many of each number as it was told, one of them its own."""

    def __init__(self, copies: int, factor: int = 1) -> None:
        self._copies = copies
        self._factor = factor

    def feed(self, item: int, now: Instant) -> Iterable[int]:
        return [item * self._factor] * self._copies


class Keeper:
    """Holds all that it is fed, and gives one number at a time."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    @property
    def held(self) -> Sequence[int]:
        return tuple(self.kept)

    def feed(self, item: int, now: Instant) -> Iterable[int]:
        self.kept.append(item)
        return []

    def due(self) -> int | None:
        return 7 if self.kept else None

    def flush(self, now: Instant) -> Iterable[int]:
        return [self.kept.pop(0)]

    def drain(self, now: Instant) -> Iterable[int]:
        return [self.kept.pop()]


def test_one_stage_is_itself() -> None:
    stage = Times(2)
    assert as_one([stage]) is stage


def test_each_stage_is_fed_what_the_one_before_it_makes() -> None:
    stage = as_one([Times(2, 10), Times(1, 3), Times(2)])
    assert list(stage.feed(1, NOW)) == [30] * 4
    assert not isinstance(stage, HoldingStage)


def test_what_is_dropped_goes_no_further() -> None:
    assert list(as_one([Times(0), Times(2)]).feed(1, NOW)) == []


def test_a_chain_of_which_one_stage_holds_holds() -> None:
    keeper = Keeper()
    stage = as_one([Times(2, 10), keeper, Times(1, 3), Times(2)])
    assert isinstance(stage, HoldingStage)
    assert stage.due() is None
    assert list(stage.feed(1, NOW)) == []
    assert list(stage.feed(2, NOW)) == []
    assert stage.held == (10, 10, 20, 20)
    assert stage.due() == 7
    assert list(stage.flush(NOW)) == [30, 30]
    assert list(stage.drain(NOW)) == [60, 60]
    assert keeper.kept == [10, 20]


def test_a_stage_that_holds_may_be_the_last() -> None:
    keeper = Keeper()
    stage = as_one([Times(1), keeper])
    assert isinstance(stage, HoldingStage)
    assert list(stage.feed(5, NOW)) == []
    assert list(stage.flush(NOW)) == [5]
