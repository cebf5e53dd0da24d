"""Batches in, the same batches out; says once when our own stream is among the packets.

Theory of operation. A rule that logs what this host sends logs the batches that are on
their way to the receiver, too. They are sent in a batch, which is logged, and so on,
for as long as the link lasts: every batch that is sent comes back as packets. So the
first packets of one batch a second are enough to see it.
"""

import itertools
import logging
from collections.abc import Iterable, Set

from pcap_zmq.formats.frame import ip_packet
from pcap_zmq.formats.ip import End, tcp_ends
from pcap_zmq.formats.rules import Stream, exclusions
from pcap_zmq.formats.savefile import iter_packets
from pcap_zmq.packet import Batch, Instant

logger = logging.getLogger(__name__)

LOOK_NS = 1_000_000_000
"""How often a batch is looked into."""

PACKETS = 32
"""How many of its packets: some 100 microseconds."""


class Echo:
    """own: our ends of the connections to the receiver, kept up to date by whoever has
    them."""

    def __init__(self, own: Set[End], endpoint: str, *, is_listening: bool) -> None:
        self._own = own
        self._endpoint = endpoint
        self._is_listening = is_listening
        self._looked_ns: int | None = None
        self.has_found = False

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """The batch itself, always."""
        if not self.has_found and self._is_due(now.mono_ns):
            self._looked_ns = now.mono_ns
            self._look(item)
        return (item,)

    def _is_due(self, now_ns: int) -> bool:
        return self._looked_ns is None or now_ns >= self._looked_ns + LOOK_NS

    def _look(self, batch: Batch) -> None:
        for packet in itertools.islice(iter_packets(batch.records), PACKETS):
            inner = ip_packet(packet.data, batch.linktype)
            ends = None if inner is None else tcp_ends(inner)
            if ends is None:
                continue
            # Either direction: acknowledgements that are logged are answered, too.
            for ours, theirs in (ends, reversed(ends)):
                if ours in self._own:
                    self._tell(ours, theirs)
                    return

    def _tell(self, ours: End, theirs: End) -> None:
        self.has_found = True
        listening = ours if self._is_listening else theirs
        stream = Stream(
            self._endpoint, (listening.address,), listening.port, self._is_listening
        )
        logger.warning(
            "our own stream %s is logged, so it mirrors itself: %s; pcap-zmq doctor "
            "--send GROUPS ENDPOINT says which rule it is",
            stream,
            exclusions(stream),
        )
