"""Files of lines as they lie there, plain or compressed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pcap_zmq.errors import ConfigError, ConfigPermissionError, FormatError
from pcap_zmq.formats.compressed import MAGIC_MAX, Undo, kind_of

CHUNK = 1 << 20

LINE_MAX = 16 << 20
"""Octets of a line: Suricata's longest, with payload and packets, are far below."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except ConfigError:
        # One of them is an error of the system's, too.
        raise
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    kind = ConfigPermissionError if isinstance(error, PermissionError) else ConfigError
    return kind(f"{path} cannot be read: {error.strerror}")


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Raises FormatError for what breaks, or has no lines."""
    rest = b""
    for piece in _pieces(file):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > LINE_MAX:
            raise FormatError(f"a line of more than {LINE_MAX >> 20} MiB")
    if rest:
        yield rest


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    beginning = file.read(CHUNK)
    kind = kind_of(beginning[:MAGIC_MAX])
    if kind is None:
        while beginning:
            yield beginning
            beginning = file.read(CHUNK)
        return
    undo = Undo(kind)
    while beginning:
        yield from undo.feed(beginning)
        beginning = file.read(CHUNK)
    if not undo.is_whole:
        raise FormatError(f"the {undo.name} data end in the middle")
