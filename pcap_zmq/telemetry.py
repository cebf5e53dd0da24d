"""Turns counters into log lines: one now and then, and the totals at the end."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from pcap_zmq.clock import NS_PER_S
from pcap_zmq.counters import Reason, ReceiverCounters, SenderCounters
from pcap_zmq.formats.wire import SenderTotals
from pcap_zmq.packet import Instant
from pcap_zmq.poll import Watch

logger = logging.getLogger(__name__)


class Report(Protocol):
    """What there is to say of one end."""

    def since_last(self, seconds: float) -> str:
        """What has happened in the time since the last call."""

    def totals(self) -> str:
        """What has happened altogether."""


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
        logger.info("%s", self._report.since_last(seconds))

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
        self._last = (0, 0, 0)

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

    def totals(self) -> str:
        counters = self._counters
        return (
            f"logged {counters.logged}, acknowledged {counters.acknowledged}, "
            f"held {self._held()}, {_losses(counters)}, "
            f"{_size(counters.raw_bytes)} in {counters.batches} batches "
            f"({counters.compressed_batches} compressed), "
            f"{_size(counters.payload_bytes)} encoded, "
            f"ratio {_ratio(counters.payload_bytes, counters.raw_bytes)}, "
            f"stamped here {counters.stamped_here}, "
            f"reconnects {counters.reconnects}"
        )


class ReceiverReport:
    """held: packets in the receiver that are neither written nor dropped. senders: what
    each stream's sender last said of itself."""

    def __init__(
        self,
        counters: ReceiverCounters,
        held: Callable[[], int],
        senders: Callable[[], Sequence[SenderTotals]] = tuple,
    ) -> None:
        self._counters = counters
        self._held = held
        self._senders = senders
        self._last = (0, 0, 0, 0)

    def since_last(self, seconds: float) -> str:
        counters = self._counters
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
            f"dropped {_by_reason(counters.dropped)}{self._before_us()}"
        )

    def totals(self) -> str:
        counters = self._counters
        return (
            f"received {counters.received}, written {counters.written} "
            f"({_size(counters.written_bytes)}), held {self._held()}, "
            f"dropped {_by_reason(counters.dropped)}, repeated {counters.repeated}, "
            f"ratio {_ratio(counters.payload_bytes, counters.raw_bytes)}, "
            f"readers {counters.readers}, replayed {counters.replayed}, "
            f"malformed messages {counters.malformed_messages}, "
            f"unsupported {counters.unsupported_messages}"
            + _unless_zero({"uncalled": counters.uncalled_messages})
            + self._before_us()
        )

    def _before_us(self) -> str:
        """What the senders say that they missed or dropped, if anything."""
        totals = self._senders()
        missed = sum(sender.missed + sender.missed_tail for sender in totals)
        dropped: Counter[Reason] = Counter()
        for sender in totals:
            dropped.update(sender.dropped)
        if not missed and not any(dropped.values()):
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


def _unless_zero(numbers: Mapping[str, int]) -> str:
    """What hardly ever happens is said only when it has."""
    return "".join(f", {name} {number}" for name, number in numbers.items() if number)


def _by_reason(dropped: Mapping[Reason, int]) -> str:
    total = sum(dropped.values())
    reasons = ", ".join(f"{reason.value} {n}" for reason, n in dropped.items() if n)
    return f"{total} ({reasons})" if reasons else str(total)


def _ratio(payload: int, raw: int) -> str:
    return f"{payload / raw:.2f}" if raw else "-"


def _size(octets: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"
