"""Sends packets through the sender's own stage, by a clock of their own."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pcap_zmq import options
from pcap_zmq.counters import SenderCounters
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.linktype import RAW
from pcap_zmq.formats.savefile import encode_packet, iter_packets
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.policy.shaper import Shaper
from pcap_zmq.policy.shed import How, Shedding
from pcap_zmq.stages.encoder import Encoder
from pcap_zmq.stages.shed import FlowKeeper, HeadKeeper, Shed
from pcap_zmq.units import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pcap_zmq.packet import EncodedBatch, Packet

BATCH_NS = 8 * NS_PER_MS
"""What a sender under load gathers: docs/architecture.md."""


def octets_of(packets: Iterable[Packet]) -> int:
    """As packet records."""
    return sum(len(encode_packet(packet)) for packet in packets)


class Gateway:
    """A sender that drops above `high` octets per second."""

    def __init__(self, how: How, high: int) -> None:
        self.counters = SenderCounters()
        self._shed = None
        if how is How.PACKET:
            self._encoder = Encoder(Shaper(0, high), Codec.NONE, None, self.counters)
            return
        self._encoder = Encoder(Shaper(0, 0), Codec.NONE, None, self.counters)
        keeper = (
            HeadKeeper(options.FLOW_TABLE.default) if how is How.TAIL else FlowKeeper()
        )
        self._shed = Shed(Shedding(high), keeper, self.counters)

    def kept(self, packets: Sequence[Packet]) -> list[Packet]:
        """Those that are left, when each comes at its time."""
        kept: list[Packet] = []
        for _, group in groupby(packets, lambda packet: packet.ts_ns // BATCH_NS):
            gathered = list(group)
            now = Instant(gathered[-1].ts_ns, gathered[-1].ts_ns)
            records = b"".join(map(encode_packet, gathered))
            for item in self._feed(Batch(RAW, records, len(gathered)), now):
                kept.extend(iter_packets(item.payload))
        dropped = self.counters.dropped.total()
        if len(kept) + dropped != len(packets):
            raise AssertionError(f"{len(kept)} kept and {dropped} dropped")
        return kept

    def _feed(self, batch: Batch, now: Instant) -> list[EncodedBatch]:
        left = [batch] if self._shed is None else self._shed.feed(batch, now)
        return [item for one in left for item in self._encoder.feed(one, now)]
