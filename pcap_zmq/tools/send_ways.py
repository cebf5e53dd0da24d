"""Opens the links of a sender that has several receivers, behind one sink."""

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

import zmq

from pcap_zmq.connections import Connections, make_room
from pcap_zmq.counters import SenderCounters
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.sinks.link import CONNECTIONS_MAX, LinkSink
from pcap_zmq.sinks.spread import Balance, Copies
from pcap_zmq.sinks.ways import Way
from pcap_zmq.tools.credentials import Credentials
from pcap_zmq.tools.send_config import SendConfig

Encode = Callable[[Batch, Instant], Iterable[EncodedBatch]]


def open_ways(
    context: zmq.Context[zmq.Socket[bytes]],
    config: SendConfig,
    stream: StreamId,
    linktype: int,
    *,
    credentials: Sequence[Credentials | None],
    counters: SenderCounters,
    before: Callable[[], int],
    encode: Encode,
    waits: bool,
    clock: Callable[[], Instant],
) -> Balance | Copies:
    """credentials: for each endpoint. counters: the sender's. before: packets that are
    in the sender and have not come to the sink. encode: makes payloads where flows are
    shared out. Raises what LinkSink does."""
    ways: list[Way] = []

    def totals_of(index: int) -> Callable[[], bytes]:
        return lambda: sink.encode_totals(index, before())

    with ExitStack() as opened:
        for index, endpoint in enumerate(config.endpoints):
            own = SenderCounters()
            link = SenderLink(
                _stream_to(stream, endpoint) if index else stream,
                config.name,
                linktype,
                config.send_queue,
                own,
                totals_of(index),
                clock=clock,
            )
            secret = credentials[index]
            way = LinkSink(
                context,
                endpoint,
                bind=config.bind,
                link=link,
                counters=own,
                connections=(
                    Connections(make_room(CONNECTIONS_MAX), 0) if config.bind else None
                ),
                secure=secret.secure if secret else None,
            )
            opened.callback(way.close)
            ways.append(Way(way, own, _number_of(endpoint)))
        sink: Balance | Copies
        if config.copy:
            sink = Copies(ways, counters, waits=waits, failover_ns=config.failover_ns)
        else:
            # Here, since only few share flows out.
            from flow_ffi import FlowSpread

            sink = Balance(
                ways,
                counters,
                waits=waits,
                failover_ns=config.failover_ns,
                # The same after a restart, so that flows stay where they are.
                flows=FlowSpread(
                    inner=config.balance_inner, seed=_seed_of(stream.sender)
                ),
                encode=encode,
            )
        opened.pop_all()
    return sink


def _stream_to(stream: StreamId, endpoint: str) -> StreamId:
    """Two endpoints may lead to one receiver, which shall tell the streams apart."""
    sender = uuid.uuid5(uuid.UUID(bytes=stream.sender), endpoint).bytes
    return StreamId(sender, stream.started_ns)


def _number_of(endpoint: str) -> int:
    """What stands for it, wherever in the list it is."""
    return int.from_bytes(hashlib.blake2b(endpoint.encode(), digest_size=8).digest())


def _seed_of(sender: bytes) -> int:
    digest = hashlib.blake2b(sender, digest_size=8, person=b"balance")
    return int.from_bytes(digest.digest())
