"""What several receivers are told of a sender's packets fits, whenever that is."""

import functools
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_ffi import FlowSpread
from pcap_zmq.counters import SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.sinks.spread import Balance, Copies
from pcap_zmq.sinks.ways import Way
from tests.flow_ffi import packets as p
from tests.support.properties import bounded
from tests.support.records import RAW

NOW = Instant(10**12, 10**18)


class NarrowSink:
    """A link with room for so many packets, which tells of them as it takes them."""

    endpoint = "tcp://somewhere:1"
    is_up = True

    def __init__(self) -> None:
        self.room = 0
        self.held_packets = 0
        self.told: Callable[[], None] = lambda: None

    def offer(self, batch: EncodedBatch, now: Instant) -> bool:
        if self.room < batch.count:
            return False
        self.room -= batch.count
        self.held_packets += batch.count
        self.told()
        return True


class Desk:
    """A sender whose source waits, with three receivers."""

    def __init__(self, make: Callable[[list[Way], SenderCounters], Any]) -> None:
        self.counters = SenderCounters()
        self.sinks = [NarrowSink() for _ in range(3)]
        ways = [
            Way(cast(Any, sink), SenderCounters(), number)
            for number, sink in enumerate(self.sinks)
        ]
        self.sink = make(ways, self.counters)
        for index, sink in enumerate(self.sinks):
            sink.told = functools.partial(self.check, index)

    def check(self, index: int) -> None:
        """As this receiver would be told now."""
        said = wire.decode_totals(self.sink.encode_totals(index, 0))
        assert said.logged == (
            said.held + said.acknowledged + sum(said.dropped.values()) + said.missed
        )


def balance(ways: list[Way], counters: SenderCounters) -> Balance:
    return Balance(
        ways,
        counters,
        waits=True,
        failover_ns=0,
        flows=FlowSpread(seed=1),
        encode=lambda batch, now: [encoded(batch)],
    )


def encoded(batch: Batch) -> EncodedBatch:
    length = len(batch.records)
    return EncodedBatch(RAW, batch.count, Codec.NONE, length, batch.records)


def copies(ways: list[Way], counters: SenderCounters) -> Copies:
    return Copies(ways, counters, waits=True, failover_ns=0)


def batch_of_flows(numbers: range) -> Batch:
    records = b"".join(
        p.record(p.ip4(p.A4, p.B4, p.UDP, p.ports(1_000 + n, 53))) for n in numbers
    )
    return Batch(RAW, records, len(numbers))


@pytest.mark.parametrize(("make", "is_encoded"), [(balance, False), (copies, True)])
@bounded
@given(rooms=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20)), max_size=60))
def test_the_sums_fit_while_parts_wait_and_as_they_go(
    make: Callable[[list[Way], SenderCounters], Any],
    is_encoded: bool,
    rooms: list[tuple[int, int]],
) -> None:
    desk = Desk(make)
    made = 0
    item: Any = None
    for which, room in rooms:
        if item is None:
            item = batch_of_flows(range(made, made + 10))
            item = encoded(item) if is_encoded else item
            made += 10
            desk.counters.received += 10
        desk.sinks[which].room += room
        if desk.sink.offer(item, NOW):
            item = None
            for index in range(3):
                desk.check(index)
    given_out = sum(sink.held_packets for sink in desk.sinks)
    assert given_out <= made * (3 if is_encoded else 1)
