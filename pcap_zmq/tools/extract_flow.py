"""The packets of one event's flow, out of capture files, into one stream."""

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.captures.flow_log import FlowLog
from pcap_zmq.clock import utc_ns
from pcap_zmq.errors import (
    ConfigError,
    ConfigPermissionError,
    FormatError,
    NotFoundError,
)
from pcap_zmq.formats.eve_event import EVENT_MAX, EveEvent, decode_event
from pcap_zmq.sources.files import FilesSource
from pcap_zmq.tools.file_tool import FileSource, FileTool, FileToolConfig, Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FlowConfig:
    """paths: files, folders, patterns. event: an event of Suricata as JSON, a file that
    holds one, or - for standard input. idle_ns: when nothing has come of the flow for
    so long, it has ended."""

    paths: tuple[str, ...]
    event: str
    idle_ns: int = options.FLOW_IDLE_NS.default

    def check(self) -> None:
        """Raises ConfigError."""
        if not self.paths:
            raise ConfigError("no PATHS: name files, folders or patterns, then OUTPUT")
        options.FLOW_IDLE_NS.check("--idle (ns)", self.idle_ns)


class ExtractFlow(FileTool):
    """Reads the event at once. Raises ConfigError for what makes no sense,
    ConfigPermissionError."""

    identity = "extract"
    is_whole = True

    def __init__(
        self,
        config: FlowConfig,
        file_config: FileToolConfig,
        progress: Progress | None = None,
    ) -> None:
        config.check()
        super().__init__(file_config, progress)
        self._config = config
        self._event = read_event(config.event)
        way = file_config.way_out
        self._target: Path | None = None
        if not way.is_receiver and way.spec.has_path:
            # It may lie in the folder from an earlier run.
            self._target = Path(way.spec.target)

    def _inputs(self) -> Sequence[str]:
        # In a folder OUTPUT may lie from an earlier run, and is left out.
        return [path for path in self._config.paths if not Path(path).is_dir()]

    def _open_source(self, opened: ExitStack) -> FileSource:
        self._log = FlowLog(
            self._config.paths,
            self._event,
            self._config.idle_ns,
            self.trouble,
            warn=logger.warning,
            passed=self.passed,
            leave_out=self._target,
        )
        return FilesSource(self._log.batches(), self.counters)

    def _settle(self) -> None:
        self.counters.files = self._log.files
        is_at_end = self._source.failure is None and not self._stop.is_set
        if is_at_end and not self.counters.read:
            raise NotFoundError(
                f"no packet of the event's flow among {self._log.looked_through} in "
                f"{self._log.files} files"
            )
        super()._settle()

    def _more(self) -> Mapping[str, object]:
        return {"looked through": self._log.looked_through}


def read_event(text: str) -> EveEvent:
    """text: as of FlowConfig. Raises ConfigError and ConfigPermissionError."""
    name = "--event"
    try:
        if text.lstrip().startswith("{"):
            octets = text.encode(errors="surrogateescape")
        elif text == "-":
            name = "standard input"
            octets = sys.stdin.buffer.read(EVENT_MAX + 1)
        else:
            name = f"--event {text}"
            with Path(text).open("rb") as file:
                octets = file.read(EVENT_MAX + 1)
        if len(octets) > EVENT_MAX:
            raise FormatError(f"more than {EVENT_MAX} octets, and one event is wanted")
        return decode_event(octets, utc_ns)
    except FormatError as error:
        raise ConfigError(f"{name}: {error}") from error
    except PermissionError as error:
        raise ConfigPermissionError(
            f"{name} may not be read: {error.strerror}"
        ) from error
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error
