"""How many packets were missed in datagrams that nobody saw."""

from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.policy.tail import TailEstimate
from tests.support.properties import bounded


def test_a_datagram_of_unknown_content_is_one_packet() -> None:
    assert TailEstimate().packets(3) == 3


def test_datagrams_hold_as_many_packets_as_those_before_them() -> None:
    tail = TailEstimate()
    tail.learn(1_000, 10)
    assert tail.packets(3) == 300


def test_the_latest_lesson_counts() -> None:
    tail = TailEstimate()
    tail.learn(1_000, 10)
    tail.learn(10, 10)
    assert tail.packets(3) == 3


def test_nothing_is_learnt_from_nothing() -> None:
    tail = TailEstimate()
    tail.learn(1_000, 10)
    for packets, datagrams in ((0, 0), (0, 5), (5, 0), (-1, 5), (5, -1)):
        tail.learn(packets, datagrams)
    assert tail.packets(1) == 100


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 40), st.integers(0, 1 << 20))
@bounded
def test_an_estimate_is_never_negative_and_nothing_of_nothing(
    packets: int, datagrams: int, dropped: int
) -> None:
    tail = TailEstimate()
    tail.learn(packets, datagrams)
    assert tail.packets(dropped) >= 0
    assert tail.packets(0) == 0
