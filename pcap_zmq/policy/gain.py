"""Whether, and how hard, to compress the next batch, from what the last tries gained.

Theory of operation. Encrypted traffic does not shrink but for its headers, and to find
that out costs zlib almost what compressing costs. After PATIENCE tries in a row that
gained next to nothing, batches go as they are, and only from time to time one is tried:
with one in between, then 3, 7 and 15, as long as no try gains. The first that does ends
it. So what turns compressible is compressed again within TRIED_EVERY batches, what
never does costs one try in so many, and no more is skipped in a row than went before
without gain.

What does shrink, but not by a third, is mostly encrypted or compressed content between
headers that repeat. A codec's light effort finds those, too, for half of the work.
"""

import enum

WORTH = 1 / 20
"""The part of a batch that compressing has to save. Full packets of TLS save less:
headers make 5 % of them. It would not pay at the receiver, either, who undoes it."""

PATIENCE = 6
"""Tries in a row without gain before any batch is skipped: traffic comes in flows."""

TRIED_EVERY = 16
"""Of batches that do not shrink, how often one is tried in the end."""

LIGHT_ABOVE = 2 / 3
"""What the last try left of its batch, above which a light effort does as well."""

SMALL = 1024
"""Octets below which no batch is tried: it fits into one packet on the wire anyway."""


class Effort(enum.Enum):
    """How hard to try with a batch."""

    NONE = "none"
    LIGHT = "light"
    FULL = "full"


class Gain:
    """Asked once for each batch that is not small, told what each try gave."""

    def __init__(self) -> None:
        self._left = 0.0
        self._misses = 0
        self._rest_length = 0
        self._rest = 0

    def effort(self) -> Effort:
        """What the next batch deserves."""
        if self._rest:
            self._rest -= 1
            return Effort.NONE
        return Effort.LIGHT if self._left > LIGHT_ABOVE else Effort.FULL

    def learn(self, before: int, after: int) -> bool:
        """A try made `after` bytes of `before`; whether that is worth it."""
        self._left = after / before
        is_worth = after <= before * (1 - WORTH)
        if is_worth:
            self._misses = self._rest_length = 0
        else:
            self._misses += 1
            if self._misses >= PATIENCE:
                self._rest_length = min(2 * self._rest_length + 1, TRIED_EVERY - 1)
        self._rest = self._rest_length
        return is_worth
