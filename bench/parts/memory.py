"""Memory of both ends: flat out, with a reader that stalls, and with no receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.load import Load
from bench.part import Section, Verdict
from bench.pipes import PcapZmq
from bench.runs import Outcome, fill
from bench.runs import measure as measure_run
from bench.table import MIB, table

if TYPE_CHECKING:
    from bench.part import Bench

PACKAGES: dict[str, str] = {}

LENGTHS = (200, 1400)
COMPRESSED_LENGTH = 200

QUEUE_BYTES = 64 * MIB
MEMORY_BYTES = 60 * MIB
BOUND_BYTES = QUEUE_BYTES + MEMORY_BYTES

# Enough to fill both queues and every pipe on the way, twice.
FILL_OCTETS = 4 * QUEUE_BYTES
FILL_TIMEOUT_S = 15.0
STALL_OCTETS = MIB

TEXT = (
    f"Peak resident set (VmHWM); each should be under {MEMORY_BYTES // MIB} MiB and "
    f"its queue, {QUEUE_BYTES // MIB} MiB. Packets dropped show that the sender's "
    "queue was full. The receiver gives one sender no more than a share of its own. "
    "One run each.\n\n"
)


def measure_cases(bench: Bench) -> list[tuple[str, Outcome]]:
    """What was done, and what came of it."""
    cases: list[tuple[str, Outcome]] = []
    for length in LENGTHS[-1:] if bench.is_quick else LENGTHS:
        bench.say(f"memory: {length} octets")
        outcome = measure_run(bench.host, PcapZmq(), Load(length, bench.seconds))
        cases.append((f"{length}: flat out", outcome))
        packets = FILL_OCTETS // (length + 16)
        filling = Load(length, FILL_TIMEOUT_S, packets=packets)
        outcome = fill(bench.host, PcapZmq(), filling, stall_octets=STALL_OCTETS)
        cases.append((f"{length}: the reader stalls", outcome))
        if bench.is_quick:
            return cases
        alone = PcapZmq(["--low-watermark", "0", "--linger", "0s"], with_receiver=False)
        outcome = fill(bench.host, alone, filling, stall_octets=None)
        cases.append((f"{length}: no receiver", outcome))
    compressed = PcapZmq(["--low-watermark", "1KiB"])
    outcome = measure_run(
        bench.host, compressed, Load(COMPRESSED_LENGTH, bench.seconds)
    )
    cases.append((f"{COMPRESSED_LENGTH}: flat out, compressed", outcome))
    return cases


def measure(bench: Bench) -> Section:
    cases = measure_cases(bench)
    rows = [
        [
            name,
            _cell(outcome.sender_peak_bytes),
            _cell(outcome.receiver_peak_bytes),
            str(outcome.counters["sender dropped"]),
        ]
        for name, outcome in cases
    ]
    head = ["octets", "sender, MiB", "receiver, MiB", "dropped: queue full"]
    verdicts = [
        Verdict(
            f"memory of the {side}, the most",
            max(peaks) / MIB,
            BOUND_BYTES / MIB,
            "MiB",
            at_most=True,
        )
        for side, peaks in (
            ("sender", [outcome.sender_peak_bytes for _, outcome in cases]),
            ("receiver", [outcome.receiver_peak_bytes for _, outcome in cases]),
        )
    ]
    return Section("Memory", TEXT + table(head, rows), verdicts)


def _cell(peak: int) -> str:
    return f"{peak / MIB:.1f}" if peak else "-"
