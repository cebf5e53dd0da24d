"""A replay that will be silent for long says so, and says when."""

import pytest

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.packet import Batch, Packet
from pcap_zmq.tools.replay_gaps import LONG_NS, Gaps
from tests.support.records import NOW, records_of

LONG_S = LONG_NS // NS_PER_S


def feed(gaps: Gaps, *times_s: int) -> None:
    packets = [Packet(time * NS_PER_S, 60, bytes(60)) for time in times_s]
    item = Batch(1, records_of(packets), len(packets), receipt="whose")
    assert list(gaps.feed(item, NOW)) == [item]


def test_a_packet_without_a_time_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    feed(Gaps(), 0, 1_700_000_000, 1_700_000_001)
    (said,) = caplog.messages
    assert "nothing goes for 1700000000 s between the packet of 1970-01-01T00" in said
    assert "and the next, of 2023-11-14T22:13:20" in said


def test_it_is_told_between_two_batches_too(caplog: pytest.LogCaptureFixture) -> None:
    gaps = Gaps()
    feed(gaps, 10, 20)
    feed(gaps, 20 + LONG_S)
    assert len(caplog.messages) == 1


def test_what_goes_fast_is_silent_for_less(caplog: pytest.LogCaptureFixture) -> None:
    gaps = Gaps()
    gaps.speed = 2.0
    feed(gaps, 0, LONG_S)
    assert caplog.messages == []
    feed(gaps, LONG_S * 3)
    assert len(caplog.messages) == 1


def test_packets_that_follow_each_other_for_long_are_no_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    feed(Gaps(), *range(0, 3 * LONG_S, LONG_S // 2))
    assert caplog.messages == []


def test_what_goes_back_in_time_is_silent_for_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gaps = Gaps()
    feed(gaps, 5 * LONG_S, 0)
    feed(gaps, 5 * LONG_S)
    assert caplog.messages == []
