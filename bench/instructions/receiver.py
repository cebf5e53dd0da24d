"""Counts the receiver from its socket to its output, uncompressed.

No stretch waits for anybody: all that is taken in one has arrived before it begins, and
the output is the null device. The clock steps, so no time that passes decides what is
done. The tool's loop is not counted.
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
from pcap_zmq.connections import Connections
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.file_format import Pcap
from pcap_zmq.formats.link import ACK_NS
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.wire import Message, MessageType, StreamId
from pcap_zmq.pipeline import ITEMS_A_TURN
from pcap_zmq.sinks.savefile import SavefileSink
from pcap_zmq.sources.door import Door
from pcap_zmq.sources.link import LinkSource
from pcap_zmq.stages.decoder import Decoder
from pcap_zmq.units import NS_PER_MS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.instructions.traffic import Load

QUEUE = 1 << 28
"""Octets: more than all that is taken in a stretch."""

STEP_NS = 10 * NS_PER_MS
"""A turn; longer than the source rests after something came."""

TURNS_MAX = 1_000


class Peer:
    """A sender that sends what it is told to."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._stream = StreamId(bytes(16), 1)
        self._sent = self._logged = self._window = 0

    def greet(self) -> None:
        """Says hello."""
        self._say(Message(MessageType.HELLO, self._stream, 1, linktype=RAW))
        until_quiet()

    def send(self, load: Load) -> None:
        """A stretch of batches; returns when all have arrived."""
        records = load.records()
        for _ in range(load.batches):
            self._sent += 1
            self._logged += load.packets
            self._say(
                Message(
                    MessageType.BATCH,
                    self._stream,
                    self._sent,
                    window=self._window,
                    linktype=RAW,
                    count=load.packets,
                    codec=Codec.NONE,
                    raw_length=len(records),
                    totals=self._logged.to_bytes(8) + wire.NO_TOTALS[8:],
                    payload=records,
                )
            )
        until_quiet()

    def hear(self) -> None:
        """Takes the replies. AssertionError unless all that was sent is written."""
        until_quiet()
        written = -1
        while sockets.has_message(self._socket):
            reply = wire.decode_reply([*self._socket.recv_multipart()])
            self._window, written = reply.window, reply.written
        if written != self._sent:
            raise AssertionError(f"{written} of {self._sent} batches acknowledged")

    def _say(self, message: Message) -> None:
        self._socket.send_multipart(wire.encode_message(message))


class Receiver:
    """The receiver's parts, put together as its tool does."""

    def __init__(
        self, opened: ExitStack, context: zmq.Context[zmq.Socket[bytes]], address: str
    ) -> None:
        self._steps = Steps(STEP_NS)
        counters = ReceiverCounters()
        sink = SavefileSink(
            "/dev/null", linktype=None, file_format=Pcap(), overwrite=True,
            counters=counters,
        )  # fmt: skip
        self._sink = opened.enter_context(closing(sink))
        door = Door(
            context, own=None, allowed=None, connections=Connections(100, QUEUE),
            hangup=lambda: False, counters=counters,
        )  # fmt: skip
        opened.enter_context(closing(door))
        self._door = door
        source = LinkSource(
            context, address, connect=False, once=False,
            link=ReceiverLink(1, QUEUE, counters), answer=lambda *_: b"", door=door,
            counters=counters,
        )  # fmt: skip
        self._source = opened.enter_context(closing(source))
        self._decoder = Decoder(None, True, source.sender_of, counters, source.blame)
        self._counters = counters

    def attend(self) -> None:
        """A turn of the door, which the tool's loop grants now and then."""
        self._door.serve(self._steps.now())

    def turn(self, later_ns: int = 0) -> None:
        """As the tool's loop does one."""
        now = self._steps.now(later_ns)
        self._source.serve(now)
        self._sink.serve(now)
        for _ in range(ITEMS_A_TURN):
            item = self._source.read(now)
            if item is None:
                return
            for batch in self._decoder.feed(item, now):
                if not self._sink.offer(batch, now):
                    raise AssertionError("the output takes no more")
                if batch.receipt is not None:
                    self._source.settle(batch.receipt, now)

    def write(self, packets: int) -> int:
        """Until so many more are written, and acknowledged; returns how many turns that
        took."""
        wanted, turns = self._counters.written + packets, 0
        while self._counters.written < wanted:
            self.turn()
            turns += 1
            if turns > TURNS_MAX:
                raise AssertionError(f"{wanted - self._counters.written} have not come")
        # By now no acknowledgement waits for company any more.
        self.turn(ACK_NS)
        return turns


def count(directory: Path) -> None:
    """All loads."""
    endpoint = f"ipc://{directory}/receiving"
    with ExitStack() as opened:
        context = opened.enter_context(sockets.new_context())
        receiver = Receiver(opened, context, endpoint)
        sending = opened.enter_context(context.socket(zmq.DEALER))
        peer = Peer(sending)
        sending.connect(endpoint)
        peer.greet()
        receiver.attend()
        receiver.turn()
        peer.hear()
        for load in LOADS:
            turns = [
                _stretch(receiver, peer, load, is_counted=number > 0)
                for number in range(1 + REPEATS)
            ]
            if len({*turns}) > 1:
                raise AssertionError(f"{load.name}: {turns} turns")


def _stretch(receiver: Receiver, peer: Peer, load: Load, *, is_counted: bool) -> int:
    """From all that has arrived to all that is written; returns the turns."""
    packets = load.batches * load.packets
    receiver.attend()
    peer.send(load)
    part(NOT_COUNTED, 0)
    turns = receiver.write(packets)
    part(f"receive {load.name}" if is_counted else NOT_COUNTED, packets)
    peer.hear()
    return turns
