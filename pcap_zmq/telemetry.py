"""Turns counters into log lines: one now and then, and the totals at the end."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Protocol

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import (
    FilesCounters,
    Reason,
    ReceiverCounters,
    SenderCounters,
)
from pcap_zmq.formats.ledger import Line, Tally, total_of
from pcap_zmq.formats.output_line import OutputLine, encode_output
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)


class Report(Protocol):
    """What there is to say of one end."""

    def since_last(self, seconds: float) -> str:
        """What has happened in the time since the last call."""

    def status(self) -> str:
        """Where things stand, in a few words."""

    def totals(self) -> str:
        """What has happened altogether, for people."""

    def numbers(self) -> dict[str, object]:
        """The same for machines: counters by their names."""


class Reporter:
    """Logs what a report says every `interval_ns`; 0: never."""

    def __init__(self, report: Report, interval_ns: int, started: Instant) -> None:
        self._report = report
        self._interval_ns = interval_ns
        self._last_ns = started.mono_ns

    def serve(self, now: Instant) -> None:
        """Logs when it is time."""
        due = self.due()
        if due is None or now.mono_ns < due:
            return
        seconds = (now.mono_ns - self._last_ns) / NS_PER_S
        self._last_ns = now.mono_ns
        line = self._report.since_last(seconds)
        logger.info("%s", line, extra={"fields": self._report.numbers()})

    def watch(self) -> Iterable[Watch]:
        """Nothing but time gives it a turn."""
        return ()

    def due(self) -> int | None:
        """When the next line is."""
        return self._last_ns + self._interval_ns if self._interval_ns else None


class SenderReport:
    """held: packets in the sender that are neither acknowledged nor dropped."""

    def __init__(self, counters: SenderCounters, held: Callable[[], int]) -> None:
        self._counters = counters
        self._held = held
        self._last = (counters.logged, counters.raw_bytes, counters.payload_bytes)

    def since_last(self, seconds: float) -> str:
        counters = self._counters
        last, self._last = (
            self._last,
            (
                counters.logged,
                counters.raw_bytes,
                counters.payload_bytes,
            ),
        )
        logged, raw, payload = (
            new - old for new, old in zip(self._last, last, strict=True)
        )
        return (
            f"{logged} packets logged ({logged / seconds:.0f}/s), "
            f"{_size(raw)} in ({_size(raw / seconds)}/s), "
            f"{_size(payload)} out ({_size(payload / seconds)}/s), "
            f"ratio {_ratio(payload, raw)}, held {self._held()}, "
            f"{_losses(counters)}"
        )

    def status(self) -> str:
        """Where things stand, in a few words."""
        counters = self._counters
        missed = counters.missed + counters.missed_tail
        return (
            f"acknowledged {counters.acknowledged}, held {self._held()}, "
            f"missed {missed}, dropped {sum(counters.dropped.values())}"
        )

    def totals(self) -> str:
        counters = self._counters
        return (
            f"logged {counters.logged}, acknowledged {counters.acknowledged}, "
            f"held {self._held()}, {_losses(counters)}, "
            f"{_size(counters.raw_bytes)} in {counters.batches} batches "
            f"({_compressed(counters)}), "
            f"{_size(counters.payload_bytes)} encoded, "
            f"ratio {_ratio(counters.payload_bytes, counters.raw_bytes)}, "
            f"stamped here {counters.stamped_here}, "
            f"reconnects {counters.reconnects}" + _mended(counters)
        )

    def numbers(self) -> dict[str, object]:
        logged = self._counters.logged
        return {"logged": logged, "held": self._held(), **_numbers(self._counters)}


class ReceiverReport:
    """held: packets in the receiver that are neither written nor dropped. ledger: a
    line for each sender. outputs: a line for each, where there are several."""

    def __init__(
        self,
        counters: ReceiverCounters,
        held: Callable[[], int],
        ledger: Callable[[], Sequence[Line]] = tuple,
        outputs: Callable[[], Sequence[OutputLine]] = tuple,
    ) -> None:
        self._counters = counters
        self._held = held
        self._ledger = ledger
        self._outputs = outputs
        self._last = (0, 0, 0, 0)

    def since_last(self, seconds: float) -> str:
        counters = self._counters
        total = total_of(self._ledger())
        last, self._last = (
            self._last,
            (
                counters.written,
                counters.written_bytes,
                counters.payload_bytes,
                counters.raw_bytes,
            ),
        )
        written, written_bytes, payload, raw = (
            new - old for new, old in zip(self._last, last, strict=True)
        )
        return (
            f"{written} packets written ({written / seconds:.0f}/s), "
            f"{_size(payload)} in ({_size(payload / seconds)}/s), "
            f"{_size(written_bytes)} out ({_size(written_bytes / seconds)}/s), "
            f"ratio {_ratio(payload, raw)}, held {self._held()}, "
            f"dropped {_by_reason(counters.dropped)}"
            + _before_us(total, counters.dropped)
            + _unless_zero({"unaccounted": total.unaccounted})
            + self._of_outputs()
        )

    def status(self) -> str:
        """Where things stand, in a few words."""
        counters = self._counters
        return (
            f"written {counters.written}, held {self._held()}, "
            f"dropped {sum(counters.dropped.values())}, "
            f"readers {counters.readers}"
        )

    def totals(self) -> str:
        counters = self._counters
        total = total_of(self._ledger())
        return (
            f"received {counters.received}, written {counters.written} "
            f"({_size(counters.written_bytes)}), held {self._held()}, "
            f"dropped {_by_reason(counters.dropped)}, repeated {counters.repeated}, "
            f"ratio {_ratio(counters.payload_bytes, counters.raw_bytes)}, "
            f"readers {counters.readers}, replayed {counters.replayed}, "
            f"malformed messages {counters.malformed_messages}, "
            f"unsupported {counters.unsupported_messages}"
            + _unless_zero(
                {
                    "uncalled": counters.uncalled_messages,
                    "refused": counters.refused_connections,
                    "failed handshakes": counters.failed_handshakes,
                    "cut off": counters.cut_off,
                    "cut readers": counters.cut_readers,
                    "refused readers": counters.refused_readers,
                    "files": counters.files,
                    "removed files": counters.removed_files,
                    "recovered files": counters.recovered_files,
                    "late": counters.late,
                    "hurried": counters.hurried,
                    "disordered": counters.disordered,
                }
            )
            + _mended(counters)
            + _before_us(total, counters.dropped)
            + self._of_outputs()
            + f", unaccounted {total.unaccounted}"
        )

    def numbers(self) -> dict[str, object]:
        numbers = {"held": self._held(), **_numbers(self._counters)}
        lines = [encode_output(line) for line in self._outputs()]
        return {**numbers, "outputs": lines} if lines else numbers

    def _of_outputs(self) -> str:
        return "".join(
            f"; {line.name}: taken {line.taken}, written {line.written}, "
            f"held {line.held}, dropped {_by_word(line.dropped)}"
            + (", failed" if line.has_failed else "")
            for line in self._outputs()
        )


class WayOut(Protocol):
    """What packets of files leave by."""

    @property
    def delivered(self) -> int:
        """Packets that have arrived."""

    @property
    def dropped(self) -> Mapping[Reason, int]:
        """Packets that never will."""


class FilesReport:
    """held: packets that were read and neither skipped nor delivered nor dropped.
    more: what else there is to say, by name, in the totals and to machines."""

    def __init__(
        self,
        counters: FilesCounters,
        way: WayOut,
        held: Callable[[], int],
        more: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self._counters = counters
        self._way = way
        self._held = held
        self._more = more
        self._last = 0

    def since_last(self, seconds: float) -> str:
        last, self._last = self._last, self._way.delivered
        delivered = self._last - last
        return (
            f"{delivered} packets delivered ({delivered / seconds:.0f}/s), "
            f"{self.status()}"
        )

    def status(self) -> str:
        """Where things stand, in a few words."""
        counters = self._counters
        return (
            f"{counters.files} files, read {counters.read}, "
            f"delivered {self._way.delivered}, held {self._held()}, "
            f"dropped {_by_reason(self._way.dropped)}"
        )

    def totals(self) -> str:
        counters = self._counters
        skipped = {why.value: n for why, n in counters.skipped.items()}
        rare = {"broken": counters.broken_files, "backwards": counters.backwards}
        more = "".join(f", {name} {text}" for name, text in self._more().items())
        return f"{self.status()}, skipped {_by_word(skipped)}{_unless_zero(rare)}{more}"

    def numbers(self) -> dict[str, object]:
        counters = self._counters
        return {
            "files": counters.files,
            "broken_files": counters.broken_files,
            "read": counters.read,
            "skipped": {why.value: n for why, n in counters.skipped.items() if n},
            "backwards": counters.backwards,
            "delivered": self._way.delivered,
            "held": self._held(),
            "dropped": {why.value: n for why, n in self._way.dropped.items() if n},
            **self._more(),
        }


def _numbers(counters: SenderCounters | ReceiverCounters) -> dict[str, object]:
    numbers = {field.name: getattr(counters, field.name) for field in fields(counters)}
    dropped = {reason.value: n for reason, n in counters.dropped.items() if n}
    return {**numbers, "dropped": dropped}


def _before_us(total: Tally, dropped_here: Counter[Reason]) -> str:
    """What was lost before it came to the receiver, if anything."""
    missed = total.missed + total.missed_tail
    dropped = total.dropped - dropped_here
    if not missed and not dropped:
        return ""
    return f"; the senders missed {missed}, dropped {_by_reason(dropped)}"


def _losses(counters: SenderCounters) -> str:
    missed = f"missed {counters.missed}"
    if counters.missed_tail:
        missed += f" and about {counters.missed_tail} more"
    rare = _unless_zero(
        {
            "overruns": counters.overruns,
            "truncated datagrams": counters.truncated_datagrams,
            "malformed messages": counters.malformed_messages,
        }
    )
    return f"{missed}, dropped {_by_reason(counters.dropped)}{rare}"


def _mended(counters: SenderCounters | ReceiverCounters) -> str:
    return _unless_zero(
        {
            "fixed": counters.fixed,
            "unfixed": counters.unfixed,
            "segmented in": counters.segmented_in,
            "segmented out": counters.segmented_out,
            "unsegmented": counters.unsegmented,
        }
    )


def _compressed(counters: SenderCounters) -> str:
    rest = _unless_zero({"incompressible": counters.incompressible_batches})
    return f"{counters.compressed_batches} compressed{rest}"


def _unless_zero(numbers: Mapping[str, int]) -> str:
    """What hardly ever happens is said only when it has."""
    return "".join(f", {name} {number}" for name, number in numbers.items() if number)


def _by_reason(dropped: Mapping[Reason, int]) -> str:
    return _by_word({reason.value: n for reason, n in dropped.items()})


def _by_word(dropped: Mapping[str, int]) -> str:
    total = sum(dropped.values())
    reasons = ", ".join(f"{reason} {n}" for reason, n in dropped.items() if n)
    return f"{total} ({reasons})" if reasons else str(total)


def _ratio(payload: int, raw: int) -> str:
    return f"{payload / raw:.2f}" if raw else "-"


def _size(octets: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"
