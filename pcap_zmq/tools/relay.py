"""The relaying tool: any number of senders to one next hop, acknowledged through it."""

import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain

import zmq

from pcap_zmq import sockets
from pcap_zmq.answers import Answers
from pcap_zmq.clock import NS_PER_MS
from pcap_zmq.connections import Connections, make_room
from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.formats.codec import load_libraries
from pcap_zmq.formats.inquiry import Question
from pcap_zmq.formats.ledger import Line, total_of
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.relayed import Passed, Relayed
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.stream import Identity, Receipt, Stream
from pcap_zmq.formats.wire import Role, StreamId
from pcap_zmq.metrics.exporters import Exporters
from pcap_zmq.metrics.latency import Latency
from pcap_zmq.metrics.receiver import ReceiverObserver, ReceiverSources
from pcap_zmq.metrics.sender import SenderObserver, SenderSources
from pcap_zmq.packet import Instant
from pcap_zmq.pipeline import Pipeline, count_packets
from pcap_zmq.poll import Poller, Stop
from pcap_zmq.ports import Attendant
from pcap_zmq.privileges import drop_to
from pcap_zmq.sinks.link import CONNECTIONS_MAX, LinkSink
from pcap_zmq.sinks.spool import FileSpool
from pcap_zmq.sources.door import Door
from pcap_zmq.sources.link import LinkSource
from pcap_zmq.stages.recode import Recoder
from pcap_zmq.telemetry import ReceiverReport
from pcap_zmq.tools.doorway import open_door
from pcap_zmq.tools.relay_config import RelayConfig
from pcap_zmq.tools.relay_report import RelayReport
from pcap_zmq.tools.send import machine_id
from pcap_zmq.tools.tool import Tool

logger = logging.getLogger(__name__)

SUMS_NS = 100 * NS_PER_MS
"""The senders' terms are added up no more often than this."""

REST = 10
"""Nor more often than so many times what it took: of a thousand senders it takes some
ten milliseconds."""


class PassedOnSource(LinkSource):
    """What has arrived at the next hop, or is on our disk, is delivered for us."""

    def settle(self, receipt: object, now: Instant) -> None:
        """Counts its packets, and lets its sender forget it."""
        if isinstance(receipt, Passed):
            self._counters.count_written(receipt.receipt, receipt.packets)
            super().settle(receipt.receipt, now)


class Relay(Tool):
    """Runs until a signal asks for the end."""

    def __init__(self, config: RelayConfig) -> None:
        config.check()
        sockets.check_endpoint(config.address, bind=not config.connect)
        sockets.check_endpoint(config.endpoint, bind=config.bind)
        if config.status is not None:
            sockets.check_endpoint(config.status, bind=True)
        config.keys.check(config.address, config.status)
        config.next_keys.check(config.endpoint)
        super().__init__(config.exports, config.linger_ns, config.report_ns)
        self._config = config
        self._has_ended = False
        self._stop: Stop | None = None
        self._answers: Answers | None = None
        self._sums_until_ns = 0
        self.received = ReceiverCounters()
        self.sent = SenderCounters()
        # Before anything is open: it says which codecs and levels there are.
        self._recoder = Recoder(
            config.recoding,
            sender_of=lambda receipt: self._source.sender_of(receipt),
            blame=lambda receipt, why, now: self._source.blame(receipt, why, now),
            announce=lambda linktype: self._sink.announce(linktype),
            counters=self.received,
        )

    def _open(self, opened: ExitStack) -> None:
        config = self._config
        # While we may still read what only root may.
        own, credentials = config.keys.read(), config.next_keys.read()
        if config.user is not None:
            load_libraries()
        drop_to(config.user)
        self._spool = self._open_spool(opened)
        left = self._spool.left if self._spool else None
        self._relayed = Relayed(self.received, self.sent, left)
        context = opened.enter_context(sockets.new_context())
        # Before anything listens: ZeroMQ asks it who may come in.
        self._door = opened.enter_context(closing(self._open_door(context, own)))
        self._source = opened.enter_context(closing(self._open_source(context)))
        stream = StreamId(relay_id(config), self._clock.now().wall_ns)
        link = SenderLink(
            left.stream if left and left.stream else stream,
            config.name,
            None,
            config.send_queue,
            self.sent,
            self._encode_totals,
            self._spool,
            role=Role.RELAY,
            clock=self._clock.now,
        )
        self._sink = opened.enter_context(
            closing(
                LinkSink(
                    context,
                    config.endpoint,
                    bind=config.bind,
                    link=link,
                    counters=self.sent,
                    connections=(
                        Connections(make_room(CONNECTIONS_MAX), 0)
                        if config.bind
                        else None
                    ),
                    secure=credentials.secure if credentials else None,
                )
            )
        )
        self._pipeline = Pipeline(
            self._source,
            self._recoder,
            self._sink,
            drop=None,
            linger_ns=config.linger_ns,
            clock=self._clock,
            poller=Poller(),
        )
        # Whatever ends us: what memory holds goes to the disk, if there is one.
        opened.callback(self._sink.abandon)
        self._exporters = opened.enter_context(closing(self._open_exporters()))
        self._report = RelayReport(
            ReceiverReport(
                self.received,
                self._held_packets,
                lambda: self._ledger(self._clock.now()),
            ),
            self.sent,
            lambda: (self._sink.held_packets, self._sink.shelved_packets),
        )
        self._answers = Answers(
            address=self._source.address,
            output=f"relay to {self._sink.endpoint}",
            counters=self.received,
            held=self._held_packets,
            ledger=self._ledger,
            clock=self._clock,
        )

    def _attend(self, stop: Stop) -> Iterable[Attendant]:
        if self._config.keys.allow is not None:
            stop.heed_hangup()
            self._stop = stop
        # Only now: who reads it may send a signal, which is heeded from here on.
        logger.info(
            "listening on %s, relaying to %s", self._source.address, self._sink.endpoint
        )
        return [self._door]

    def _settle(self) -> None:
        # What is held of a sender that is still there it will send again.
        for stream, packets in list(self._held()):
            if stream is None or stream.has_left:
                self.received.count_dropped(stream, Reason.SHUTDOWN, packets)
        self._has_ended = True
        # Last, since a spool keeps the counters for the next run.
        self._sink.abandon()

    def _open_spool(self, opened: ExitStack) -> FileSpool | None:
        """After root is given up: its files are the user's."""
        if self._config.spool is None:
            return None
        spool = FileSpool(
            self._config.spool,
            size=self._config.spool_size,
            drops_oldest=self._config.spool_drops_oldest,
            counters=self.sent,
        )
        return opened.enter_context(closing(spool))

    def _open_source(self, context: zmq.Context[zmq.Socket[bytes]]) -> LinkSource:
        config = self._config
        return PassedOnSource(
            context,
            config.address,
            connect=config.connect,
            status=config.status,
            once=False,
            link=ReceiverLink(
                self._clock.now().wall_ns,
                config.receive_queue,
                self.received,
                self._clock.now,
            ),
            answer=self._answer,
            door=self._door,
            counters=self.received,
        )

    def _open_door(
        self, context: zmq.Context[zmq.Socket[bytes]], own: Certificate | None
    ) -> Door:
        config = self._config
        return open_door(
            context,
            own,
            keys=config.keys,
            max_connections=config.max_connections,
            allowance=config.receive_queue,
            hangup=lambda: self._stop is not None and self._stop.take_hangup(),
            counters=self.received,
        )

    def _open_exporters(self) -> Exporters:
        config = self._config
        of_receiver = ReceiverObserver(
            ReceiverSources(
                counters=self.received,
                libzmq=zmq.zmq_version(),
                held=self._held_packets,
                ledger=self._ledger,
                latency=Latency(self._clock, nanoseconds=True),
                queue_bytes=lambda: self._source.held_bytes,
                queue_limit=config.receive_queue,
                connections=lambda: self._door.connections,
                connections_limit=lambda: self._door.connections_max,
                has_reader=None,
            )
        )
        of_sender = SenderObserver(
            SenderSources(
                counters=self._relayed.told,
                libzmq=zmq.zmq_version(),
                held=self._held_altogether,
                rate=lambda _: 0.0,
                low_watermark=0,
                high_watermark=0,
                queue_bytes=lambda: self._sink.held_bytes,
                queue_limit=config.send_queue,
                spool_bytes=lambda: self._spool.used_bytes if self._spool else 0,
                spool_packets=lambda: self._sink.shelved_packets,
                spool_limit=config.spool_size if self._spool else 0,
                is_up=lambda: self._sink.is_up,
            )
        )
        return Exporters(
            config.exports,
            lambda now: (*of_receiver(now), *of_sender(now)),
            self._clock,
        )

    def _held(self) -> Iterator[tuple[Stream | None, int]]:
        """Packets that are in this process and on no disk, by whose they are."""
        items = chain(self._pipeline.held, self._source.held)
        held = ((item.receipt, item.count) for item in items)
        for receipt, packets in chain(self._sink.expected, held):
            whose = receipt.receipt if isinstance(receipt, Passed) else receipt
            if isinstance(whose, Receipt | Runs):
                yield from whose.left(packets)
            else:
                yield None, packets

    def _still_held(self) -> Iterator[tuple[Stream | None, int]]:
        """Without what was given up at the end: its sender will not send it again."""
        for stream, packets in self._held():
            if not self._has_ended or (stream is not None and not stream.has_left):
                yield stream, packets

    def _held_packets(self) -> int:
        return sum(packets for _, packets in self._still_held())

    def _ledger(self, now: Instant) -> Sequence[Line]:
        held: Counter[StreamId] = Counter()
        for stream, packets in self._still_held():
            if stream is not None:
                held[stream.key] += packets
        return self._source.lines(held, now)

    def _look(self) -> None:
        """Adds up the senders' terms, unless that was just done."""
        now = self._clock.now()
        if now.mono_ns < self._sums_until_ns:
            return
        self._relayed.look(total_of(self._ledger(now)))
        took_ns = self._clock.now().mono_ns - now.mono_ns
        self._sums_until_ns = now.mono_ns + max(SUMS_NS, REST * took_ns)

    def _held_here(self) -> int:
        """In memory and on the disk."""
        return (
            count_packets(self._source.held)
            + count_packets(self._pipeline.held)
            + self._sink.held_packets
        )

    def _held_altogether(self) -> int:
        self._look()
        return self._relayed.tell(self._held_here())

    def _encode_totals(self) -> bytes:
        self._look()
        return self._relayed.encode(self._held_here(), self._sink.shelved_packets)

    def _answer(self, question: Question, identity: Identity) -> bytes:
        if self._answers is None:
            raise AssertionError("asked before anything was open")
        return self._answers.answer(question, identity)


def relay_id(config: RelayConfig) -> bytes:
    """The same 16 octets whenever this relay starts on this host."""
    identity = f"{machine_id()}/{config.name}/relay {config.address}"
    return uuid.uuid5(uuid.NAMESPACE_OID, identity).bytes
