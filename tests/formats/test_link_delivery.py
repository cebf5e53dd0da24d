"""Both ends of the link together: nothing lost, nothing twice, whatever breaks when.

Senders, connections and a receiver in every order that Hypothesis thinks of. What must
hold at every step is in `tests.support.link_world.World.check`; at the end connections
stay up and the receiver writes, and all that was taken must arrive in bounded time.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pcap_zmq.formats.sender_link import State
from tests.support.link_world import MS, SECOND, Sender, World

SENDERS_MAX = 4
LENGTHS = st.sampled_from([24, 100, 1_000, 3_000])
FEW = st.integers(0, 5)
WHOM = st.integers(0, SENDERS_MAX - 1)


class Delivery(RuleBasedStateMachine):
    """No rule needs another one to have come first."""

    world: World

    @initialize(
        queue_bytes=st.sampled_from([1_000, 8_000, 64_000]),
        connected=st.booleans(),
    )
    def begin(self, queue_bytes: int, connected: bool) -> None:
        self.world = World(queue_bytes)
        sender = self.world.add_sender(16_000)
        if connected:
            self.world.connect(sender)
            self.world.turn()

    def _whom(self, whom: int) -> Sender:
        return self.world.senders[whom % len(self.world.senders)]

    @precondition(lambda self: len(self.world.senders) < SENDERS_MAX)
    @rule(
        queue_bytes=st.sampled_from([500, 5_000, 50_000]),
        again=st.none() | WHOM,
    )
    def a_sender_starts(self, queue_bytes: int, again: int | None) -> None:
        earlier = None if again is None else self._whom(again)
        if earlier is not None:
            self.world.kill(earlier, kept_up=2)
        sender_id = earlier.id.sender if earlier is not None else None
        self.world.connect(self.world.add_sender(queue_bytes, sender_id))

    @rule(whom=WHOM, lengths=st.lists(LENGTHS, min_size=1, max_size=8))
    def batches_come(self, whom: int, lengths: list[int]) -> None:
        sender = self._whom(whom)
        for number, length in enumerate(lengths):
            if not sender.has_departed and not sender.is_dead:
                self.world.offer(sender, length, count=number + 1)

    @rule(whom=WHOM)
    def a_connection_is_made(self, whom: int) -> None:
        self.world.connect(self._whom(whom))

    @rule(whom=WHOM, kept_up=FEW, kept_down=FEW)
    def a_connection_breaks(self, whom: int, kept_up: int, kept_down: int) -> None:
        self.world.break_connection(
            self._whom(whom), kept_up=kept_up, kept_down=kept_down
        )

    @rule(whom=WHOM)
    def a_sender_speaks(self, whom: int) -> None:
        self.world.pump_sender(self._whom(whom))

    @rule()
    def the_receiver_speaks(self) -> None:
        self.world.pump_receiver()

    @rule(whom=WHOM, which=FEW, limit=FEW)
    def messages_arrive(self, whom: int, which: int, limit: int) -> None:
        connections = self._whom(whom).connections
        if connections:
            connection = connections[-1 - which % len(connections)]
            self.world.deliver_to_receiver(connection, limit)

    @rule(whom=WHOM, limit=FEW)
    def replies_arrive(self, whom: int, limit: int) -> None:
        sender = self._whom(whom)
        for connection in sender.connections[-1:]:
            self.world.deliver_to_sender(sender, connection, limit)

    @rule(limit=FEW)
    def batches_are_written(self, limit: int) -> None:
        self.world.write(limit)

    @rule(writes=FEW)
    def everybody_takes_a_turn(self, writes: int) -> None:
        self.world.turn(writes=writes)

    @rule(
        duration_ns=st.sampled_from([MS, 300 * MS, SECOND, 6 * SECOND, 16 * SECOND]),
    )
    def time_passes(self, duration_ns: int) -> None:
        self.world.now_ns += duration_ns

    @rule(kept_down=FEW)
    def the_receiver_starts_again(self, kept_down: int) -> None:
        self.world.restart_receiver(kept_down)

    @rule(whom=WHOM)
    def a_sender_departs(self, whom: int) -> None:
        self.world.depart(self._whom(whom))

    @invariant()
    def every_promise_is_kept(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for sender in self.world.senders:
            self.world.connect(sender)
        self.world.run_for(60 * SECOND)
        self.world.check()
        for sender in self.world.senders:
            if sender.is_dead:
                continue
            assert sender.link.held_packets == 0
            assert sender.counters.acknowledged == sender.accepted_packets
            assert (sender.link.state is State.GONE) == sender.has_departed


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_who_leaves_does_not_wait_for_company_of_its_last_acknowledgement() -> None:
    world = World(64_000)
    sender = world.add_sender(64_000)
    world.connect(sender)
    world.turn()
    world.turn()
    assert world.offer(sender, 100)
    world.depart(sender)
    for _ in range(4):
        # No time passes.
        world.turn()
    assert world.is_settled()
