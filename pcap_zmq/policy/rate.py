"""How fast bytes have been passing, over a sliding window.

Theory of operation. The window is a ring of slots; each slot holds what passed in its
share of the time. Asking moves the ring on as well as adding does, so the rate falls
while nothing passes. A clock that stands still or steps back changes nothing.
"""

from pcap_zmq.units import NS_PER_S


class SlidingRate:
    """Bytes per second over the last `window_ns`, to within one of its `slots`."""

    def __init__(self, window_ns: int = NS_PER_S, slots: int = 20) -> None:
        self._slot_ns = window_ns // slots
        self._window_ns = self._slot_ns * slots
        self._slots = [0] * slots
        self._sum = 0
        self._current = 0

    def add(self, nbytes: int, now_ns: int) -> None:
        """So many bytes pass now."""
        self._move_to(now_ns)
        self._slots[self._current % len(self._slots)] += nbytes
        self._sum += nbytes

    def bytes_per_s(self, now_ns: int) -> float:
        """The rate at this moment."""
        self._move_to(now_ns)
        return self._sum * NS_PER_S / self._window_ns

    def _move_to(self, now_ns: int) -> None:
        slot = now_ns // self._slot_ns
        stale = min(slot - self._current, len(self._slots))
        for passed in range(self._current + 1, self._current + 1 + stale):
            place = passed % len(self._slots)
            self._sum -= self._slots[place]
            self._slots[place] = 0
        self._current = max(self._current, slot)
