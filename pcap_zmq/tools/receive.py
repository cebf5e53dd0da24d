"""The receiving tool: any number of senders to one output, or several."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing

import zmq

from pcap_zmq import options, sockets
from pcap_zmq.answers import Answers
from pcap_zmq.counters import Reason, ReceiverCounters
from pcap_zmq.formats.certificate import Certificate
from pcap_zmq.formats.codec import load_libraries
from pcap_zmq.formats.inquiry import Question
from pcap_zmq.formats.ledger import Line
from pcap_zmq.formats.output_line import OutputLine
from pcap_zmq.formats.receiver_link import ReceiverLink
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Identity, Receipt, Stream
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.metrics.exporters import Exporters
from pcap_zmq.metrics.latency import Latency
from pcap_zmq.metrics.receiver import ReceiverObserver, ReceiverSources
from pcap_zmq.packet import Batch, Instant
from pcap_zmq.pipeline import Pipeline
from pcap_zmq.poll import Poller, Stop
from pcap_zmq.ports import Attendant, Stage
from pcap_zmq.privileges import drop_to
from pcap_zmq.sinks.branch import Branch, Output
from pcap_zmq.sinks.outputs import Outputs
from pcap_zmq.sinks.pipe import PipeSink, State
from pcap_zmq.sources.door import Door
from pcap_zmq.sources.link import LinkSource
from pcap_zmq.stages.chain import as_one
from pcap_zmq.stages.decoder import Decoder
from pcap_zmq.stages.mend import Mend
from pcap_zmq.stages.reorder import Reorder
from pcap_zmq.stages.ring import Ring
from pcap_zmq.telemetry import ReceiverReport
from pcap_zmq.tools.doorway import open_door
from pcap_zmq.tools.output import (
    Common,
    load_modules,
    open_outputs,
    open_sink,
    relink_for,
)
from pcap_zmq.tools.receive_config import ReceiveConfig
from pcap_zmq.tools.tool import Tool

logger = logging.getLogger(__name__)


class Receive(Tool):
    """Runs until a signal asks for the end or, once, every sender has left. Raises
    OutputError where the output takes no more for good."""

    def __init__(self, config: ReceiveConfig) -> None:
        config.check()
        sockets.check_endpoint(config.address, bind=not config.connect)
        if config.status is not None:
            sockets.check_endpoint(config.status, bind=True)
        config.keys.check(config.address, config.status)
        super().__init__(config.exports, config.linger_ns, config.report_ns)
        self._config = config
        self._has_ended = False
        self._answers: Answers | None = None
        self._stop: Stop | None = None
        self._branches: Sequence[Branch] = ()
        self.counters = ReceiverCounters()

    def _open(self, opened: ExitStack) -> None:
        config = self._config
        # While we may still read what only root may.
        own = config.keys.read()
        if config.user is not None:
            load_libraries()
        load_modules(config.outputs, balances=config.balance)
        # Nothing from here on takes a capability, and a FIFO that could not be replaced
        # later shall be refused now.
        drop_to(config.user)
        latency = Latency(self._clock, nanoseconds=config.nanoseconds)
        delivered = latency.delivered if config.exports.are_wanted else None
        self._sink = opened.enter_context(closing(self._open_sink(delivered)))
        context = opened.enter_context(sockets.new_context())
        # Before anything listens: ZeroMQ asks it who may come in.
        self._door = opened.enter_context(closing(self._open_door(context, own)))
        self._source = opened.enter_context(closing(self._open_source(context)))
        decoder = Decoder(
            None,
            config.nanoseconds,
            self._source.sender_of,
            self.counters,
            self._source.blame,
            any_linktype=True,
        )
        self._ring = self._make_ring()
        self._pipeline = Pipeline(
            self._source,
            as_one([decoder, *self._stages()]),
            self._sink,
            drop=None,
            linger_ns=config.linger_ns,
            clock=self._clock,
            poller=Poller(),
            delivered=None if self._branches else delivered,
        )
        self._exporters = opened.enter_context(closing(self._open_exporters(latency)))
        self._report = ReceiverReport(
            self.counters,
            self._held_packets,
            lambda: self._ledger(self._clock.now()),
            self._output_lines,
        )
        self._answers = Answers(
            address=self._source.address,
            output=", ".join(spec.name for spec in config.outputs),
            counters=self.counters,
            held=self._held_packets,
            ledger=self._ledger,
            clock=self._clock,
            ring=self._ring,
            outputs=self._output_lines,
        )

    def _attend(self, stop: Stop) -> Iterable[Attendant]:
        if self._config.keys.allow is not None:
            stop.heed_hangup()
            self._stop = stop
        # Only now: who reads it may send a signal, which is heeded from here on.
        logger.info("listening on %s", self._source.address)
        return [self._door]

    def _settle(self) -> None:
        # What is held of a sender that is still there it will send again.
        for stream, packets in self._held():
            if stream is None or stream.has_left:
                self.counters.count_dropped(stream, Reason.SHUTDOWN, packets)
        self._has_ended = True

    def _open_sink(self, delivered: Callable[[Batch], None] | None) -> Output | Outputs:
        """One output that nobody else waits for is the sink itself."""
        config = self._config
        common = Common(
            counters=self.counters,
            nanoseconds=config.nanoseconds,
            overwrite=config.overwrite,
            insecure=config.keys.insecure,
            ledger=lambda: self._ledger(self._clock.now()),
            sender_of=lambda receipt: self._source.sender_of(receipt),
            delivered=delivered,
        )
        if len(config.outputs) == 1 and not config.outputs[0].drops:
            return open_sink(config.outputs[0], common, self.counters)
        outputs = open_outputs(
            config.outputs,
            common,
            balances=config.balance,
            inner=config.balance_inner,
        )
        self._branches = outputs.branches
        return outputs

    def _output_lines(self) -> Sequence[OutputLine]:
        return [branch.line for branch in self._branches]

    def _open_source(self, context: zmq.Context[zmq.Socket[bytes]]) -> LinkSource:
        config = self._config
        link = ReceiverLink(
            self._clock.now().wall_ns,
            config.receive_queue,
            self.counters,
            self._clock.now,
        )
        return LinkSource(
            context,
            config.address,
            connect=config.connect,
            status=config.status,
            once=config.once,
            link=link,
            answer=self._answer,
            door=self._door,
            counters=self.counters,
        )

    def _stages(self) -> Iterator[Stage[Batch, Batch]]:
        """What was asked for, in the order of flow."""
        config = self._config
        if config.reorder_ns:
            yield Reorder(
                config.reorder_ns,
                config.receive_queue // options.REORDER_SHARE,
                nanoseconds=config.nanoseconds,
                counters=self.counters,
            )
        if config.fix_checksums or config.segment_mtu is not None:
            yield Mend(
                fix=config.fix_checksums,
                mtu=config.segment_mtu,
                counters=self.counters,
            )
        if self._ring is not None:
            yield self._ring
        if not self._branches:
            relink = relink_for(
                config.outputs[0], self.counters, self._source.sender_of
            )
            if relink is not None:
                yield relink

    def _make_ring(self) -> Ring | None:
        keep = self._config.keep
        if keep is None:
            return None
        return Ring(keep.nbytes, keep.age_ns, nanoseconds=self._config.nanoseconds)

    def _open_exporters(self, latency: Latency) -> Exporters:
        sink = self._sink
        sources = ReceiverSources(
            counters=self.counters,
            libzmq=zmq.zmq_version(),
            held=self._held_packets,
            ledger=self._ledger,
            latency=latency,
            queue_bytes=lambda: self._source.held_bytes,
            queue_limit=self._config.receive_queue,
            connections=lambda: self._door.connections,
            connections_limit=lambda: self._door.connections_max,
            has_reader=(
                (lambda: sink.state is not State.ABSENT)
                if isinstance(sink, PipeSink)
                else None
            ),
            outputs=self._output_lines,
        )
        observer = ReceiverObserver(sources)
        return Exporters(self._config.exports, observer, self._clock)

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
            hangup=self._hangup,
            counters=self.counters,
        )

    def _hangup(self) -> bool:
        return self._stop is not None and self._stop.take_hangup()

    def _held(self) -> Iterator[tuple[Stream | None, int]]:
        """Packets that are in this process, by whose they are."""
        for item in (*self._sink.held, *self._pipeline.held, *self._source.held):
            if isinstance(item.receipt, Receipt | Runs):
                yield from item.receipt.left(item.count)
            else:
                yield None, item.count

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

    def _answer(self, question: Question, identity: Identity) -> bytes:
        if self._answers is None:
            raise AssertionError("asked before anything was open")
        return self._answers.answer(question, identity)
