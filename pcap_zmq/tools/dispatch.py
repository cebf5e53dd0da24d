"""Makes one stream of queued capture files, while somebody says which may go."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq import __version__
from pcap_zmq.agenda.naming import whole
from pcap_zmq.agenda.port import Agenda, Verdict
from pcap_zmq.agenda.queue import QueueAgenda
from pcap_zmq.agenda.terminal import TerminalAgenda
from pcap_zmq.captures.inputs import find_captures, size_of
from pcap_zmq.control_socket import ControlSocket
from pcap_zmq.disk.checkpoint import Checkpoint
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats import control
from pcap_zmq.formats.checkpoint import NO_LINK, Link
from pcap_zmq.formats.wire import StreamId
from pcap_zmq.poll import Stop
from pcap_zmq.ports import Attendant
from pcap_zmq.sources.dispatch import DispatchSource, Opened
from pcap_zmq.sources.dispatched import BATCH_BYTES, AsOne, OneFile, Times
from pcap_zmq.tools.dispatch_orders import Orders
from pcap_zmq.tools.dispatch_watch import Watching
from pcap_zmq.tools.file_tool import FileTool, FileToolConfig, Progress
from pcap_zmq.tools.output_spec import Kind
from pcap_zmq.tools.redis_config import RedisConfig
from pcap_zmq.tools.way_out import Earlier

APPROVE = ("auto", "ask", "control")
"""Who says what may go: nobody has to; somebody at the terminal; somebody on the
control socket."""


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    """paths: files, patterns, folders; what is queued at the beginning. approve: one of
    APPROVE. control: where its socket is. watch: folders, or patterns of names in one.
    stay: an empty queue is no end. merge: what is queued together is put in order by
    time. redis: where files and permissions come from instead."""

    tool: FileToolConfig
    paths: tuple[str, ...] = ()
    approve: str = "auto"
    control: Path | None = None
    watch: tuple[str, ...] = ()
    stay: bool = False
    checkpoint: Path | None = None
    resume: bool = False
    merge: bool = False
    redis: RedisConfig | None = None

    @property
    def can_end(self) -> bool:
        """By itself, without anybody's word."""
        asks_nobody = self.approve == "auto" and self.redis is None
        return asks_nobody and not self.stay and not self.watch

    def check(self) -> None:
        """Raises ConfigError."""
        if self.redis is not None:
            self._check_redis(self.redis)
            return
        if self.approve == "control" and self.control is None:
            raise ConfigError("--approve control needs a socket: --control PATH")
        if self.stay and self.control is None and not self.watch:
            raise ConfigError("--stay waits for what nobody can add: --control PATH")
        if self.resume and self.checkpoint is None:
            raise ConfigError("--resume needs to know what was: --checkpoint FILE")
        if self.merge and self.watch:
            raise ConfigError(
                "--merge puts in order what is there; with --watch more may come that "
                "is older"
            )
        self._check_sources()

    def _check_redis(self, redis: RedisConfig) -> None:
        redis.check()
        elsewhere = {
            "PATHS": self.paths and f"queue them there ({redis.queue})",
            "--watch": self.watch and f"queue files there ({redis.queue})",
            "--approve": self.approve != "auto" and "PCAPDJ_AUTH says what may go",
            "--merge": self.merge and "it gives one file at a time",
        }
        for option, why in elsewhere.items():
            if why:
                raise ConfigError(f"{option} and --redis do not go together: {why}")
        if self.resume and self.checkpoint is None:
            raise ConfigError("--resume needs to know what was: --checkpoint FILE")

    def _check_sources(self) -> None:
        if "-" in self.paths:
            raise ConfigError(
                "PATHS: standard input cannot be queued, nor read again; give it to "
                "pcap-zmq replay --topspeed - OUTPUT"
            )
        can_come = self.watch or self.stay or self.resume
        if not self.paths and not can_come:
            raise ConfigError(
                "no PATHS: name files, folders or patterns, or a folder to watch "
                "(--watch)"
            )


class Dispatch(FileTool):
    """Raises ConfigError for what makes no sense."""

    identity = "dispatch"

    def __init__(
        self, config: DispatchConfig, progress: Progress | None = None
    ) -> None:
        config.check()
        super().__init__(config.tool, progress if config.can_end else None)
        self._config = config
        # What another run is to go on with stays; what never ends is never whole.
        is_endless = config.stay or bool(config.watch)
        self.is_whole = config.checkpoint is None and not is_endless

    def _prepare(self, opened: ExitStack) -> None:
        config = self._config
        self._checkpoint = opened.enter_context(
            closing(Checkpoint(config.checkpoint, resume=config.resume))
        )
        self._check_earlier()

    def _check_earlier(self) -> None:
        """Raises ConfigError where an earlier run cannot be gone on with like this."""
        config, memory = self._config, self._checkpoint.memory
        plays = memory.plays.values()
        if not config.merge and any(len(play.paths) > 1 for play in plays):
            raise ConfigError(
                f"--checkpoint {config.checkpoint} is of a dispatch with --merge: say "
                "that again"
            )
        way_out = config.tool.way_out
        if way_out.is_receiver or not (plays or memory.items):
            return
        spec = way_out.spec
        path = Path(spec.target)
        is_file = spec.kind in {Kind.PATH, Kind.FILE} and not spec.rotates
        if is_file and path.is_file() and size_of(path):
            raise ConfigError(
                f"OUTPUT {path} holds what was written before --resume: give the rest "
                "another name, or a name with the time in it (%s)"
            )

    def _begin_stream(self, goes_on: bool) -> None:
        """goes_on: the batches that come first are those that an earlier run had sent
        last, so that a receiver can tell which of them it has."""
        link, slot = self._checkpoint.memory.link, self._checkpoint.memory.slot
        if goes_on and link is not None:
            stream = StreamId(bytes.fromhex(link.sender), link.started_ns)
            earlier = Earlier(stream, slot.batches, slot.packets)
            if link == _link_of(stream) and self._way.go_on(earlier):
                return
        own = self._way.stream
        self._checkpoint.begin_link(NO_LINK if own is None else _link_of(own))

    def _inputs(self) -> Sequence[str]:
        return self._config.paths

    def _open_source(self, opened: ExitStack) -> DispatchSource:
        config = self._config
        self._agenda = opened.enter_context(closing(self._open_agenda()))
        self._times = Times(self.counters)
        self._dispatching = DispatchSource(
            self._agenda,
            self._checkpoint,
            self._open_packets,
            self.counters,
            self._begin_stream,
            together=config.merge,
        )
        self._attendants: list[Attendant] = []
        if config.control is not None:
            orders = Orders(self._agenda, self._dispatching, self.numbers)
            socket = ControlSocket(config.control, orders.answer, control.LINE_MAX)
            self._attendants.append(opened.enter_context(closing(socket)))
        if isinstance(self._agenda, QueueAgenda):
            for place in config.watch:
                watching = Watching(
                    place, self._agenda, self._dispatching, self._checkpoint
                )
                self._attendants.append(opened.enter_context(closing(watching)))
        return self._dispatching

    def _open_agenda(self) -> Agenda:
        config = self._config
        if config.redis is not None:
            return config.redis.open(stays=config.stay)
        stays = config.stay or bool(config.watch)
        agenda: QueueAgenda
        if config.approve == "ask":
            agenda = TerminalAgenda(
                self._checkpoint, lambda: self._stop.set(), stays=stays
            )
        else:
            default = Verdict.ALLOW if config.approve == "auto" else None
            agenda = QueueAgenda(self._checkpoint, default, stays=stays)
        known = {item.path for item in agenda.listed()}
        found = [str(whole(path)) for path in find_captures(config.paths)]
        new = [path for path in found if path not in known]
        agenda.add(new)
        if not self._config.merge:
            self.passed.total += sum(size_of(Path(path)) for path in new)
        return agenda

    def _open_packets(self, paths: Sequence[str], packets: int, octets: int) -> Opened:
        sent = packets, octets
        if self._config.merge:
            return AsOne(paths, sent, self.counters, self.trouble, self.passed)
        is_named_elsewhere = self._config.redis is not None
        return OneFile(
            paths[0],
            sent,
            self._times,
            self.trouble,
            self.passed,
            regular=is_named_elsewhere,
        )

    def _attend(self, stop: Stop) -> Sequence[Attendant]:
        return [*super()._attend(stop), *self._attendants]

    def _settle(self) -> None:
        try:
            super()._settle()
        finally:
            self._dispatching.leave(self._clock.now())

    def _more(self) -> Mapping[str, object]:
        queued = self._agenda.queued()
        return {} if queued is None else {"queued": queued}


def _link_of(stream: StreamId) -> Link:
    return Link(stream.sender.hex(), stream.started_ns, BATCH_BYTES, __version__)
