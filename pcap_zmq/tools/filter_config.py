"""What pcap-zmq filter is told: what to read, what to keep, where it goes."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.out_names import ENDING as PLAIN_ENDING
from pcap_zmq.stages.sieve import Preparation
from pcap_zmq.tools.filter_asks import Asks
from pcap_zmq.tools.output_spec import DEFAULT, Kind, parse_output

FOLDER = "folder:"
_RECEIVERS = ("tcp://", "ipc://")


class Way(enum.Enum):
    """Where packets go."""

    FOLDER = "folder"
    """A file for each input and filter."""
    FILE = "file"
    """One savefile, there when it is whole."""
    STREAM = "stream"
    """Anything else that docs/outputs.md has, or a receiver."""


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """paths: files, folders, patterns, archives. output: as it is written. suffix: what
    files of folders end in. decap, dedup_ns, layer: see `Preparation`.
    workers: processes, for a folder; None: one a processor.
    compress: how files are; None: as their name says. is_plain: nothing is wanted of
    the output that only a stream has (a format, a link type). user: whom to become."""

    paths: tuple[str, ...]
    output: str
    asks: Asks = field(default_factory=Asks)
    decap: int | None = None
    dedup_ns: int | None = None
    layer: str = "any"
    asn_db: Path | None = None
    write_rules: Path | None = None
    suffix: str = ""
    workers: int | None = None
    compress: str | None = None
    nanoseconds: bool = True
    overwrite: bool = False
    is_plain: bool = True
    user: str | None = None

    @property
    def preparation(self) -> Preparation:
        """What is done with packets before filters see them."""
        return Preparation(self.decap, self.dedup_ns, self.layer)

    @property
    def folder(self) -> Path:
        """Of `Way.FOLDER`."""
        return Path(self.output.removeprefix(FOLDER))

    @property
    def file(self) -> Path:
        """Of `Way.FILE`."""
        return Path(parse_output(self.output).target)

    @property
    def target(self) -> Path | None:
        """What is written to at last, where that is something with a path."""
        if self.output.startswith((FOLDER, *_RECEIVERS)):
            return None
        spec = parse_output(self.output)
        return Path(spec.target) if spec.has_path else None

    @property
    def way(self) -> Way:
        """Looks whether a FIFO or a device lies there. Raises ConfigError for what is
        no OUTPUT."""
        if self.output.startswith(FOLDER):
            return Way.FOLDER
        if self.output.startswith(_RECEIVERS) or not self.is_plain:
            return Way.STREAM
        spec = parse_output(self.output)
        is_path = spec.kind in {Kind.PATH, Kind.FILE} and not spec.rotates
        if not is_path or spec != replace(DEFAULT, kind=spec.kind, target=spec.target):
            return Way.STREAM
        path = Path(spec.target)
        return Way.FILE if path.is_file() or not path.exists() else Way.STREAM

    @property
    def compression(self) -> str | None:
        """Of files."""
        if self.compress is not None or self.way is not Way.FILE:
            return self.compress
        if self.file.suffix in {"", PLAIN_ENDING}:
            return None
        return {ending: name for name, ending in _endings()}.get(self.file.suffix)

    @property
    def ending(self) -> str:
        """Of names of files, for how they are compressed."""
        kind = self.compression
        return "" if kind is None else dict(_endings())[kind]

    def check(self) -> None:
        """Raises ConfigError."""
        self.asks.check()
        if self.decap is not None:
            options.DECAP_DEPTH.check("--decap-depth", self.decap)
        if self.dedup_ns is not None:
            options.DEDUP_NS.check("--dedup (ns)", self.dedup_ns)
        if self.workers is not None:
            options.WORKERS.check("--workers", self.workers)
        if not self.output:
            if self.write_rules is None or self.paths:
                raise ConfigError("no OUTPUT: name a file, - or folder:DIR")
            return
        if not self.paths:
            raise ConfigError("no PATHS: name files, folders or patterns, then OUTPUT")
        way = self.way
        if self.compression is not None:
            # Whether its library is there.
            from pcap_zmq.formats.file_frames import frame_compressor

            frame_compressor(self.compression)
        if way is Way.FOLDER and not self.output.removeprefix(FOLDER):
            raise ConfigError("OUTPUT folder: names no folder")
        if way is Way.FOLDER and not self.is_plain:
            raise ConfigError(
                "--format and --linktype are not for folder:, which makes a pcap file "
                "for each link type"
            )
        if way is Way.STREAM and self.compress is not None:
            raise ConfigError(
                "--compress is for savefiles and folder:; for files that follow each "
                "other write OUTPUT as file:...,compress="
            )


def _endings() -> Iterable[tuple[str, str]]:
    # Here, since most files are not compressed.
    from pcap_zmq.formats.file_frames import ALL_ENDINGS

    return ALL_ENDINGS.items()
