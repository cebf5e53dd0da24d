"""Takes numbers, choices and pieces from the front of an input, so that a target can
make any sequence of calls of any octets.

Total: an input that is used up goes on as zeros, and `is_empty` tells when to stop.
Not atheris' own provider, since seeds are replayed where atheris is not installed.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Front:
    """What is left of an input."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._octets)

    def take(self, length: int) -> bytes:
        """Up to so many octets."""
        taken = self._octets[self._at : self._at + length]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._octets))

    def number(self, octets: int = 1) -> int:
        """Below 256 ** octets, big-endian."""
        return int.from_bytes(self.take(octets).ljust(octets, b"\0"), "big")

    def choice(self, options: Sequence[T]) -> T:
        """One of at most 256."""
        return options[self.number() % len(options)]

    def piece(self) -> bytes:
        """Octets whose length, of 16 bits, goes before them."""
        return self.take(self.number(2))


def piece(octets: bytes) -> bytes:
    """What `Front.piece` takes these octets from; for seeds."""
    return len(octets).to_bytes(2, "big") + octets
