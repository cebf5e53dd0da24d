"""A sender's queue over a disk: nothing lost, nothing twice, whoever is killed when.

What must hold at every step is in `tests.support.spool_world.SpoolWorld.check`.
"""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pcap_zmq.errors import SpoolError
from tests.support.spool_world import MARKER, SECOND, SpoolWorld

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
"""Where waiting for a disk costs nothing."""

LENGTHS = st.sampled_from([20, 100, 700, 3_000])
FEW = st.integers(0, 5)


class SpooledDelivery(RuleBasedStateMachine):
    """No rule needs another one to have come first."""

    world: SpoolWorld

    @initialize(
        queue_bytes=st.sampled_from([50_000, 6_000, 1_500]),
        spool_bytes=st.sampled_from([16_000, 64_000, 1 << 20]),
        drops_oldest=st.booleans(),
        receive_bytes=st.sampled_from([1_000, 8_000]),
        is_receiver_mortal=st.booleans(),
    )
    def begin(
        self,
        queue_bytes: int,
        spool_bytes: int,
        drops_oldest: bool,
        receive_bytes: int,
        is_receiver_mortal: bool,
    ) -> None:
        # As long as it lives, every packet must be where it is said to be.
        self.is_receiver_mortal = is_receiver_mortal
        self.place = tempfile.TemporaryDirectory(dir=MEMORY)
        self.world = SpoolWorld(
            Path(self.place.name),
            queue_bytes=queue_bytes,
            spool_bytes=spool_bytes,
            drops_oldest=drops_oldest,
            receive_bytes=receive_bytes,
        )

    @rule(
        lengths=st.lists(LENGTHS, min_size=1, max_size=8),
        arrive=FEW,
        write=FEW,
        replies=FEW,
        and_then=st.sampled_from(["it is killed", "it is stopped", "more", "more"]),
    )
    def batches_flow(
        self, lengths: list[int], arrive: int, write: int, replies: int, and_then: str
    ) -> None:
        """Each a little further, and not all as far as the last one."""
        world = self.world
        if world.connection is None:
            world.connect()
            self.everybody_takes_a_turn()
        for length in lengths:
            world.give(length)
        self.the_sender_speaks()
        world.messages_arrive(arrive)
        world.write(write)
        world.receiver_speaks()
        self.replies_arrive(replies)
        if and_then == "it is killed":
            world.kill(kept_up=arrive)
        elif and_then == "it is stopped":
            world.stop()

    @rule(lengths=st.lists(LENGTHS, min_size=1, max_size=12))
    def batches_come(self, lengths: list[int]) -> None:
        for length in lengths:
            self.world.give(length)

    @rule(kept_up=FEW, kept_down=FEW)
    def the_connection_breaks(self, kept_up: int, kept_down: int) -> None:
        self.world.disconnect(kept_up=kept_up, kept_down=kept_down)

    @rule()
    def the_sender_speaks(self) -> None:
        self.world.sender_speaks()

    @rule(limit=FEW)
    def replies_arrive(self, limit: int) -> None:
        self.world.replies_arrive(limit)

    @rule()
    def everybody_takes_a_turn(self) -> None:
        self.world.turn()

    @rule(duration_ns=st.sampled_from([SECOND // 10, SECOND, 2 * SECOND, 6 * SECOND]))
    def time_passes(self, duration_ns: int) -> None:
        self.world.now_ns += duration_ns

    @rule(torn=st.binary(max_size=60), kept_up=FEW)
    def the_sender_is_killed(self, torn: bytes, kept_up: int) -> None:
        self.world.kill(torn, kept_up)

    @rule()
    def the_sender_is_stopped(self) -> None:
        self.world.stop()

    @precondition(lambda self: self.is_receiver_mortal)
    @rule()
    def the_receiver_starts_again(self) -> None:
        self.world.start_receiver()

    @rule(which=st.integers(0, 60))
    def a_payload_is_damaged(self, which: int) -> None:
        """Of any batch, wherever it is."""
        number = which % max(1, self.world.given)
        for path in self.world.spool_directory.glob("*.segment"):
            octets = bytearray(path.read_bytes())
            at = octets.find(MARKER % number)
            if at >= 0:
                octets[at] ^= 1
                path.write_bytes(octets)

    @invariant()
    def every_promise_is_kept(self) -> None:
        if hasattr(self, "world"):
            self.world.check()
            self._check_stream()

    def _check_stream(self) -> None:
        """Nothing that a process can suffer makes numbers begin anew."""
        assert not self.world.may_repeat

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.world.check()
            self.world.check_settled()
            self.world.close()
            self.place.cleanup()


class DamagedDelivery(SpooledDelivery):
    """Any octet on the disk may change at any time: what comes out was given in that
    form, and every packet is still counted."""

    @precondition(lambda self: hasattr(self, "world"))
    @rule(where=st.integers(0, 1 << 20), mask=st.integers(1, 255))
    def an_octet_is_damaged(self, where: int, mask: int) -> None:
        paths = sorted(self.world.spool_directory.iterdir())
        path = paths[where % len(paths)]
        octets = bytearray(path.read_bytes())
        # Of a state, one of the two that are there.
        at = where % min(len(octets), 8_192 if path.name == "state" else 1 << 20)
        octets[at] ^= mask
        path.write_bytes(octets)
        # From here on numbers may have to begin anew.
        self.world.may_repeat = True

    def _check_stream(self) -> None:
        """Damage does."""

    def _survive(self, what: str) -> None:
        try:
            getattr(self.world, what)()
        except SpoolError:
            self.world.kill()

    @rule()
    def the_sender_speaks(self) -> None:
        self._survive("sender_speaks")

    @rule()
    def everybody_takes_a_turn(self) -> None:
        self._survive("turn")

    @rule(limit=FEW)
    def replies_arrive(self, limit: int) -> None:
        try:
            self.world.replies_arrive(limit)
        except SpoolError:
            self.world.kill()


TestSpooledDelivery = SpooledDelivery.TestCase
TestSpooledDelivery.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

TestDamagedDelivery = DamagedDelivery.TestCase
TestDamagedDelivery.settings = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
