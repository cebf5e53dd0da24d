"""Counts the sender from its encoder on, uncompressed, to a peer that only listens.

No stretch waits for anybody: the window takes all that is offered in one, and the
acknowledgement has come when it is taken. The clock steps, so no time that passes
decides what is done. The tool's loop is not counted.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import zmq

from bench.instructions.parts import NOT_COUNTED, REPEATS, part
from bench.instructions.quiet import until_quiet
from bench.instructions.steps import Steps
from bench.instructions.traffic import LOADS
from pcap_zmq import sockets
from pcap_zmq.counters import SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.wire import MessageType, Reply, ReplyType, StreamId
from pcap_zmq.packet import Batch
from pcap_zmq.policy.shaper import Shaper
from pcap_zmq.poll import Poller
from pcap_zmq.sinks.link import LinkSink
from pcap_zmq.stages.encoder import Encoder
from pcap_zmq.units import NS_PER_MS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.instructions.traffic import Load

WINDOW = 1 << 30
"""Octets: more than all that is sent."""

PATIENCE_MS = 30_000


class Peer:
    """A receiver that takes everything and writes nothing."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, PATIENCE_MS)

    def welcome(self) -> None:
        """Awaits the hello, and answers it."""
        self._reply(ReplyType.WELCOME, *self._take())

    def acknowledge(self, batches: int) -> None:
        """Takes so many, and acknowledges them together."""
        taken = 0
        while taken < batches:
            peer, message = self._take()
            taken += message.type is MessageType.BATCH
        self._reply(ReplyType.ACK, peer, message)

    def _take(self) -> tuple[bytes, wire.Message]:
        peer, *frames = self._socket.recv_multipart()
        return peer, wire.decode_message([*frames])

    def _reply(self, kind: ReplyType, peer: bytes, message: wire.Message) -> None:
        written = message.sequence if kind is ReplyType.ACK else 0
        reply = Reply(kind, message.stream, written, written + 1, WINDOW, 1)
        self._socket.send_multipart([peer, wire.encode_reply(reply)])
        until_quiet()


class Sender:
    """The sender's parts, put together as its tool does. sink: see `LinkSink`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self.counters = SenderCounters()
        self._steps = Steps(NS_PER_MS)
        link = SenderLink(
            StreamId(bytes(16), 1), "bench", RAW, WINDOW, self.counters, self._totals
        )
        self._link = link
        self.sink = LinkSink(
            context, endpoint, bind=False, link=link, counters=self.counters
        )
        self._encoder = Encoder(Shaper(0, 0), Codec.NONE, None, self.counters)

    def _totals(self) -> bytes:
        return wire.encode_totals(self.counters, self._link.held_packets)

    def connect(self, peer: Peer) -> None:
        """Until the peer takes packets."""
        poller = Poller()
        while self._link.unanswered == 0:
            poller.wait(self.sink.watch(wanted=True), NS_PER_MS)
            self.sink.serve(self._steps.now())
        peer.welcome()
        self.serve()
        if not self.sink.is_up:
            raise AssertionError("no welcome")
        # So that the sink knows that its monitor has nothing more to say.
        poller.wait(self.sink.watch(wanted=True), 0)

    def offer(self, batch: Batch, times: int) -> None:
        """Sends it so many times."""
        for _ in range(times):
            now = self._steps.now()
            self.counters.received += batch.count
            for item in self._encoder.feed(batch, now):
                if not self.sink.offer(item, now):
                    raise AssertionError("the send queue is full")
        self.serve()

    def serve(self) -> None:
        """A turn of the sink."""
        self.sink.serve(self._steps.now())


def count(directory: Path) -> None:
    """All loads."""
    endpoint = f"ipc://{directory}/sending"
    with ExitStack() as opened:
        context = opened.enter_context(sockets.new_context())
        listening = opened.enter_context(context.socket(zmq.ROUTER))
        peer = Peer(listening)
        listening.bind(endpoint)
        sender = Sender(context, endpoint)
        opened.enter_context(closing(sender.sink))
        sender.connect(peer)
        for load in LOADS:
            for number in range(1 + REPEATS):
                _stretch(sender, peer, load, is_counted=number > 0)


def _stretch(sender: Sender, peer: Peer, load: Load, *, is_counted: bool) -> None:
    """Two parts: until all is sent, and the acknowledgement of all."""
    name = f"send {load.name}" if is_counted else NOT_COUNTED
    batch = Batch(RAW, load.records(), load.packets)
    until_quiet()
    part(NOT_COUNTED, 0)
    sender.offer(batch, load.batches)
    part(name, 0)
    peer.acknowledge(load.batches)
    part(NOT_COUNTED, 0)
    sender.serve()
    part(name, load.batches * load.packets)
    if sender.sink.held_packets:
        raise AssertionError(f"{sender.sink.held_packets} packets not acknowledged")
