"""The sending tool: NFLOG groups or a savefile to one receiver."""

import logging
import uuid
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import zmq

from pcap_zmq import sockets
from pcap_zmq.connections import Connections, make_room
from pcap_zmq.counters import Reason, SenderCounters
from pcap_zmq.formats import wire
from pcap_zmq.formats.codec import load_libraries
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.spool_state import carry_over
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.metrics.exporters import Exporters
from pcap_zmq.metrics.sender import SenderObserver, SenderSources
from pcap_zmq.packet import Batch, EncodedBatch
from pcap_zmq.pipeline import Pipeline, count_packets
from pcap_zmq.policy.shaper import Shaper
from pcap_zmq.policy.shed import How, Shedding
from pcap_zmq.poll import Poller
from pcap_zmq.ports import Stage
from pcap_zmq.privileges import drop_to
from pcap_zmq.sinks.link import CONNECTIONS_MAX, LinkSink
from pcap_zmq.sinks.spool import FileSpool
from pcap_zmq.sinks.spread import Balance, Copies
from pcap_zmq.sources.nflog import NflogSource
from pcap_zmq.sources.savefile import SavefileSource, open_input
from pcap_zmq.stages.chain import Through, as_one
from pcap_zmq.stages.echo import Echo
from pcap_zmq.stages.encoder import Encoder
from pcap_zmq.stages.mend import Mend
from pcap_zmq.stages.shed import FlowKeeper, HeadKeeper, Shed
from pcap_zmq.telemetry import SenderReport
from pcap_zmq.tools.send_config import SavefileOptions, SendConfig
from pcap_zmq.tools.send_ways import open_ways
from pcap_zmq.tools.tool import Tool

logger = logging.getLogger(__name__)

MACHINE_ID = Path("/etc/machine-id")


class Send(Tool):
    """Runs until the source ends or a signal asks for the end. What was read from a
    file before something went wrong is delivered first."""

    def __init__(self, config: SendConfig) -> None:
        config.check()
        for endpoint, keys in zip(config.endpoints, config.keys_of_all, strict=True):
            sockets.check_endpoint(endpoint, bind=config.bind)
            keys.check(endpoint)
        super().__init__(config.exports, config.linger_ns, config.report_ns)
        self._config = config
        self._waits = isinstance(config.source, SavefileOptions)
        self._has_ended = False
        self.counters = SenderCounters()
        # A file waits, so nothing of it has to be dropped.
        self._high_watermark = 0 if self._waits else config.high_watermark
        self._shedding = self._shedding_of(config)
        self._shaper = Shaper(
            config.low_watermark, 0 if self._shedding else self._high_watermark
        )
        self._encoder = Encoder(
            self._shaper,
            config.codec,
            config.level,
            self.counters,
        )

    def _open(self, opened: ExitStack) -> None:
        # With the rights and the modules that another user may not read.
        self._credentials = [keys.read() for keys in self._config.keys_of_all]
        if self._config.others:
            # What compresses what moves to another receiver, too.
            load_libraries()
            import flow_ffi  # noqa: F401
        self._sender_id = sender_id(self._config)
        self._source = opened.enter_context(closing(self._open_source()))
        self._spool = self._open_spool(opened)
        context = opened.enter_context(sockets.new_context())
        self._sink = opened.enter_context(
            closing(self._open_links(context, self._source.linktype))
        )
        for warning in self._source.warnings:
            logger.warning("%s", warning)
        self._pipeline = Pipeline(
            self._source,
            self._stages(),
            self._sink,
            drop=None if self._waits else self._drop,
            linger_ns=self._config.linger_ns,
            clock=self._clock,
            poller=Poller(),
        )
        # Whatever ends us: what memory holds goes to the disk, if there is one.
        opened.callback(self._sink.abandon)
        self._exporters = opened.enter_context(closing(self._open_exporters()))
        self._report = SenderReport(self.counters, self._held_packets)

    def _settle(self) -> None:
        left = self._source.held_packets + count_packets(self._pipeline.held)
        self.counters.dropped[Reason.SHUTDOWN] += left
        self._has_ended = True
        # Last, since a spool keeps the counters for the next run.
        self._sink.abandon()
        if self._source.failure is not None:
            raise self._source.failure

    def _open_source(self) -> NflogSource | SavefileSource:
        """Opens what may take rights, then gives them all up: before a savefile or
        ZeroMQ starts a thread, since each thread has rights of its own."""
        config = self._config
        if isinstance(config.source, SavefileOptions):
            fd = open_input(config.source.path)
            drop_to(config.user)
            return SavefileSource(
                config.source.path,
                fd,
                batch_bytes=config.batch_bytes,
                batch_age_ns=config.batch_age_ns,
                counters=self.counters,
            )
        source = NflogSource(
            config.source.groups,
            batch_bytes=config.batch_bytes,
            batch_age_ns=config.batch_age_ns,
            snaplen=config.source.snaplen,
            nlbufsiz=config.source.nlbufsiz,
            qthreshold=config.source.qthreshold,
            qtimeout_cs=config.source.qtimeout_cs,
            rcvbuf=config.source.rcvbuf,
            linktype=config.source.linktype,
            counters=self.counters,
        )
        with ExitStack() as opened:
            opened.enter_context(closing(source))
            drop_to(config.user)
            opened.pop_all()
        return source

    def _open_links(
        self, context: zmq.Context[zmq.Socket[bytes]], linktype: int
    ) -> LinkSink | Balance | Copies:
        if not self._config.others:
            return self._open_sink(context, linktype)
        return open_ways(
            context,
            self._config,
            StreamId(self._sender_id, self._clock.now().wall_ns),
            linktype,
            credentials=self._credentials,
            counters=self.counters,
            before=self._held_before,
            encode=self._encoder.feed,
            waits=self._waits,
            clock=self._clock.now,
        )

    def _open_sink(
        self, context: zmq.Context[zmq.Socket[bytes]], linktype: int
    ) -> LinkSink:
        config = self._config
        (credentials,) = self._credentials
        stream = StreamId(self._sender_id, self._clock.now().wall_ns)
        if self._spool is not None and self._spool.left is not None:
            stream = self._spool.left.stream or stream
            carry_over(self.counters, self._spool.left)
        link = SenderLink(
            stream,
            config.name,
            linktype,
            config.send_queue,
            self.counters,
            self._encode_totals,
            self._spool,
            clock=self._clock.now,
        )
        return LinkSink(
            context,
            config.endpoint,
            bind=config.bind,
            link=link,
            counters=self.counters,
            connections=(
                Connections(make_room(CONNECTIONS_MAX), 0) if config.bind else None
            ),
            secure=credentials.secure if credentials else None,
        )

    def _open_spool(self, opened: ExitStack) -> FileSpool | None:
        """After root is given up: its files are the user's."""
        if self._config.spool is None:
            return None
        spool = FileSpool(
            self._config.spool,
            size=self._config.spool_size,
            drops_oldest=self._config.spool_drops_oldest,
            counters=self.counters,
        )
        return opened.enter_context(closing(spool))

    def _open_exporters(self) -> Exporters:
        sources = SenderSources(
            counters=self.counters,
            libzmq=zmq.zmq_version(),
            held=self._held_packets,
            # What comes in, before any of it is shed.
            rate=(self._shedding or self._shaper).bytes_per_s,
            low_watermark=self._config.low_watermark,
            high_watermark=self._high_watermark,
            queue_bytes=lambda: self._sink.held_bytes,
            queue_limit=self._config.send_queue * len(self._config.endpoints),
            spool_bytes=lambda: self._spool.used_bytes if self._spool else 0,
            spool_packets=lambda: self._sink.shelved_packets,
            spool_limit=self._config.spool_size if self._spool else 0,
            is_up=lambda: self._sink.is_up,
        )
        observer = SenderObserver(sources)
        return Exporters(self._config.exports, observer, self._clock)

    def _stages(self) -> Stage[Batch, EncodedBatch]:
        config = self._config
        stages: list[Stage[Any, Any]] = []
        # A savefile does not hold what we are sending.
        if not self._waits:
            stages.append(
                Echo(self._sink.own_ends, self._sink.endpoint, is_listening=config.bind)
            )
        if self._shedding is not None:
            # First, so that nothing is done for what is not kept.
            keeper = (
                HeadKeeper(config.flow_table)
                if config.shed is How.TAIL
                else FlowKeeper()
            )
            stages.append(Shed(self._shedding, keeper, self.counters))
        if config.fix_checksums or config.segment_mtu is not None:
            stages.append(
                Mend(
                    fix=config.fix_checksums,
                    mtu=config.segment_mtu,
                    counters=self.counters,
                )
            )
        if config.others and config.balance:
            # What is shared out is encoded part by part.
            return as_one([*stages, Through()])
        return as_one([*stages, self._encoder])

    def _shedding_of(self, config: SendConfig) -> Shedding | None:
        """None: whole batches are dropped, by the shaper, or nothing is."""
        if not self._high_watermark or config.shed is How.PACKET:
            return None
        return Shedding(self._high_watermark)

    def _encode_totals(self) -> bytes:
        # What is held first: looking for it brings the counters up to date.
        held = self._held_packets()
        return wire.encode_totals(self.counters, held, self._sink.shelved_packets)

    def _held_packets(self) -> int:
        return self._held_before() + self._sink.held_packets

    def _held_before(self) -> int:
        """Packets that have not come to the sink."""
        if self._has_ended:
            return 0
        return self._source.held_packets + count_packets(self._pipeline.held)

    def _drop(self, item: EncodedBatch) -> None:
        reason = Reason.SPOOL_FULL if self._spool else Reason.SEND_QUEUE_FULL
        self.counters.dropped[reason] += item.count


def sender_id(config: SendConfig) -> bytes:
    """The same 16 octets whenever this sender starts on this host; new ones for what is
    on standard input, of which there may be several at a time."""
    if config.source == SavefileOptions("-"):
        return uuid.uuid4().bytes
    identity = f"{machine_id()}/{config.name}/{config.source}"
    return uuid.uuid5(uuid.NAMESPACE_OID, identity).bytes


def machine_id() -> str:
    """What tells this host from all others."""
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return f"{uuid.getnode():012x}"
