"""What a relay says of itself: what came from its senders, and what became of it."""

from collections.abc import Callable

from pcap_zmq.counters import SenderCounters
from pcap_zmq.telemetry import ReceiverReport


class RelayReport:
    """of_receiver: the side where the senders are. sent: the counters of the other.
    held: packets in its queue, and of those the ones on disk."""

    def __init__(
        self,
        of_receiver: ReceiverReport,
        sent: SenderCounters,
        held: Callable[[], tuple[int, int]],
    ) -> None:
        self._of_receiver = of_receiver
        self._sent = sent
        self._held = held

    def since_last(self, seconds: float) -> str:
        """What has happened in the time since the last call."""
        return f"{self._of_receiver.since_last(seconds)}; {self._beyond()}"

    def status(self) -> str:
        """Where things stand, in a few words."""
        return f"{self._of_receiver.status()}; {self._beyond()}"

    def totals(self) -> str:
        """What has happened altogether, for people."""
        said, _, unaccounted = self._of_receiver.totals().rpartition(", unaccounted ")
        return f"{said}; {self._beyond()}, unaccounted {unaccounted}"

    def numbers(self) -> dict[str, object]:
        """The same for machines."""
        queued, spooled = self._held()
        return {
            **self._of_receiver.numbers(),
            "acknowledged": self._sent.acknowledged,
            "queued": queued,
            "spooled": spooled,
            "reconnects": self._sent.reconnects,
        }

    def _beyond(self) -> str:
        queued, spooled = self._held()
        return (
            f"the next hop acknowledged {self._sent.acknowledged}, queued {queued}, "
            f"on disk {spooled}, reconnects {self._sent.reconnects}"
        )
