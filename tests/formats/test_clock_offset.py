"""How far a sender's clock is from ours: what is said of it, and what that bounds."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.clock_offset import (
    CLOCK_NS,
    EXCHANGES,
    QUICK_EXCHANGES,
    QUICK_NS,
    WRONG_NS,
    ClockOffset,
    SenderClock,
    describe_offset,
    is_wrong,
)
from pcap_zmq.formats.wire import Clocks
from pcap_zmq.packet import Instant
from tests.support.properties import bounded, thorough

MS = 1_000_000
SECOND = 1_000 * MS
HOUR = 3_600 * SECOND
WALL_NS = 1_700_000_000 * SECOND


@dataclass
class Pair:
    """A sender and a receiver, whose clocks the test sets; and ways between them."""

    offset_ns: int = 0
    now_ns: int = 50 * SECOND
    told: SenderClock = field(default_factory=SenderClock)
    clock: ClockOffset = field(default_factory=ClockOffset)

    def receiver_now(self) -> Instant:
        return Instant(self.now_ns, WALL_NS + self.now_ns)

    def sender_now(self) -> Instant:
        # Its monotonic clock began at another time.
        wall_ns = WALL_NS + self.now_ns + self.offset_ns
        return Instant(self.now_ns + 7 * HOUR, wall_ns)

    def exchange(self, there_ns: int, back_ns: int, waited_ns: int = SECOND) -> None:
        """The receiver's moment goes there, is waited with, and a heartbeat back."""
        self.clock.said(self.now_ns)
        said_ns = self.now_ns
        self.now_ns += there_ns
        self.told.hear(said_ns, self.sender_now())
        self.now_ns += waited_ns
        clocks = self.told.tell(self.sender_now())
        self.now_ns += back_ns
        self.clock.compare(clocks, self.now_ns)

    def found(self) -> tuple[int, int]:
        """The offset and its error."""
        offset_ns = self.clock.offset_ns(self.receiver_now())
        error_ns = self.clock.error_ns(self.receiver_now())
        assert offset_ns is not None
        assert error_ns is not None
        return offset_ns, error_ns


def test_nothing_is_known_before_an_exchange() -> None:
    pair = Pair()
    assert pair.clock.epoch_ns is None
    assert pair.clock.offset_ns(pair.receiver_now()) is None
    assert pair.clock.error_ns(pair.receiver_now()) is None
    assert not pair.clock.turns_wrong(pair.receiver_now())


def test_a_first_heartbeat_echoes_nothing_and_tells_nothing() -> None:
    pair = Pair()
    pair.clock.compare(pair.told.tell(pair.sender_now()), pair.now_ns)
    assert pair.clock.epoch_ns is None


@pytest.mark.parametrize("echo_ns", [1, 49 * SECOND, 1 << 63])
def test_an_echo_of_what_was_not_said_tells_nothing(echo_ns: int) -> None:
    pair = Pair()
    pair.clock.said(48 * SECOND)
    pair.clock.compare(Clocks(WALL_NS, echo_ns, 0), pair.now_ns)
    assert pair.clock.epoch_ns is None


def test_a_sender_that_waited_longer_than_there_was_time_tells_nothing() -> None:
    pair = Pair()
    pair.clock.said(pair.now_ns)
    pair.clock.compare(Clocks(WALL_NS, pair.now_ns, 2 * SECOND), pair.now_ns + SECOND)
    assert pair.clock.epoch_ns is None


@given(
    st.integers(-30_000 * HOUR, 30_000 * HOUR),
    st.lists(
        st.tuples(
            st.integers(0, 400 * MS),
            st.integers(0, 400 * MS),
            st.integers(0, 4 * SECOND),
        ),
        min_size=1,
        max_size=20,
    ),
)
@thorough
def test_the_offset_lies_within_its_error_however_unequal_the_ways_are(
    offset_ns: int, ways: list[tuple[int, int, int]]
) -> None:
    pair = Pair(offset_ns)
    for there_ns, back_ns, waited_ns in ways:
        pair.exchange(there_ns, back_ns, waited_ns)
        found_ns, error_ns = pair.found()
        assert abs(found_ns - offset_ns) <= error_ns
    assert pair.clock.jumps == 0


def test_one_quick_exchange_makes_up_for_many_slow_ones() -> None:
    pair = Pair(offset_ns=-3 * SECOND)
    for number in range(EXCHANGES - 1):
        pair.exchange((100 + 37 * number % 200) * MS, 10 * MS)
    pair.exchange(MS // 10, MS // 10)
    found_ns, error_ns = pair.found()
    assert error_ns < MS
    assert abs(found_ns + 3 * SECOND) < MS


def test_the_error_grows_while_nothing_is_heard() -> None:
    pair = Pair()
    pair.exchange(MS, MS)
    _, error_ns = pair.found()
    pair.now_ns += HOUR
    assert pair.found()[1] > error_ns + SECOND


@pytest.mark.parametrize("step_ns", [HOUR, -HOUR, 100 * MS, -100 * MS])
def test_a_clock_that_is_set_is_known_by_the_next_exchange(step_ns: int) -> None:
    pair = Pair()
    for _ in range(EXCHANGES):
        pair.exchange(2 * MS, MS)
    pair.offset_ns += step_ns
    pair.exchange(2 * MS, MS)
    found_ns, error_ns = pair.found()
    assert abs(found_ns - step_ns) <= error_ns < 10 * MS
    assert pair.clock.jumps == 1


def test_a_clock_that_is_set_while_a_moment_is_waited_with_is_known_as_well() -> None:
    pair = Pair()
    pair.exchange(MS, MS)
    pair.clock.said(pair.now_ns)
    pair.told.hear(pair.now_ns, pair.sender_now())
    pair.now_ns += SECOND
    pair.offset_ns = 60 * SECOND
    pair.clock.compare(pair.told.tell(pair.sender_now()), pair.now_ns)
    assert abs(pair.found()[0] - 60 * SECOND) < 10 * MS


@given(st.floats(-400, 400))
@bounded
def test_a_clock_that_drifts_as_fast_as_ntp_slews_one_has_not_jumped(
    drift_ppm: float,
) -> None:
    pair = Pair()
    for _ in range(40):
        start_ns = pair.now_ns
        pair.exchange(MS // 5, MS // 5, 4 * SECOND)
        pair.offset_ns += int((pair.now_ns - start_ns) * drift_ppm / 1e6)
    assert pair.clock.jumps == 0
    found_ns, error_ns = pair.found()
    assert abs(found_ns - pair.offset_ns) <= error_ns + 4 * MS


def test_our_own_clock_may_be_set_and_moves_no_epoch() -> None:
    pair = Pair(offset_ns=SECOND)
    pair.exchange(MS, MS)
    epoch_ns = pair.clock.epoch_ns
    ahead = Instant(pair.now_ns, WALL_NS + pair.now_ns + HOUR)
    offset_ns = pair.clock.offset_ns(ahead)
    assert offset_ns is not None
    assert abs(offset_ns - (SECOND - HOUR)) < 10 * MS
    pair.exchange(MS, MS)
    assert epoch_ns is not None
    assert pair.clock.epoch_ns is not None
    assert abs(pair.clock.epoch_ns - epoch_ns) < 10 * MS


def test_a_wrong_clock_is_told_once_and_again_when_it_was_right_between() -> None:
    pair = Pair()
    told = []
    for offset_ns in (0, HOUR, HOUR, 0, -HOUR):
        pair.offset_ns = offset_ns
        pair.exchange(MS, MS)
        told.append(pair.clock.turns_wrong(pair.receiver_now()))
    assert told == [False, True, False, False, True]


def test_a_clock_is_not_called_wrong_for_what_is_not_known() -> None:
    assert not is_wrong(WRONG_NS + SECOND, 2 * SECOND)
    assert is_wrong(-2 * SECOND, MS)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
@bounded
def test_whatever_a_sender_says_gives_a_number_that_can_be_told(
    wall_ns: int, waited_ns: int
) -> None:
    pair = Pair()
    pair.clock.said(1)
    pair.clock.compare(Clocks(wall_ns, 1, waited_ns), pair.now_ns)
    offset_ns = pair.clock.offset_ns(pair.receiver_now())
    assert offset_ns is None or abs(offset_ns) < 1 << 64


# The sender's half.


def test_a_new_connection_begins_with_quick_exchanges_and_goes_on_slowly() -> None:
    pair = Pair()
    gaps = []
    assert pair.told.due() == 0
    for _ in range(QUICK_EXCHANGES + 2):
        now = pair.sender_now()
        pair.told.tell(now)
        gaps.append(pair.told.due() - now.mono_ns)
        pair.now_ns += gaps[-1]
    assert gaps == [QUICK_NS] * QUICK_EXCHANGES + [CLOCK_NS] * 2


def test_a_new_connection_forgets_what_the_last_receiver_said() -> None:
    pair = Pair()
    pair.exchange(MS, MS)
    pair.told.connected()
    assert pair.told.tell(pair.sender_now()).echo_ns == 0
    assert pair.told.tell(pair.sender_now()).waited_ns == 0


def test_an_answer_is_worth_waiting_for_until_it_comes() -> None:
    pair = Pair()
    waits = [pair.told.is_waiting]
    pair.told.tell(pair.sender_now())
    waits.append(pair.told.is_waiting)
    pair.told.hear(5, pair.sender_now())
    waits.append(pair.told.is_waiting)
    assert waits == [False, True, False]


@pytest.mark.parametrize(
    ("offset_ns", "text"),
    [
        (0, "+0.0ms"),
        (-340_000, "-0.3ms"),
        (99 * MS, "+99.0ms"),
        (-1500 * MS, "-1.5s"),
        (110 * SECOND, "+110s"),
        (-3 * HOUR, "-3.0h"),
        (30 * 60 * SECOND, "+30.0min"),
        (72 * HOUR, "+3.0d"),
    ],
)
def test_an_offset_is_told_in_a_unit_that_fits(offset_ns: int, text: str) -> None:
    assert describe_offset(offset_ns) == text
