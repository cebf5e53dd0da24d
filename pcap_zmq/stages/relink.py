"""Turns batches of one link type into those of another, packet by packet, in C.

An IDS may know only IP packets or Ethernet, where NFLOG's own link type has more to say
to others. What cannot be turned is dropped and counted; in its place goes on an empty
batch, so that its sender is told.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from pcap_ffi import Fate, can_relink, fates_of, relink_records
from pcap_zmq.counters import Owner, Reason
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.runs import Runs
from pcap_zmq.formats.stream import Part, Receipt
from pcap_zmq.packet import Batch, Instant

logger = logging.getLogger(__name__)

REASONS = {Fate.MALFORMED: Reason.MALFORMED, Fate.NOT_IP: Reason.NOT_IP}

_COMPLAINTS_MAX = 10_000
"""Each is said once, so each is remembered."""


class Dropping(Protocol):
    """What counts the packets that go no further, and tells their owner."""

    def count_dropped(
        self, owner: Owner | None, reason: Reason, packets: int
    ) -> None: ...


class Relink:
    """Batches in, batches of one link type out; one that has it passes as it is.

    linktype: a LINKTYPE number; None: the first batch's. but: another one that passes
    as it is, for whoever can make more of it. sender_of: whose batch a receipt stands
    for, for logs. A batch whose packets are not all turned becomes several: what was
    made, and an empty one for those of each reason.
    """

    def __init__(
        self,
        linktype: int | None,
        counters: Dropping,
        sender_of: Callable[[object], str] | None = None,
        but: int | None = None,
    ) -> None:
        self.linktype = linktype
        self._but = but
        self._counters = counters
        self._sender_of = sender_of
        self._told: set[tuple[str, str]] = set()

    def feed(self, item: Batch, now: Instant) -> Iterable[Batch]:
        """What becomes of it, in order."""
        if self.linktype is None:
            self.linktype = item.linktype
        if item.linktype in {self.linktype, self._but}:
            return (item,)
        if not item.count:
            return (replace(item, linktype=self.linktype),)
        if not can_relink(item.linktype, self.linktype):
            self._complain(item, "cannot become")
            self._counters.count_dropped(item.receipt, Reason.LINKTYPE, item.count)
            return (Batch(self.linktype, b"", 0, item.receipt),)
        return self._relink(item, self.linktype)

    def _relink(self, item: Batch, linktype: int) -> Iterable[Batch]:
        records, made, malformed, _ = relink_records(
            item.records, item.count, item.linktype, linktype
        )
        if malformed:
            self._complain(item, "has malformed packets, which cannot become")
        if made == item.count:
            return (Batch(linktype, records, made, item.receipt),)
        fates = fates_of(item.records, item.count, item.linktype, linktype)
        if not isinstance(item.receipt, Receipt | Runs):
            for fate, reason in REASONS.items():
                left_out = fates.count(fate)
                self._counters.count_dropped(item.receipt, reason, left_out)
            return (Batch(linktype, records, made, item.receipt),)
        return self._part(item.receipt, Batch(linktype, records, made), fates)

    def _part(
        self, receipt: Receipt | Runs, batch: Batch, fates: bytes
    ) -> Iterator[Batch]:
        """What was made, and an empty batch for each reason why something was not: each
        with a receipt for its own packets."""
        owners = tuple(receipt.runs())
        # Of a copy these are copies: their streams count the packets elsewhere.
        kind = type(receipt) if isinstance(receipt, Runs) else Runs
        if batch.count:
            yield replace(batch, receipt=kind.of(_runs(owners, fates, Fate.MADE)))
        for fate, reason in REASONS.items():
            left_out = kind.of(_runs(owners, fates, fate))
            if left_out.packets:
                self._counters.count_dropped(left_out, reason, left_out.packets)
                yield Batch(batch.linktype, b"", 0, left_out)

    def _complain(self, item: Batch, what: str) -> None:
        sender = self._sender_of(item.receipt) if self._sender_of else "a sender"
        if (sender, what) in self._told or len(self._told) >= _COMPLAINTS_MAX:
            return
        self._told.add((sender, what))
        logger.warning(
            "%s: link type %s %s %s; dropping such packets",
            sender,
            linktypes.describe(item.linktype),
            what,
            linktypes.describe(self.linktype or 0),
        )


def _runs(
    owners: Iterable[tuple[Part, int]], fates: bytes, fate: Fate
) -> Iterator[tuple[Part, int]]:
    """Of each owner's packets, how many had this fate."""
    at = 0
    for part, packets in owners:
        found = fates.count(fate, at, at + packets)
        at += packets
        if found:
            yield part, found
