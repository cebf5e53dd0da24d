"""Where the packets of a command that reads files go: an output, or a receiver.

Specification: docs/outputs.md has what OUTPUT means; tcp:// and ipc:// are receivers.
Files can wait, so nothing is dropped for a slow reader or receiver.
"""

import os
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pcap_zmq import options, sockets
from pcap_zmq.captures.inputs import find
from pcap_zmq.clock import SystemClock
from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.codec import Codec
from pcap_zmq.formats.file_part import file_of
from pcap_zmq.formats.sender_link import SenderLink
from pcap_zmq.formats.wire import StreamId, encode_totals
from pcap_zmq.packet import Batch, EncodedBatch, Instant
from pcap_zmq.pipeline import count_packets
from pcap_zmq.policy.shaper import Shaper
from pcap_zmq.ports import Sink, Stage
from pcap_zmq.sinks.link import LinkSink
from pcap_zmq.stages.encoder import Encoder
from pcap_zmq.tools.credentials import ClientKeys, Credentials
from pcap_zmq.tools.output import Common, load_modules, open_sink, relink_for
from pcap_zmq.tools.output_spec import DEFAULT, Kind, OutputSpec, parse_output
from pcap_zmq.tools.send import machine_id
from pcap_zmq.tools.whole_file import check_free, create_part, is_same, part_of

ENDPOINTS = ("tcp://", "ipc://")

Held = Callable[[], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """Where an earlier run of a stream to a receiver was: what had been acknowledged.
    The batches that follow have to be what they were then."""

    stream: StreamId
    batches: int
    packets: int


@dataclass(frozen=True, slots=True)
class WayOutConfig:
    """output: OUTPUT, as it is written. defaults: what holds where it says nothing.
    name: what a receiver calls us."""

    output: str
    defaults: OutputSpec = DEFAULT
    nanoseconds: bool = False
    overwrite: bool = False
    keys: ClientKeys = field(default_factory=ClientKeys)
    codec: Codec = Codec.ZLIB
    level: int | None = None
    send_queue: int = options.SEND_QUEUE.default
    name: str = field(default_factory=socket.gethostname)

    @property
    def is_receiver(self) -> bool:
        """Whether it is at the other end of a link."""
        return self.output.startswith(ENDPOINTS)

    @property
    def spec(self) -> OutputSpec:
        """What it means where it is an output. Raises ConfigError."""
        return parse_output(self.output, self.defaults)

    def check(self) -> None:
        """Raises ConfigError."""
        options.SEND_QUEUE.check("--send-queue", self.send_queue)
        if self.is_receiver:
            sockets.check_endpoint(self.output, bind=False)
            self.keys.check(self.output)
            if not self.name:
                raise ConfigError("--name is empty")
        elif self.spec.drops:
            raise ConfigError(
                f"OUTPUT {self.output!r}: when-slow=drop is for what cannot wait; "
                "files can"
            )


class WayOut(Protocol):
    """Opened. `attach` comes before the pipeline runs."""

    @property
    def sink(self) -> Sink[Any]:
        """What the pipeline ends in."""

    @property
    def stages(self) -> Sequence[Stage[Any, Any]]:
        """What comes right before it."""

    @property
    def needs_all(self) -> bool:
        """An end before the last packet leaves nothing behind."""

    @property
    def stream(self) -> StreamId | None:
        """What a receiver knows ours by; None: it goes to none."""

    @property
    def delivered(self) -> int:
        """Packets that have arrived."""

    @property
    def dropped(self) -> Counter[Reason]:
        """Packets that never will."""

    @property
    def held_packets(self) -> int:
        """Packets in the sink."""

    def go_on(self, earlier: Earlier) -> bool:
        """With the stream of an earlier run, before the first batch; False: it went
        elsewhere."""

    def attach(self, held: Held) -> None:
        """held: items between the source and the sink."""

    def drop(self, packets: int) -> None:
        """They were given up with the end."""

    def complete(self) -> None:
        """All has been written: an output that was to be there when it is whole is."""


def check_apart(config: WayOutConfig, paths: Sequence[str]) -> None:
    """paths: what is read. Raises ConfigError where OUTPUT is one of these files, and
    InputError for a path that names nothing."""
    if config.is_receiver or not config.spec.has_path:
        return
    target = Path(config.spec.target)
    if any(is_same(path, target) for path in find(paths)):
        raise ConfigError(
            f"{target} is one of the inputs: name another file for OUTPUT"
        )


def load(config: WayOutConfig) -> Credentials | None:
    """What may not be read any more when privileges are gone."""
    if config.is_receiver:
        return config.keys.read()
    load_modules([config.spec], balances=False)
    return None


def open_way_out(
    config: WayOutConfig,
    opened: ExitStack,
    *,
    credentials: Credentials | None,
    identity: str,
    is_whole: bool,
) -> WayOut:
    """credentials: from `load`. identity: what tells this stream from others of this
    host, at a receiver. is_whole: a savefile is there under its name only when it is
    whole. Raises ConfigError, OutputError, OutputPermissionError and TransportError."""
    if config.is_receiver:
        return _ToReceiver(config, opened, credentials, identity)
    return _ToOutput(config, opened, is_whole=is_whole)


class _Count:
    """Counts what goes out."""

    def __init__(self, counters: SenderCounters | ReceiverCounters) -> None:
        self._counters = counters

    def feed(self, item: Batch, now: Instant) -> Sequence[Batch]:
        """The batch as it is."""
        self._counters.received += item.count
        return (item,)


class _ToReceiver:
    needs_all = False

    def __init__(
        self,
        config: WayOutConfig,
        opened: ExitStack,
        credentials: Credentials | None,
        identity: str,
    ) -> None:
        clock = SystemClock()
        self._counters = counters = SenderCounters()
        self._held: Held = tuple
        shaper = Shaper(options.LOW_WATERMARK.default, 0)
        encoder = Encoder(shaper, config.codec, config.level, counters)
        self.stages: Sequence[Stage[Any, Any]] = (_Count(counters), encoder)
        name = f"{machine_id()}/{config.name}/{identity}/{config.output}"
        sender = uuid.uuid5(uuid.NAMESPACE_OID, name).bytes
        self.stream = StreamId(sender, clock.now().wall_ns)
        self._before = 0
        self._link = SenderLink(
            self.stream,
            config.name,
            None,
            config.send_queue,
            counters,
            self._totals,
            clock=clock.now,
        )
        context = opened.enter_context(sockets.new_context())
        self.sink: LinkSink = LinkSink(
            context,
            config.output,
            bind=False,
            link=self._link,
            counters=counters,
            connections=None,
            secure=credentials.secure if credentials else None,
        )
        opened.callback(self.sink.close)
        opened.callback(self.sink.abandon)

    @property
    def delivered(self) -> int:
        return self._counters.acknowledged - self._before

    @property
    def dropped(self) -> Counter[Reason]:
        return self._counters.dropped

    @property
    def held_packets(self) -> int:
        return self.sink.held_packets

    def go_on(self, earlier: Earlier) -> bool:
        if earlier.stream.sender != self.stream.sender:
            return False
        self.stream = earlier.stream
        self._link.go_on(earlier.stream, earlier.batches + 1)
        self._before = earlier.packets
        self._counters.received += earlier.packets
        self._counters.acknowledged += earlier.packets
        return True

    def attach(self, held: Held) -> None:
        self._held = held

    def drop(self, packets: int) -> None:
        self._counters.dropped[Reason.SHUTDOWN] += packets

    def complete(self) -> None:
        pass

    def _totals(self) -> bytes:
        # What has not been counted yet is nobody's.
        counted = (item for item in self._held() if isinstance(item, EncodedBatch))
        held = count_packets(counted) + self.sink.held_packets
        return encode_totals(self._counters, held, 0)


class _ToOutput:
    stream = None

    def __init__(
        self, config: WayOutConfig, opened: ExitStack, *, is_whole: bool
    ) -> None:
        self._counters = counters = ReceiverCounters()
        spec = config.spec
        self._final: Path | None = None
        if is_whole and _is_file(spec):
            self._final = Path(spec.target)
            if not config.overwrite and _holds_something(self._final):
                check_free(self._final)
            if not self._final.parent.is_dir():
                raise OutputError(
                    f"{self._final} cannot be written: no folder is above it"
                )
            part = part_of(self._final)
            opened.callback(part.unlink, missing_ok=True)
            _make_part(part, self._final)
            spec = replace(spec, target=str(part))
        common = Common(
            counters=counters,
            nanoseconds=config.nanoseconds,
            overwrite=config.overwrite or self._final is not None,
            insecure=config.keys.insecure,
            ledger=tuple,
            sender_of=file_of,
            delivered=None,
        )
        self.sink = self._output = open_sink(spec, common, counters)
        opened.callback(self.sink.close)
        relink = relink_for(spec, counters, common.sender_of)
        count = _Count(counters)
        self.stages: Sequence[Stage[Any, Any]] = (
            (count,) if relink is None else (count, relink)
        )

    @property
    def delivered(self) -> int:
        return self._counters.written

    @property
    def dropped(self) -> Counter[Reason]:
        return self._counters.dropped

    @property
    def needs_all(self) -> bool:
        return self._final is not None

    @property
    def held_packets(self) -> int:
        return count_packets(self._output.held)

    def go_on(self, earlier: Earlier) -> bool:
        return False

    def attach(self, held: Held) -> None:
        pass

    def drop(self, packets: int) -> None:
        self._counters.dropped[Reason.SHUTDOWN] += packets

    def complete(self) -> None:
        if self._final is None:
            return
        part = part_of(self._final)
        if not part.stat().st_size:
            # Of no packets: it is a capture nevertheless, which others can open.
            now = SystemClock().now()
            self.sink.offer(Batch(linktypes.ETHERNET, b"", 0), now)
        self.sink.close()
        part.replace(self._final)


def _make_part(part: Path, path: Path) -> None:
    """Now, so that nobody else's is written to."""
    try:
        os.close(create_part(part, 0o600))
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be written: {error.strerror}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _is_file(spec: OutputSpec) -> bool:
    """One that is written from its beginning to its end."""
    if spec.kind not in {Kind.PATH, Kind.FILE} or spec.rotates:
        return False
    path = Path(spec.target)
    try:
        return path.is_file() or not path.exists()
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be written: {error.strerror}; run as a user who may "
            "(--user)"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _holds_something(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
