"""Where a replay goes: a network interface as a way out, and who is at the end of
another."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.pipeline import count_packets
from pcap_zmq.ports import Sink, Stage
from pcap_zmq.sinks.broadcast import BroadcastSink
from pcap_zmq.sinks.interface import InterfaceSink
from pcap_zmq.sinks.link import LinkSink
from pcap_zmq.sinks.pipe import PipeSink, State
from pcap_zmq.sources.paced import Output
from pcap_zmq.stages.relink import Relink
from pcap_zmq.tools.way_out import Earlier
from replay_ffi import Schedule


class ToInterface:
    """A `WayOut`. linktype: what packets are made to be of; None: as they come. Else as
    InterfaceSink."""

    needs_all = False
    stream = None

    def __init__(
        self,
        name: str,
        schedule: Schedule,
        linktype: int | None,
        opened: ExitStack,
        *,
        busy_wait_ns: int,
    ) -> None:
        self._counters = counters = ReceiverCounters()
        self.sink = InterfaceSink(
            name, schedule, counters=counters, busy_wait_ns=busy_wait_ns
        )
        opened.callback(self.sink.close)
        self.stages: Sequence[Stage[Any, Any]] = (_Bare(),)
        if linktype is not None:
            relink = Relink(linktype, counters, lambda receipt: "a file")
            self.stages = (_Bare(), relink)

    @property
    def delivered(self) -> int:
        """Packets that the interface has taken."""
        return self._counters.written

    @property
    def dropped(self) -> Counter[Reason]:
        """Packets that it never will."""
        return self._counters.dropped

    @property
    def held_packets(self) -> int:
        """Packets that wait there for their time."""
        return count_packets(self.sink.held)

    def go_on(self, earlier: Earlier) -> bool:
        """Nothing tells what an earlier run has sent."""
        return False

    @property
    def lost(self) -> int:
        """Packets that the interface took and dropped, whosever they were: none of the
        terms above, since nobody can tell."""
        return self.sink.dropped_by_interface

    def attach(self, held: Callable[[], Sequence[Any]]) -> None:
        """Nobody has to know."""

    def drop(self, packets: int) -> None:
        """They were given up with the end."""
        self._counters.dropped[Reason.SHUTDOWN] += packets

    def complete(self) -> None:
        """There is nothing to complete."""


class _Bare:
    """Takes receipts away: what goes onto an interface is counted there, and nobody
    asks whose it was."""

    def feed(self, item: Batch, now: Instant) -> Sequence[Batch]:
        """The same packets."""
        return (Batch(item.linktype, item.records, item.count),)


class Always:
    """Takes packets at any time."""

    def announce(self, linktype: int, now: Instant) -> None:
        """It does not matter."""

    def is_away(self) -> bool:
        """Never."""
        return False


class Receiver(Always):
    """Takes packets once it has answered our hello."""

    def __init__(self, sink: LinkSink) -> None:
        self._sink = sink

    def announce(self, linktype: int, now: Instant) -> None:
        """Now there is something to say hello for."""
        self._sink.announce(linktype)

    def is_away(self) -> bool:
        """It has not answered, or its link is down."""
        return not self._sink.is_up


class Reader(Always):
    """Takes packets once it has read the header of the file."""

    def __init__(self, sink: PipeSink) -> None:
        self._sink = sink

    def announce(self, linktype: int, now: Instant) -> None:
        """Now there is a header."""
        self._sink.offer(Batch(linktype, b"", 0), now)

    def is_away(self) -> bool:
        """There is no reader, or it has not read so far."""
        return self._sink.state is not State.OPEN


class Clients(Always):
    """A live stream waits for the first of them, and then for nobody."""

    def __init__(self, sink: BroadcastSink) -> None:
        self._sink = sink
        self._has_begun = False

    def is_away(self) -> bool:
        """There was none yet."""
        self._has_begun = self._has_begun or self._sink.clients > 0
        return not self._has_begun


def reached_by(sink: Sink[Any]) -> Output:
    """Who takes the packets that this sink is given."""
    if isinstance(sink, LinkSink):
        return Receiver(sink)
    if isinstance(sink, PipeSink):
        return Reader(sink)
    return Clients(sink) if isinstance(sink, BroadcastSink) else Always()
