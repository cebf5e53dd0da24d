"""What a receiver keeps of each stream, against a plain model of it."""

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from link_ffi import (
    BATCHES_MIN,
    MESSAGE_COST,
    Lane,
    Lanes,
    Share,
    Shares,
    Verdict,
    hear,
    start_over,
    totals_of,
)
from link_ffi._link import lib
from tests.support.shares import gathered, share_of

DELAY_NS = 250
HELD_MAX = 40_000
WINDOWS = (0, 1, 4_096, 20_000)
U64_MAX = (1 << 64) - 1
BUCKETS = 4_096


def totals(acknowledged: int) -> bytes:
    slots = [0] * 16
    slots[5] = acknowledged
    return struct.pack(">16Q", *slots)


def name_of(number: int) -> bytes:
    """A routing id as ZeroMQ makes them."""
    return b"\0" + number.to_bytes(4)


def on(lanes: Lanes, number: int) -> int:
    """The slot of who is open on a connection; 0 for nobody."""
    lane = lib.lane_of_peer(lanes.c, 1 << 32 | number)
    return int(lane.slot) if lane else 0


def bucket_of(number: int) -> int:
    """Where lanes.c keeps a connection."""
    return ((1 << 32 | number) * 0x9E3779B97F4A7C15 & U64_MAX) >> 52


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(HELD_MAX, DELAY_NS)


def added(lanes: Lanes, number: int = 1, window: int = 20_000) -> Lane:
    lane = lanes.add(bytes(24), number)
    lane.window = window
    lane.is_here = True
    return lane


def taken(lanes: Lanes, lane: Lane, packets: int = 1, length: int = 0) -> Shares:
    number = lane.next
    assert lanes.take(lane, number, length, packets) is Verdict.TAKEN
    return Shares.of(lanes, lane, number, packets)


# One after the other.


def test_numbers_up_to_the_largest_that_the_wire_has_are_taken(lanes: Lanes) -> None:
    lane = added(lanes, (1 << 63) - 2)
    taken(lanes, lane)
    assert lanes.take(lane, U64_MAX, 0, 1) is Verdict.AHEAD
    assert lanes.take(lane, 0, 0, 1) is Verdict.REPEATED


def test_a_stream_may_always_have_one_batch_and_no_more_than_its_window(
    lanes: Lanes,
) -> None:
    lane = added(lanes, window=0)
    taken(lanes, lane, length=HELD_MAX // 2)
    assert lanes.take(lane, 2, 0, 1) is Verdict.BEYOND
    lane.window = 1
    assert lanes.take(lane, 2, 0, 1) is Verdict.BEYOND


def test_a_window_that_the_sender_may_still_go_by_binds_us(lanes: Lanes) -> None:
    lane = added(lanes, window=1)
    taken(lanes, lane)
    assert lanes.take(lane, 2, 0, 1) is Verdict.BEYOND
    lane.reserved = 2 * MESSAGE_COST
    assert lanes.take(lane, 2, 0, 1) is Verdict.TAKEN
    assert lanes.take(lane, 3, 0, 1) is Verdict.BEYOND


def test_what_all_hold_together_is_bounded(lanes: Lanes) -> None:
    first, second = added(lanes), added(lanes)
    taken(lanes, first, length=HELD_MAX)
    assert lanes.take(second, 1, 0, 1) is Verdict.FULL
    assert lanes.held_bytes == HELD_MAX + MESSAGE_COST


def test_a_sender_that_finds_nothing_acknowledged_is_not_remembered_for_ever(
    lanes: Lanes,
) -> None:
    lane = added(lanes, window=10 * MESSAGE_COST)
    for _ in range(5_000):
        taken(lanes, lane).settle(1)
    assert lane.batches_count <= BATCHES_MIN + 4 * 10 + 1


def test_what_is_not_written_is_remembered_however_much_it_is() -> None:
    lanes = Lanes(1 << 40, DELAY_NS)
    lane = added(lanes, window=1)
    lane.reserved = 1 << 30
    receipts = [taken(lanes, lane) for _ in range(3_000)]
    lane.reserved = 1
    assert lane.batches_count == 3_000
    for receipt in receipts:
        receipt.settle(1)
    assert lanes.held_bytes == lane.held_bytes == 0
    assert lane.written == 3_000


def test_a_batch_waits_for_the_ones_before_it_to_be_acknowledged(
    lanes: Lanes,
) -> None:
    """They may have gone another way, where somebody is slow."""
    lane = added(lanes)
    receipts = [taken(lanes, lane, length=100 * n) for n in range(5)]
    for at in (1, 3):
        receipts[at].settle(1)
    assert (lane.written, lane.batches_settled) == (0, 0)
    assert lane.held_bytes == 5 * MESSAGE_COST + 1_000
    assert not lanes.owes()
    receipts[0].settle(1)
    assert (lane.written, lane.held_bytes) == (2, 3 * MESSAGE_COST + 900)
    receipts[4].settle(1)
    assert lane.written == 2
    receipts[2].settle(1)
    assert (lane.written, lane.held_bytes, lanes.held_bytes) == (5, 0, 0)


def test_nothing_is_found_acknowledged_before_it_is_written(lanes: Lanes) -> None:
    lane = added(lanes)
    first, second = taken(lanes, lane, 3), taken(lanes, lane, 4)
    hear(lane, totals(7), 1)
    assert lane.acknowledged == 0
    first.settle(1)
    hear(lane, totals(7), 1)
    assert lane.acknowledged == 3
    second.settle(1)
    hear(lane, totals(6), 1)
    assert lane.acknowledged == 3
    hear(lane, totals(U64_MAX), 1)
    assert lane.acknowledged == 7


def test_a_sender_may_say_less_than_it_has_said_before(lanes: Lanes) -> None:
    lane = added(lanes)
    start_over(lane, 1, U64_MAX)
    taken(lanes, lane, 3).settle(1)
    hear(lane, totals(0), 1)
    assert lane.acknowledged == 0
    hear(lane, totals(U64_MAX), 1)
    assert lane.acknowledged == 0


def test_a_stream_that_starts_over_with_batches_held_gives_their_room_back(
    lanes: Lanes,
) -> None:
    lane = added(lanes)
    receipts = [taken(lanes, lane, 2, 100) for _ in range(3)]
    start_over(lane, 10, 4)
    assert (lane.next, lane.written, lane.acknowledged) == (10, 9, 6)
    late = taken(lanes, lane, 1)
    for receipt in receipts:
        receipt.settle(1)
    assert (lane.written, lane.held_bytes) == (9, MESSAGE_COST)
    late.settle(1)
    assert (lane.written, lanes.held_bytes) == (10, 0)


def test_what_was_said_last_is_kept_as_it_was_said(lanes: Lanes) -> None:
    lane = added(lanes)
    said = bytes(range(128))
    hear(lane, said, 42)
    assert (totals_of(lane), lane.heard_ns) == (said, 42)


# Slots.


def test_who_comes_after_another_in_its_slot_is_not_taken_for_it(lanes: Lanes) -> None:
    lane = added(lanes)
    receipt = taken(lanes, lane, 5)
    slot, generation = lane.slot, lane.generation
    lanes.remove(lane)
    assert lanes.held_bytes == 0
    while True:
        lane = added(lanes)
        taken(lanes, lane, 7)
        if lane.slot == slot:
            break
    assert lane.generation != generation
    receipt.count_written(5)
    receipt.settle(1)
    assert (lane.packets_written, lane.written) == (0, 0)
    assert lane.held_bytes == MESSAGE_COST
    assert lanes.due() is None


def test_a_slot_is_not_given_out_again_at_once(lanes: Lanes) -> None:
    """So that the numbers that tell one from the other last long."""
    slots = []
    for _ in range(60):
        lane = added(lanes)
        slots.append(lane.slot)
        lanes.remove(lane)
    assert len(set(slots)) == 60
    assert 0 not in slots


def test_ten_thousand_streams_have_slots_of_their_own(lanes: Lanes) -> None:
    everybody = [added(lanes) for _ in range(10_000)]
    assert len({lane.slot for lane in everybody}) == 10_000
    for lane in everybody[::2]:
        lanes.remove(lane)
    rest = everybody[1::2]
    more = [added(lanes) for _ in range(5_000)]
    assert len({lane.slot for lane in (*rest, *more)}) == 10_000


# Connections.


@pytest.mark.parametrize("closed", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_connections_in_one_bucket_do_not_hide_each_other(
    lanes: Lanes, closed: tuple[int, ...]
) -> None:
    bucket = bucket_of(1)
    same = [number for number in range(20_000) if bucket_of(number) == bucket][:3]
    assert len(same) == 3
    here = [added(lanes) for _ in same]
    for lane, number in zip(here, same, strict=True):
        lanes.open(lane, name_of(number), 7, "")
    for gone in range(len(closed) + 1):
        for at, (lane, number) in enumerate(zip(here, same, strict=True)):
            is_open = at not in closed[:gone]
            assert bool(lane.is_open) is is_open
            assert on(lanes, number) == (lane.slot if is_open else 0)
        if gone < len(closed):
            lanes.close(here[closed[gone]])


def test_a_lane_is_open_on_one_connection_at_a_time(lanes: Lanes) -> None:
    lane = added(lanes)
    lanes.open(lane, name_of(1), 5, "")
    lanes.open(lane, name_of(2), 6, "")
    assert (on(lanes, 1), on(lanes, 2)) == (0, lane.slot)
    assert lanes.heard_since(0) == [(6, 0)]


@pytest.mark.parametrize("peer", [b"", b"\0", b"\0abc", b"\0abcde", b"aabcd", b"x" * 9])
def test_only_a_name_that_zeromq_made_is_opened(lanes: Lanes, peer: bytes) -> None:
    lane = added(lanes)
    lanes.open(lane, peer, 5, "")
    assert not lane.is_open


def test_a_key_longer_than_any_is_cut_and_harms_nobody(lanes: Lanes) -> None:
    lane = added(lanes)
    lanes.open(lane, name_of(1), 5, "k" * 1_000)
    assert on(lanes, 1) == lane.slot


def test_all_are_closed_at_once(lanes: Lanes) -> None:
    everybody = [added(lanes) for _ in range(200)]
    for number, lane in enumerate(everybody):
        lanes.open(lane, name_of(number), number, "")
    lanes.remove(everybody[3])
    lanes.close_all()
    assert not any(lane.is_open for lane in everybody)
    assert not any(on(lanes, number) for number in range(200))
    assert lanes.heard_since(0) == []


def test_a_lane_that_is_removed_is_open_no_more(lanes: Lanes) -> None:
    lane = added(lanes)
    lanes.open(lane, name_of(1), 5, "")
    lanes.remove(lane)
    assert on(lanes, 1) == 0
    assert lanes.heard_since(0) == []


def test_who_was_heard_since_is_who_is_open_and_spoke(lanes: Lanes) -> None:
    lately, long_ago, closed = (added(lanes) for _ in range(3))
    for fd, (lane, heard_ns) in enumerate([(lately, 20), (long_ago, 9), (closed, 30)]):
        lanes.open(lane, name_of(fd), fd, "")
        hear(lane, totals(0), heard_ns)
    lanes.close(closed)
    assert lanes.heard_since(10) == [(0, 20)]
    assert lanes.heard_since(9) == [(0, 20), (1, 9)]


# Against a model.


@dataclass
class Batch:
    number: int
    packets_end: int
    cost: int
    is_settled: bool = False


@dataclass
class Model:
    """One stream, told slowly."""

    lane: Lane
    next: int
    written: int
    window: int
    reserved: int = 0
    received: int = 0
    delivered: int = 0
    acknowledged: int = 0
    said_before: int = 0
    acknowledged_before: int = 0
    remembered: list[Batch] = field(default_factory=list)
    settled: int = 0
    owed_cost: int = 0
    owed_since: int | None = None
    is_eager: bool = False
    is_gone: bool = False

    @property
    def held(self) -> int:
        return sum(batch.cost for batch in self.remembered[self.settled :])

    def forget_first(self) -> None:
        del self.remembered[0]
        self.settled -= 1


@dataclass
class Gathered:
    """A receipt of one batch or several."""

    shares: Shares
    parts: list[tuple[Model, Share]]
    written: int = 0


class Lockstep(RuleBasedStateMachine):
    """Lanes and their model, told the same."""

    lanes_of = Bundle("lanes")
    receipts = Bundle("receipts")

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(HELD_MAX, DELAY_NS)
        self.now_ns = 1_000
        self.models: list[Model] = []
        self.owed: list[Model] = []
        """Those that are owed longest first; since 0: at once."""
        self.is_uneven = False
        self.pending: list[tuple[Model, Share]] = []

    @property
    def held(self) -> int:
        return sum(model.held for model in self.models if not model.is_gone)

    @rule(target=lanes_of, number=st.integers(1, 5), window=st.sampled_from(WINDOWS))
    def add(self, number: int, window: int) -> Model:
        lane = self.lanes.add(bytes(24), number)
        lane.window, lane.is_here = window, True
        model = Model(lane, number, number - 1, window)
        self.models.append(model)
        return model

    @rule(model=lanes_of, window=st.sampled_from(WINDOWS), reserves=st.booleans())
    def grant(self, model: Model, window: int, reserves: bool) -> None:
        if model.is_gone:
            return
        model.reserved = max(model.reserved, model.window, window) if reserves else 0
        model.window = window
        model.lane.window, model.lane.reserved = model.window, model.reserved

    @rule(
        model=lanes_of,
        offset=st.sampled_from([0, 0, 0, 0, -1, 1]),
        length=st.sampled_from([0, 10, 3_000, 30_000]),
        packets=st.integers(0, 9),
        times=st.sampled_from([1, 1, 1, 30]),
    )
    def take(
        self, model: Model, offset: int, length: int, packets: int, times: int
    ) -> None:
        if model.is_gone:
            return
        for _ in range(times):
            self.take_one(model, max(0, model.next + offset), length, packets)

    def take_one(self, model: Model, number: int, length: int, packets: int) -> None:
        verdict = self.lanes.take(model.lane, number, length, packets)
        bound = max(model.window, model.reserved)
        if number != model.next:
            repeated = number < model.next
            assert verdict is (Verdict.REPEATED if repeated else Verdict.AHEAD)
        elif self.held >= HELD_MAX:
            assert verdict is Verdict.FULL
        elif model.held and model.held >= bound:
            assert verdict is Verdict.BEYOND
        else:
            assert verdict is Verdict.TAKEN
            most = BATCHES_MIN + 4 * (bound // MESSAGE_COST)
            while len(model.remembered) > most and model.settled:
                model.forget_first()
            model.next += 1
            model.is_eager = False
            model.received += packets
            cost = length + MESSAGE_COST
            model.remembered.append(Batch(number, model.received, cost))
            self.pending.append((model, share_of(model.lane, number, packets)))

    @precondition(lambda self: self.pending)
    @rule(target=receipts, count=st.integers(1, 40))
    def gather(self, count: int) -> Gathered:
        parts, self.pending = self.pending[:count], self.pending[count:]
        shares = gathered(self.lanes, [share for _, share in parts])
        return Gathered(shares, parts)

    @rule(receipt=receipts)
    def settle(self, receipt: Gathered) -> None:
        """In any order, and more than once."""
        receipt.shares.settle(self.now_ns)
        for model, share in receipt.parts:
            if not model.is_gone:
                self.settle_one(model, share.number)

    def settle_one(self, model: Model, number: int) -> None:
        cost = 0
        for batch in model.remembered:
            batch.is_settled = batch.is_settled or batch.number == number
        while model.settled < len(model.remembered):
            batch = model.remembered[model.settled]
            if not batch.is_settled:
                break
            cost += batch.cost
            model.settled += 1
            model.written = max(model.written, batch.number)
        if not cost:
            return
        self.is_uneven = self.is_uneven or not model.lane.is_here
        model.owed_cost += cost
        if model.is_eager or model.owed_cost >= model.window // 4:
            if model in self.owed:
                self.owed.remove(model)
            self.owed.insert(0, model)
            model.owed_since = 0
        elif model not in self.owed:
            self.owed.append(model)
            model.owed_since = self.now_ns

    @rule(receipt=receipts, packets=st.integers(0, 30), gives_back=st.booleans())
    def write(self, receipt: Gathered, packets: int, gives_back: bool) -> None:
        whole = sum(share.packets for _, share in receipt.parts)
        if gives_back:
            packets = -min(packets, receipt.written)
        else:
            packets = min(packets, whole - receipt.written)
        receipt.shares.count_written(packets)
        before = receipt.written
        receipt.written += packets
        assert receipt.shares.written == receipt.written
        start = 0
        for model, share in receipt.parts:
            was = min(max(before - start, 0), share.packets)
            now = min(max(receipt.written - start, 0), share.packets)
            if not model.is_gone:
                model.delivered += now - was
            start += share.packets

    @rule(model=lanes_of, said=st.integers(0, 60))
    def hear(self, model: Model, said: int) -> None:
        if model.is_gone:
            return
        hear(model.lane, totals(said), self.now_ns)
        found = said - model.said_before + model.acknowledged_before
        while model.settled:
            batch = model.remembered[0]
            if batch.number > model.written or batch.packets_end > found:
                break
            model.acknowledged = max(model.acknowledged, batch.packets_end)
            model.forget_first()

    @rule(model=lanes_of, ahead=st.integers(-2, 4), said=st.integers(0, 60))
    def start_over(self, model: Model, ahead: int, said: int) -> None:
        if model.is_gone:
            return
        number = max(1, model.next + ahead)
        start_over(model.lane, number, said)
        for batch in model.remembered:
            if batch.number < number:
                model.acknowledged = max(model.acknowledged, batch.packets_end)
        model.said_before = said
        model.acknowledged_before = model.acknowledged
        if number > model.next:
            model.next, model.written = number, number - 1

    @rule(model=lanes_of)
    def be_eager(self, model: Model) -> None:
        if not model.is_gone:
            model.lane.is_eager = model.is_eager = True

    @rule(model=lanes_of)
    def leave(self, model: Model) -> None:
        if not model.is_gone:
            model.lane.is_here = False

    @rule(model=lanes_of)
    def speak(self, model: Model) -> None:
        if not model.is_gone:
            self.lanes.spoke(model.lane)
            self.spoke(model)

    def spoke(self, model: Model) -> None:
        model.owed_cost = 0
        if model in self.owed:
            self.owed.remove(model)

    @rule(passes_ns=st.sampled_from([0, 1, DELAY_NS - 1, DELAY_NS, 10 * DELAY_NS]))
    def acknowledge(self, passes_ns: int) -> None:
        self.now_ns += passes_ns
        expected = []
        while self.owed:
            model = self.owed[0]
            since = model.owed_since or 0
            if since and since + DELAY_NS > self.now_ns:
                break
            expected.append(model.lane.slot)
            self.spoke(model)
        assert list(self.lanes.owed(self.now_ns)) == expected

    @rule(model=lanes_of)
    def remove(self, model: Model) -> None:
        if not model.is_gone:
            self.spoke(model)
            self.lanes.remove(model.lane)
            model.is_gone = True

    @rule()
    def ask_for_unevenness(self) -> None:
        assert self.lanes.take_unevenness() is self.is_uneven
        self.is_uneven = False

    @invariant()
    def agree(self) -> None:
        assert self.lanes.held_bytes == self.held
        if self.owed:
            since = self.owed[0].owed_since or 0
            assert self.lanes.due() == (since + DELAY_NS if since else 0)
        else:
            assert self.lanes.due() is None
        assert self.lanes.owes() is bool(self.owed)
        for model in self.models:
            if not model.is_gone:
                self.agree_on(model)

    def agree_on(self, model: Model) -> None:
        lane = model.lane
        assert (lane.next, lane.written) == (model.next, model.written)
        assert lane.held_bytes == model.held
        assert lane.packets_received == model.received
        assert lane.packets_written == model.delivered
        assert lane.acknowledged == model.acknowledged
        assert lane.acknowledged <= lane.packets_received
        assert lane.batches_count == len(model.remembered)
        assert lane.batches_settled == model.settled
        assert bool(lane.is_owed) is (model in self.owed)


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
