"""How many packets were missed after the last one that was seen.

A gap in the sequence tells exactly what was missed, but only when a later packet comes.
Until then the kernel only tells how many datagrams it had no room for. Each held about
as many packets as the ones before it did.
"""


class TailEstimate:
    """Packets in datagrams that were dropped and that no gap has told yet."""

    def __init__(self) -> None:
        self._packets_per_datagram = 1.0

    def learn(self, packets: int, datagrams: int) -> None:
        """So many packets came in so many datagrams lately."""
        if datagrams > 0 and packets > 0:
            self._packets_per_datagram = packets / datagrams

    def packets(self, dropped_datagrams: int) -> int:
        """The estimate for so many datagrams."""
        return round(dropped_datagrams * self._packets_per_datagram)
