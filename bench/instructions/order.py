"""Counts what putting packets of several senders in order adds for each: --reorder."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import partial

from bench.instructions.parts import stretches
from bench.instructions.traffic import SIZES, fitting, ipv4, record
from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.wire import Clocks, Message, MessageType, StreamId
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.stages.reorder import Reorder
from pcap_zmq.units import NS_PER_MS, NS_PER_S

QUEUE = 1 << 30
"""Octets: nothing has to go before its time."""

WINDOW_NS = 100 * NS_PER_MS
WALL_NS = 1_700_000_000 * NS_PER_S
"""Long before the present; the packets are of then."""

SENDERS = 2
ROUNDS = 4
SMALL_ROUNDS = 100

_NANOSECONDS = struct.Struct("<I")


class Merging:
    """Some senders, whose batches come by turns."""

    def __init__(self, batches: list[tuple[bytes, int]]) -> None:
        self._batches = batches
        self._now_ns = 1_000 * NS_PER_S
        counters = ReceiverCounters()
        self._link = ReceiverLink(1, QUEUE, counters)
        self._stage = Reorder(WINDOW_NS, QUEUE, nanoseconds=True, counters=counters)
        self._sent = 0
        # A hello, and twice the word that the window is known.
        for kind in (MessageType.HELLO, MessageType.HEARTBEAT, MessageType.HEARTBEAT):
            for number in range(SENDERS):
                self._say(number, Message(kind, StreamId(bytes(16), number + 1), 1))
            list(self._link.outgoing(self._now_ns))
        now = self._now()
        for stream in self._link.streams.values():
            # The clocks are right, and known to be.
            stream.clock.said(now.mono_ns)
            stream.clock.compare(Clocks(now.wall_ns, now.mono_ns, 0), now.mono_ns)

    def _say(self, number: int, message: Message) -> EncodedBatch | None:
        peer = bytes([number])
        if message.type is not MessageType.HELLO:
            (stream,) = (s for s in self._link.streams.values() if s.peer == peer)
            message = replace(message, window=stream.lane.window)
        return self._link.receive(peer, message, self._now_ns)

    def _now(self) -> Instant:
        return Instant(self._now_ns, WALL_NS + self._now_ns)

    def come(self) -> list[tuple[bytes, int, object]]:
        """A batch of each sender, with its receipt."""
        self._sent += 1
        came = []
        for number, (records, packets) in enumerate(self._batches):
            message = Message(
                MessageType.BATCH, StreamId(bytes(16), number + 1), self._sent,
                linktype=RAW, count=packets, codec=Codec.NONE,
                raw_length=len(records), payload=records,
            )  # fmt: skip
            batch = self._say(number, message)
            if batch is None:
                raise AssertionError("a batch was not taken")
            came.append((records, packets, batch.receipt))
        return came

    def merge(self, rounds: list[list[tuple[bytes, int, object]]]) -> None:
        """In and out again."""
        expected = given = 0
        for came in rounds:
            now = self._now()
            for records, packets, receipt in came:
                list(self._stage.feed(Batch(RAW, records, packets, receipt), now))
                expected += packets
        self._now_ns += WINDOW_NS
        now = self._now()
        while self._stage.due() is not None:
            for batch in self._stage.flush(now):
                given += batch.count
                self._link.written(batch.receipt, self._now_ns)
        if given != expected:
            raise AssertionError(f"{given} of {expected} packets")


def _batch(size: int, packets: int, first_ns: int, step_ns: int) -> bytes:
    records = []
    for number in range(packets):
        octets = bytearray(record(ipv4(size), 0))
        _NANOSECONDS.pack_into(octets, 4, first_ns + number * step_ns)
        records.append(bytes(octets))
    return b"".join(records)


def count() -> None:
    """Packets that come by turns, long batches that do not overlap, and small ones."""
    for size in SIZES:
        packets = fitting(size)
        batches = [
            (_batch(size, packets, sender * 5_000, 10_000), packets)
            for sender in range(SENDERS)
        ]
        _count(f"reorder {size}, by turns", batches, ROUNDS)
    packets = fitting(200)
    apart = [
        (_batch(200, packets, sender * 500_000_000, 1_000), packets)
        for sender in range(SENDERS)
    ]
    # The same batches again would lie between each other.
    _count("reorder 200, apart", apart, 1)
    small = [(_batch(200, 2, sender * 5_000, 10_000), 2) for sender in range(SENDERS)]
    _count("reorder 200, two a batch", small, SMALL_ROUNDS)


def _count(name: str, batches: list[tuple[bytes, int]], rounds: int) -> None:
    merging = Merging(batches)
    packets = rounds * sum(packets for _, packets in batches)
    # What makes the batches come is not counted: they come beforehand.
    waiting = [[merging.come() for _ in range(rounds)] for _ in range(8)]
    stretches(name, packets, partial(_merge_next, merging, waiting))


def _merge_next(
    merging: Merging, waiting: list[list[list[tuple[bytes, int, object]]]]
) -> None:
    merging.merge(waiting.pop())
