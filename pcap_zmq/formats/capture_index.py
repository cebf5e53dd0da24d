"""What is known of many capture files: as JSON of our own, and as CSV.

Specification: docs/map.md.
"""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from pcap_zmq.errors import FormatError
from pcap_zmq.units import NS_PER_S

VERSION = 1
"""Of our JSON."""

_LIST_SEPARATOR = " "

INDEX_MAX = 1 << 30
"""Octets of an index that is read."""

NUMBER_MAX = (1 << 64) - 1
"""Beyond it nobody has counted."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One capture file. Times are in nanoseconds since the epoch, sizes in octets; what
    is only known of files with packets is 0 elsewhere."""

    path: str
    """Of a member of an archive: ARCHIVE:MEMBER."""
    source: str
    """The file that it is, or is in."""
    source_size: int
    source_mtime_ns: int
    """By these the index knows whether the file has changed."""
    file_size: int = 0
    kind: str = ""
    """pcap, pcapng; "" where it is neither."""
    linktypes: tuple[int, ...] = ()
    snaplen: int = 0
    packets: int = 0
    octets: int = 0
    """Captured."""
    octets_on_wire: int = 0
    largest: int = 0
    """Octets captured of the largest packet."""
    truncated: int = 0
    """Packets of which less was captured."""
    backwards: int = 0
    """Packets that are before the one before them."""
    without_time: int = 0
    first_ns: int = 0
    last_ns: int = 0
    """The earliest and the latest time."""
    rates_start_ns: int = 0
    rates_span_ns: int = 0
    rates_packets: tuple[int, ...] = ()
    rates_octets: tuple[int, ...] = ()
    """How much passed in each span of time."""
    sha256: str = ""
    """Of the file's octets."""
    broken_at: int | None = None
    """Where the file breaks, in its octets or, if it is compressed, in those that come
    out; None: it does not."""
    broken_why: str = ""

    @property
    def duration_ns(self) -> int:
        return self.last_ns - self.first_ns

    @property
    def packets_per_s(self) -> float:
        """On average; 0 where no time passes."""
        return self.packets * NS_PER_S / self.duration_ns if self.duration_ns else 0.0

    @property
    def octets_per_s(self) -> float:
        """Of the wire."""
        if not self.duration_ns:
            return 0.0
        return self.octets_on_wire * NS_PER_S / self.duration_ns

    @property
    def most_packets_per_s(self) -> float:
        """In the span with the most."""
        if not self.rates_span_ns:
            return 0.0
        return max(self.rates_packets, default=0) * NS_PER_S / self.rates_span_ns


_FIELDS = {field.name: field for field in fields(Entry)}
_NUMBERS = frozenset(
    name for name, field in _FIELDS.items() if field.type in (int, "int")
)
_TUPLES = frozenset({"linktypes", "rates_packets", "rates_octets"})


def encode_index(entries: Iterable[Entry]) -> str:
    """Our JSON, an entry a line."""
    # Not asdict: it copies every number.
    encode = json.JSONEncoder(separators=(",", ":")).encode
    lines = ",\n".join(
        encode({name: getattr(entry, name) for name in _FIELDS}) for entry in entries
    )
    return f'{{"version":{VERSION},"files":[\n{lines}\n]}}\n'


def decode_index(octets: bytes) -> list[Entry]:
    """Raises FormatError for what is no index of ours."""
    try:
        read = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise FormatError("no JSON") from error
    if not isinstance(read, dict) or read.get("version") != VERSION:
        raise FormatError(f"no index of version {VERSION}")
    files = read.get("files")
    if not isinstance(files, list):
        raise FormatError("an index without files")
    return [_entry_of(item) for item in files]


def _entry_of(item: Any) -> Entry:
    if not isinstance(item, dict) or not set(item) <= set(_FIELDS):
        raise FormatError("an entry with other fields")
    for name, value in item.items():
        if not _fits(name, value):
            raise FormatError(f"an entry whose {name} is {value!r:.40}")
    values: dict[str, Any] = {
        name: tuple(value) if name in _TUPLES else value for name, value in item.items()
    }
    try:
        return Entry(**values)
    except TypeError as error:
        raise FormatError("an entry without its path, size or time") from error


def _fits(name: str, value: Any) -> bool:
    if name in _TUPLES:
        return isinstance(value, list) and all(_is_number(each) for each in value)
    if name == "broken_at":
        return value is None or _is_number(value)
    return _is_number(value) if name in _NUMBERS else isinstance(value, str)


def _is_number(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and 0 <= value <= NUMBER_MAX


class _Lines(list[str]):
    """What a writer of CSV writes to."""

    def write(self, line: str, /) -> None:
        self.append(line)


def encode_csv(entries: Iterable[Entry]) -> str:
    """A line an entry, without the rates over time; lists with spaces between."""
    names = [name for name in _FIELDS if not name.startswith("rates_")]
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*names, "packets_per_s", "octets_per_s", "most_packets_per_s"])
    for entry in entries:
        values = [getattr(entry, name) for name in names]
        cells = [
            _LIST_SEPARATOR.join(map(str, value)) if isinstance(value, tuple) else value
            for value in values
        ]
        rates = entry.packets_per_s, entry.octets_per_s, entry.most_packets_per_s
        writer.writerow([*cells, *(f"{rate:.3f}" for rate in rates)])
    return "".join(lines)
