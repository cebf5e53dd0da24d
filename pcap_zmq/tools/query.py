"""Fetches packets that a receiver has kept, as a savefile."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pcap_ffi import RecordsError, count_records
from pcap_zmq.errors import (
    ConfigError,
    OutputError,
    OutputPermissionError,
    TransportError,
    WireError,
)
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats import savefile
from pcap_zmq.formats.bpf import program_of
from pcap_zmq.formats.excerpt import (
    EVER_NS,
    Excerpt,
    Refusal,
    Wanted,
    decode_excerpt,
    encode_wanted,
)
from pcap_zmq.formats.inquiry import Kind
from pcap_zmq.packet import Octets
from pcap_zmq.poll import Stop
from pcap_zmq.tools.asker import Asker, AskerConfig
from pcap_zmq.tools.whole_file import check_free, create_part, part_of

_REFUSALS = {
    Refusal.NOT_YOURS: (
        "gives packets only to an operator's key: pcap-zmq keygen --role operator"
    ),
    Refusal.KEEPS_NOTHING: "keeps no packets: start it with --keep",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Since the epoch, or so long before now by the receiver's clock."""

    ns: int
    is_ago: bool = False


@dataclass(frozen=True, slots=True)
class QueryConfig:
    """Which packets, and where to. output: a path, or "-" for standard output. filter:
    in pcap-filter(7)'s language; empty: all."""

    asker: AskerConfig
    since: Moment = Moment(0)
    until: Moment = Moment(EVER_NS)
    filter: str = ""
    output: str = "-"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """Packets written; those that the receiver had forgotten by the time that they were
    asked for; those that one savefile cannot hold beside the others, since they are of
    another link type. is_whole: no signal came first."""

    packets: int = 0
    forgotten: int = 0
    others: int = 0
    is_whole: bool = False


class Query:
    """Raises ConfigError for what makes no sense."""

    def __init__(self, config: QueryConfig) -> None:
        self._config = config
        self._asker = Asker(config.asker)

    def run(self, stop: Stop) -> Fetched:
        """Fetches all, a part after the other. A file is there when it is whole. Raises
        ConfigError, OutputError, TransportError and WireError."""
        config = self._config
        with ExitStack() as opened:
            out = opened.enter_context(_opened(config.output, config.overwrite))
            asker = opened.enter_context(self._asker)
            stop.install()
            wanted = Wanted(
                config.since.ns,
                config.until.ns,
                is_from_ago=config.since.is_ago,
                is_until_ago=config.until.is_ago,
                is_probe=True,
            )
            there = self._ask(asker, wanted, stop)
            if there is None:
                return Fetched()
            linktype = linktypes.RAW if there.linktype is None else there.linktype
            out.write(
                savefile.encode_file_header(linktype, nanoseconds=there.nanoseconds)
            )
            wanted = replace(
                wanted,
                from_ns=there.from_ns,
                until_ns=there.until_ns,
                is_from_ago=False,
                is_until_ago=False,
                start=there.first,
                end=there.end,
                linktype=linktype,
                filter=program_of(config.filter, linktype) if config.filter else b"",
                is_probe=False,
            )
            fetched = self._fetch(asker, wanted, out, stop)
            if fetched.is_whole:
                out.finish()
            return fetched

    def _fetch(
        self, asker: Asker, wanted: Wanted, out: "_Output", stop: Stop
    ) -> Fetched:
        packets = forgotten = others = 0
        while wanted.start < wanted.end:
            part = self._ask(asker, wanted, stop)
            if part is None:
                return Fetched(packets, forgotten, others)
            if part.reached <= wanted.start:
                raise WireError("a receiver that goes back")
            _check(part)
            out.write(part.records)
            packets += part.count
            others += part.others
            forgotten += max(0, min(part.first, wanted.end) - wanted.start)
            wanted = replace(wanted, start=part.reached)
        return Fetched(packets, forgotten, others, is_whole=True)

    def _ask(self, asker: Asker, wanted: Wanted, stop: Stop) -> Excerpt | None:
        body = asker.ask(Kind.PACKETS, stop, encode_wanted(wanted))
        if body is None:
            return None
        excerpt = decode_excerpt(body)
        if excerpt.refusal is not None:
            raise TransportError(
                f"{self._config.asker.address} {_REFUSALS[excerpt.refusal]}"
            )
        return excerpt


def _check(part: Excerpt) -> None:
    try:
        count = count_records(part.records)
    except RecordsError as error:
        raise WireError(f"an answer that holds {error}") from error
    if count != part.count:
        raise WireError(f"{count} packets where {part.count} were declared")


class _Output:
    """Where the savefile goes. final: its name once it is whole; None: it has it."""

    def __init__(self, fd: int, name: str, final: Path | None) -> None:
        self._fd = fd
        self._name = name
        self._final = final

    def write(self, octets: Octets) -> None:
        """All of it."""
        rest = memoryview(octets)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            raise OutputError(f"{self._name}: {error.strerror}") from error

    def finish(self) -> None:
        """It is whole."""
        if self._final is not None:
            part_of(self._final).replace(self._final)


@contextmanager
def _opened(output: str, overwrite: bool) -> Iterator[_Output]:
    if output == "-":
        if sys.stdout is None or sys.stdout.isatty():
            raise ConfigError(
                "standard output is a terminal: redirect it, or name a file with "
                "--output"
            )
        yield _Output(sys.stdout.fileno(), "standard output", None)
        return
    path = Path(output)
    part = part_of(path)
    try:
        if not overwrite:
            check_free(path)
        if path.exists() and not path.is_file():
            raise ConfigError(
                f"{path} is no file; for a FIFO, redirect standard output"
            )
        fd = create_part(part, 0o600)
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be written: {error.strerror}"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield _Output(fd, output, path)
    finally:
        os.close(fd)
        part.unlink(missing_ok=True)
