"""SEND, COMPRESS or DROP, from a rate and two watermarks.
 Theory of operation. The rate is that of packet records on their way in, over a sliding
window. Above the low watermark batches are compressed, and go on being until the rate
is well below it. Above the high watermark batches pass as long as tokens last, which
come in at the high watermark's rate, and the others are dropped: what passes is about
the high watermark, not nothing, however much comes in.

    rate                       low watermark                 high watermark
    ──────────── SEND ───────────────┼─────────── COMPRESS ───────┼── COMPRESS or DROP
       back to SEND below 4/5 of it ◄┘
"""

import enum

from pcap_zmq.policy.rate import NS_PER_S, SlidingRate

HYSTERESIS = 0.8
"""Compression ends below this much of the low watermark, so that a rate around the
watermark does not turn it on and off."""

BURST_S = 0.1
"""For how long the high watermark may be exceeded by a burst: tokens saved up."""


class Verdict(enum.Enum):
    """What to do with a batch."""

    SEND = "send"
    COMPRESS = "compress"
    DROP = "drop"


class Shaper:
    """Watermarks in bytes per second; 0 for a low one: never compress, 0 for a high
    one: never drop."""

    def __init__(self, low_watermark: int, high_watermark: int) -> None:
        self._low = low_watermark
        self._high = high_watermark
        self._rate = SlidingRate()
        self._is_compressing = False
        self._tokens = self._tokens_max = int(high_watermark * BURST_S)
        self._refilled_ns: int | None = None

    def judge(self, nbytes: int, now_ns: int) -> Verdict:
        """What to do with a batch of so many bytes that comes now."""
        self._rate.add(nbytes, now_ns)
        rate = self._rate.bytes_per_s(now_ns)
        if self._high and not self._is_passed(nbytes, rate, now_ns):
            return Verdict.DROP
        if self._low:
            threshold = self._low * (HYSTERESIS if self._is_compressing else 1)
            self._is_compressing = rate >= threshold
        return Verdict.COMPRESS if self._is_compressing else Verdict.SEND

    def bytes_per_s(self, now_ns: int) -> float:
        """How fast packet records have been coming in."""
        return self._rate.bytes_per_s(now_ns)

    def _is_passed(self, nbytes: int, rate: float, now_ns: int) -> bool:
        self._refill(now_ns)
        if rate > self._high and self._tokens <= 0:
            return False
        # May go below zero by a batch: a batch is passed whole or not at all. Below the
        # watermark nothing is owed.
        self._tokens = max(self._tokens - nbytes, -nbytes if rate > self._high else 0)
        return True

    def _refill(self, now_ns: int) -> None:
        passed_ns = max(0, now_ns - (self._refilled_ns or now_ns))
        self._refilled_ns = max(now_ns, self._refilled_ns or now_ns)
        refill = self._high * passed_ns // NS_PER_S
        self._tokens = min(self._tokens + refill, self._tokens_max)
