"""Draws capture files on an axis of time, each with its rate."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.capture_index import Entry
from pcap_zmq.tools.whole_file import write_whole
from pcap_zmq.units import NS_PER_S

FORMATS = ("svg", "png", "pdf")
ROW_INCHES = 0.45
NAME_MAX = 40


def plot(entries: Sequence[Entry], path: Path) -> None:
    """Writes the picture. Raises ConfigError where it cannot be drawn, OutputError
    where it cannot be written."""
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in FORMATS:
        raise ConfigError(f"--plot {path}: the name has to end in .svg, .png or .pdf")
    full = sorted((e for e in entries if e.packets), key=lambda entry: entry.first_ns)
    if not full:
        raise ConfigError("--plot: no file has any packets to draw")
    write_whole(path, _drawn(full, suffix))


def _drawn(entries: Sequence[Entry], suffix: str) -> bytes:
    import io

    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import dates
        from matplotlib import pyplot as figures
    except ImportError as error:
        raise ConfigError(
            "--plot needs a library: pip install 'pcap-zmq[plot]'"
        ) from error
    height = max(2.0, 1.2 + ROW_INCHES * len(entries))
    figure, axes = figures.subplots(figsize=(11, height), layout="constrained")
    most = max(max(_rates(entry)) for entry in entries)
    for row, entry in enumerate(entries):
        _draw_row(axes, row, entry, most)
    axes.set_yticks(range(len(entries)), [_short(entry.path) for entry in entries])
    axes.set_ylim(len(entries) - 0.5, -0.5)
    plain: Any = dates  # parts of it have no types
    locator = plain.AutoDateLocator(tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(plain.ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel(f"time (UTC); the highest bar is {most:,.0f} packets a second")
    axes.grid(axis="x", alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format=suffix)
    figures.close(figure)
    return out.getvalue()


def _draw_row(axes: Any, row: int, entry: Entry, most: float) -> None:
    span_s = entry.rates_span_ns / NS_PER_S
    first = _moment(entry.first_ns)
    axes.plot([first, _moment(entry.last_ns)], [row + 0.42] * 2, color="black", lw=1)
    starts = [
        _moment(entry.rates_start_ns + place * entry.rates_span_ns)
        for place in range(len(entry.rates_packets))
    ]
    heights = [-0.8 * rate / most for rate in _rates(entry)]
    axes.bar(
        starts,
        heights,
        width=span_s / 86_400,
        bottom=row + 0.42,
        align="edge",
        color="tab:red" if entry.broken_why else "tab:blue",
    )


def _rates(entry: Entry) -> list[float]:
    """Packets a second, in each span."""
    return [n * NS_PER_S / entry.rates_span_ns for n in entry.rates_packets]


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / NS_PER_S, UTC)


def _short(name: str) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    return name if len(name) <= NAME_MAX else "…" + name[1 - NAME_MAX :]
