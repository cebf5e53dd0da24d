"""What is known of many capture files, as GopherCap writes and reads it.

Specification: docs/map.md. One line of JSON: the set's `beginning` and `end`, and for
each of its `files` names, numbers and times, these as RFC 3339 has them and as Go does.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pcap_zmq.errors import FormatError
from pcap_zmq.formats.capture_index import NUMBER_MAX, Entry
from pcap_zmq.units import NS_PER_S


@dataclass(frozen=True, slots=True)
class MappedFile:
    """One file as it is told. GopherCap's own numbers leave out the first packet, and
    its times are of the first and the last packet as they lie there: so these are for
    people, and who wants to know looks at the file."""

    path: str
    """As its map was given it: relative to where that ran, perhaps."""
    packets: int
    octets: int
    """Captured."""
    beginning: str
    end: str


def decode_gophercap(octets: bytes) -> list[MappedFile]:
    """Its files. Raises FormatError for what is no such JSON."""
    try:
        read = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise FormatError("no JSON") from error
    if not isinstance(read, dict) or "files" not in read:
        raise FormatError("no list of files")
    # null is what Go writes of an empty list.
    files = [] if read["files"] is None else read["files"]
    if not isinstance(files, list):
        raise FormatError("no list of files")
    return [_file_of(item) for item in files]


def _file_of(item: Any) -> MappedFile:
    if not isinstance(item, dict):
        raise FormatError("a file that is none")
    path = item.get("path")
    if not isinstance(path, str) or not path:
        raise FormatError("a file without its path")
    return MappedFile(
        path,
        _number(item, "packets"),
        _number(item, "size"),
        _text(item, "beginning"),
        _text(item, "end"),
    )


def _number(item: dict[str, Any], name: str) -> int:
    value = item.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"a file whose {name} is {value!r:.40}")
    if not 0 <= value <= NUMBER_MAX:
        raise FormatError(f"a file whose {name} is {value!r:.40}")
    return value


def _text(item: dict[str, Any], name: str) -> str:
    value = item.get(name, "")
    if not isinstance(value, str):
        raise FormatError(f"a file whose {name} is {value!r:.40}")
    return value


def encode_gophercap(entries: Sequence[Entry], text_of: Callable[[int], str]) -> str:
    """What GopherCap's map writes and its replay reads, for files with packets: all
    packets counted, the true first and last time, no infinities. text_of: a time in
    nanoseconds as RFC 3339 has it, to the nanosecond."""
    full = [entry for entry in entries if entry.packets]
    begins_ns = min((entry.first_ns for entry in full), default=0)
    ends_ns = max((entry.last_ns for entry in full), default=0)
    files = [
        {
            "path": entry.path,
            "snaplen": entry.snaplen,
            "packets": entry.packets,
            "size": entry.octets,
            "max_packet_size": entry.largest,
            "out_of_order": entry.backwards,
            "beginning": text_of(entry.first_ns),
            "end": text_of(entry.last_ns),
            "pps": entry.packets_per_s,
            "duration": entry.duration_ns,
            "duration_human": go_duration(entry.duration_ns),
            "delay": entry.first_ns - begins_ns,
            "delay_human": go_duration(entry.first_ns - begins_ns),
        }
        for entry in full
    ]
    whole = {"beginning": text_of(begins_ns), "end": text_of(ends_ns), "files": files}
    return json.dumps(whole) + "\n"


def go_duration(duration_ns: int) -> str:
    """As Go's time.Duration prints it: 1h2m3.5s, 1.5ms, 0s."""
    if not duration_ns:
        return "0s"
    if duration_ns < NS_PER_S:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
            if duration_ns >= size:
                return _decimal(duration_ns, size) + unit
    minutes, rest_ns = divmod(duration_ns, 60 * NS_PER_S)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest_ns, NS_PER_S) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    places = len(str(unit)) - 1
    fraction = f"{rest:0{places}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
