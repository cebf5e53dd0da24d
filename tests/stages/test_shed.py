"""Above the high watermark heads of flows, or whole flows, go on, and every packet that
does not is counted."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq import options
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Batch, Instant, Packet
from pcap_zmq.policy.shed import Shedding
from pcap_zmq.stages.shed import FlowKeeper, HeadKeeper, Keeper, Shed
from pcap_zmq.units import NS_PER_MS, NS_PER_S
from tests.flow_ffi import packets as p
from tests.support.properties import bounded
from tests.support.records import RAW, batch_of

START_NS = 1_000 * NS_PER_S
STEP_NS = 10 * NS_PER_MS
TABLE = options.FLOW_TABLE.minimum


def heads() -> Keeper:
    return HeadKeeper(TABLE, seed=1)


def packet(flow: int, length: int) -> Packet:
    host = f"10.{flow >> 16 & 255}.0.1"
    data = p.ip4(host, p.B4, p.UDP, p.ports(flow & 0xFFFF, 53, bytes(length - 28)))
    return Packet(1, len(data), data)


class Scene:
    """A stage, and what came of what was fed to it."""

    def __init__(self, keeper: Keeper, high: int) -> None:
        self.counters = SenderCounters()
        self._stage = Shed(Shedding(high), keeper, self.counters)
        self._now_ns = START_NS
        self.came: Counter[int] = Counter()
        self.kept: Counter[int] = Counter()
        self.octets = 0

    def feed(self, flows: list[tuple[int, int]], wait_ns: int = STEP_NS) -> None:
        """Flows and lengths of a batch's packets."""
        self._now_ns += wait_ns
        batch = batch_of([packet(*one) for one in flows], receipt := object())
        self.came.update(flow for flow, _ in flows)
        owner = {packet(*one).data: one[0] for one in flows}
        for item in self._stage.feed(batch, Instant(self._now_ns, self._now_ns)):
            assert item.receipt is receipt
            left = list(iter_packets(item.records))
            assert len(left) == item.count > 0 or not flows
            self.kept.update(owner[one.data] for one in left)
            self.octets += len(item.records)
        self.check()

    def check(self) -> None:
        counters = self.counters
        dropped = counters.dropped[Reason.HIGH_WATERMARK]
        assert self.came.total() == self.kept.total() + dropped
        assert dropped == counters.shed_tails + counters.shed_flows
        assert counters.dropped.total() == dropped


@pytest.mark.parametrize("keeper", [heads, FlowKeeper])
def test_below_the_watermark_a_batch_goes_as_it_is(
    keeper: Callable[[], Keeper],
) -> None:
    stage = Shed(Shedding(10_000_000), keeper(), SenderCounters())
    for step in range(100):
        # A third of it, then nearly all.
        length = 300 if step < 50 else 900
        batch = batch_of([packet(flow, length) for flow in range(100)])
        now = Instant(START_NS + step * STEP_NS, 0)
        (passed,) = stage.feed(batch, now)
        assert passed is batch


def test_below_half_of_the_watermark_no_packet_is_looked_at() -> None:
    keeper = HeadKeeper(TABLE)
    stage = Shed(Shedding(10_000_000), keeper, SenderCounters())
    for step in range(100):
        now = Instant(START_NS + step * STEP_NS, 0)
        # No packet records at all.
        list(stage.feed(Batch(RAW, bytes(1) * 40_000, 7), now))
    assert not any(keeper.seen())


@pytest.mark.parametrize("keeper", [heads, FlowKeeper])
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 9), st.integers(28, 400)), max_size=20),
            st.integers(0, NS_PER_S),
        ),
        max_size=20,
    ),
    st.sampled_from([1_024, 5_000, 50_000]),
)
@bounded
def test_packets_go_on_or_are_counted_as_dropped(
    keeper: Callable[[], Keeper],
    batches: list[tuple[list[tuple[int, int]], int]],
    high: int,
) -> None:
    scene = Scene(keeper(), high)
    for flows, wait_ns in batches:
        scene.feed(flows, wait_ns)


def test_an_elephant_loses_its_tail_and_mice_go_on_whole() -> None:
    scene = Scene(heads(), 1_000_000)
    for step in range(500):
        mice = [(1_000 + 5 * step + n // 2, 200) for n in range(10)]
        scene.feed([(1, 1_400)] * 28 + mice)
    mice_came = {flow: count for flow, count in scene.came.items() if flow >= 1_000}
    assert {flow: scene.kept[flow] for flow in mice_came} == mice_came
    assert scene.kept[1] < scene.came[1] / 2
    assert scene.counters.shed_flows == 0
    # Five seconds, and what had been saved up.
    assert scene.octets < 7_000_000


def test_where_all_are_tails_no_less_passes_than_may() -> None:
    """Few flows that all began at one time, and go on."""
    scene = Scene(heads(), 1_000_000)
    for _ in range(800):
        scene.feed([(flow, 900) for flow in range(4)] * 10)
    assert 7_000_000 < scene.octets < 10_500_000


def test_whole_flows_go_on_or_not() -> None:
    scene = Scene(FlowKeeper(), 1_000_000)
    flows = [(flow, 900) for flow in range(50)]
    for _ in range(500):
        scene.feed(flows)
    before = scene.kept.copy()
    for _ in range(20):
        scene.feed(flows)
    grown = {flow: scene.kept[flow] - before[flow] for flow in before}
    # All but those at the border, which moves a little.
    assert sum(0 < count < 20 for count in grown.values()) <= 5
    assert 5 <= sum(count == 20 for count in grown.values()) <= 17


def test_a_flood_of_single_packets_leaves_flows_that_go_on_half() -> None:
    """Ten times as much as may come, each packet from another address."""
    scene = Scene(heads(), 1_000_000)
    going_on = [(flow, 90) for flow in range(20)]
    for _ in range(100):
        scene.feed(going_on * 2)
    scene.kept.clear()
    scene.came.clear()
    scene.counters.dropped.clear()
    scene.counters.shed_tails = scene.counters.shed_flows = 0
    for step in range(200):
        spray = [(100_000 + 500 * step + n, 200) for n in range(500)]
        scene.feed(spray + going_on)
    old = sum(scene.kept[flow] for flow, _ in going_on)
    assert old > 0.8 * 200 * 20
    assert scene.counters.shed_flows > 0.85 * 200 * 500


def test_after_too_much_everything_goes_on_again() -> None:
    scene = Scene(heads(), 1_000_000)
    for _ in range(300):
        scene.feed([(1, 1_400)] * 40)
    assert scene.counters.shed_tails > 0
    for _ in range(200):
        scene.feed([(1, 1_400)] * 3)
    before = scene.counters.shed_tails
    for _ in range(200):
        scene.feed([(1, 1_400)] * 3)
    assert scene.counters.shed_tails == before
