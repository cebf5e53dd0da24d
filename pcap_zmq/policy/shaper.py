"""SEND, COMPRESS or DROP, from a rate and two watermarks.

Theory of operation. What is measured is packet records on their way in. Their rate
over a sliding window decides on compression: it begins at the low watermark and ends
well below it. Against the high watermark stand tokens, which come in at its rate and of
which a second's worth can be saved up: a batch passes as long as there are any. So
nothing is dropped while no second brings more than the high watermark, and however much
comes in, what passes is about the high watermark, not nothing. Neither decision can
flap.

    rate                       low watermark                 high watermark
    ──────────── SEND ───────────────┼─────────── COMPRESS ───────┼── COMPRESS or DROP
       back to SEND below 4/5 of it ◄┘
"""

import enum

from pcap_zmq.policy.rate import SlidingRate
from pcap_zmq.units import NS_PER_S

HYSTERESIS = 0.8
"""Compression ends below this much of the low watermark, so that a rate around the
watermark does not turn it on and off."""

BURST_S = 1
"""How much of the high watermark can be saved up: as long as the rate's window."""


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
        # In billionths of a byte, so that no nanosecond's share is lost to rounding.
        self._tokens = self._tokens_max = high_watermark * BURST_S * NS_PER_S
        self._refilled_ns: int | None = None

    def judge(self, nbytes: int, now_ns: int) -> Verdict:
        """What to do with a batch of so many bytes that comes now."""
        self._rate.add(nbytes, now_ns)
        if self._high and not self._is_passed(nbytes, now_ns):
            return Verdict.DROP
        if self._low:
            threshold = self._low * (HYSTERESIS if self._is_compressing else 1)
            self._is_compressing = self._rate.bytes_per_s(now_ns) >= threshold
        return Verdict.COMPRESS if self._is_compressing else Verdict.SEND

    def bytes_per_s(self, now_ns: int) -> float:
        """How fast packet records have been coming in."""
        return self._rate.bytes_per_s(now_ns)

    def _is_passed(self, nbytes: int, now_ns: int) -> bool:
        last_ns = now_ns if self._refilled_ns is None else self._refilled_ns
        self._refilled_ns = max(now_ns, last_ns)
        refill = self._high * (self._refilled_ns - last_ns)
        self._tokens = min(self._tokens + refill, self._tokens_max)
        if self._tokens <= 0:
            return False
        # May go below zero by a batch: a batch passes whole or not at all.
        self._tokens -= nbytes * NS_PER_S
        return True
