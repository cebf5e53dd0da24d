"""Senders of any name, and batches of theirs with the receipts that a receiver's link
gives them; no network."""

from collections.abc import Iterable

from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Identity, Receipt
from pcap_zmq.formats.wire import Message, MessageType, StreamId, encode_totals
from pcap_zmq.packet import Batch, Instant, Packet
from tests.support.records import RAW, records_of

NS_PER_S = 1_000_000_000
STARTED_NS = 1_700_000_000 * NS_PER_S


class Gateway:
    """One run of one sender."""

    def __init__(self, link: ReceiverLink, name: str, number: int, run: int) -> None:
        self.name = name
        self.counters = SenderCounters()
        self._link = link
        self._peer = f"{name} {number} {run}".encode()
        self._stream = StreamId(number.to_bytes(16), STARTED_NS + run)
        self._next = 1
        self._say(MessageType.HELLO, payload=name.encode())

    def sends(
        self,
        packets: list[Packet],
        *,
        linktype: int = RAW,
        records: bytes | None = None,
    ) -> Batch:
        """The next batch, as it comes to an output."""
        octets = records_of(packets) if records is None else records
        batch = self._say(
            MessageType.BATCH,
            linktype=linktype,
            count=len(packets),
            raw_length=len(octets),
            payload=octets,
        )
        assert batch is not None
        self._next += 1
        return Batch(linktype, octets, len(packets), batch.receipt)

    def loses(self, packets: int, reason: Reason | None = None) -> None:
        """Before it sends the next batch. reason: None where the kernel lost them."""
        if reason is None:
            self.counters.missed += packets
        else:
            self.counters.received += packets
            self.counters.dropped[reason] += packets

    def _say(self, kind: MessageType, **fields: object) -> Batch | None:
        count = fields.get("count", 0)
        assert isinstance(count, int)
        self.counters.received += count
        message = Message(
            kind,
            self._stream,
            self._next,
            codec=Codec.NONE,
            totals=encode_totals(self.counters, held=self._held),
            **fields,  # type: ignore[arg-type]
        )
        identity = Identity(address="192.0.2.7")
        taken: Batch | None = self._link.receive(self._peer, message, 1, identity)  # type: ignore[assignment]
        return taken

    @property
    def _held(self) -> int:
        """Nothing here acknowledges."""
        return self.counters.received - self.counters.dropped.total()


class Gateways:
    """A receiver's link, and the senders that have said hello to it."""

    def __init__(self) -> None:
        self.counters = ReceiverCounters()
        self.link = ReceiverLink(7, 1 << 40, self.counters)
        self._numbers: dict[str, int] = {}
        self._runs = 0

    def start(self, name: str) -> Gateway:
        """Another run where one of this name has been."""
        number = self._numbers.setdefault(name, len(self._numbers) + 1)
        self._runs += 1
        gateway = Gateway(self.link, name, number, self._runs)
        # So that it may send as much as it likes.
        list(self.link.outgoing(1))
        return gateway

    def lines(self) -> list[Line]:
        """The ledger."""
        return self.link.lines({}, Instant(2, STARTED_NS + 100 * NS_PER_S))


def merged(batches: Iterable[Batch], order: Iterable[tuple[int, Packet]]) -> Batch:
    """Packets of several batches in another order: which batch, and which packet."""
    parts = []
    for batch in batches:
        assert isinstance(batch.receipt, Receipt)
        parts.append(batch.receipt.parts()[0])
    packets = list(order)
    runs = Runs.of((parts[at], 1) for at, _ in packets)
    octets = records_of([packet for _, packet in packets])
    return Batch(RAW, octets, len(packets), runs)
