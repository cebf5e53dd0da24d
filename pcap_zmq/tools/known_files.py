"""What was found out of capture files before: an index of `pcap-zmq map`, or what
GopherCap's map has written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq.errors import (
    ConfigError,
    FormatError,
    InputError,
    InputPermissionError,
)
from pcap_zmq.formats.capture_index import INDEX_MAX, Entry, decode_index

INDEX_SUFFIX = ".json"
"""Of an index among paths: no capture is called so."""


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """paths: the files that it names. entries: what is known of them, as far as it can
    be told whether they have changed since."""

    paths: tuple[str, ...] = ()
    entries: Sequence[Entry] = ()


def known_files(paths: Sequence[str], index: Path | None) -> KnownFiles:
    """What the paths name, where an index (*.json) stands for the files that it names;
    without paths what the index itself does. Raises what `read_known` does."""
    named: list[str] = []
    entries: list[Entry] = []
    if index is not None:
        known = read_known(index, "--map ")
        entries += known.entries
        named += () if paths else known.paths
    for path in paths:
        if path.endswith(INDEX_SUFFIX) and Path(path).is_file():
            known = read_known(Path(path))
            entries += known.entries
            named += known.paths
        else:
            named.append(path)
    return KnownFiles(_each_once(named), entries)


def read_known(path: Path, option: str = "") -> KnownFiles:
    """option: by which it was given, for messages. Raises ConfigError for a file that
    is neither, InputError and InputPermissionError."""
    try:
        if path.stat().st_size > INDEX_MAX:
            raise FormatError(f"more than {INDEX_MAX} octets")
        octets = path.read_bytes()
        try:
            entries = decode_index(octets)
        except FormatError:
            # Here, since hardly anybody has one.
            from pcap_zmq.formats.gophercap import decode_gophercap

            files = decode_gophercap(octets)
            return KnownFiles(_each_once(_source_of(file.path) for file in files))
    except FormatError as error:
        raise ConfigError(
            f"{option}{path} is neither an index of pcap-zmq map nor what GopherCap's "
            f"map writes: {error}"
        ) from error
    except PermissionError as error:
        raise InputPermissionError(
            f"{path} may not be read: {error.strerror}"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    full = [entry for entry in entries if entry.kind]
    return KnownFiles(_each_once(entry.source for entry in full), entries)


def _each_once(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


def _source_of(path: str) -> str:
    """The archive where it is a member of one, as our own map writes it."""
    archive, _, member = path.partition(":")
    is_inside = member and not Path(path).exists() and Path(archive).is_file()
    return archive if is_inside else path
