"""Receipts of several streams' batches, as gathering makes them."""

from collections.abc import Sequence

from link_ffi import Lane, Lanes, Share, Shares
from link_ffi._link import lib


def share_of(lane: Lane, number: int, packets: int) -> Share:
    """Of a batch that a lane has taken."""
    return Share(lane.slot, lane.generation, number, packets)


def gathered(lanes: Lanes, parts: Sequence[Share]) -> Shares:
    """One receipt for all of them, in the order of the records."""
    c = lib.receipt_new(len(parts))
    shares = Shares(lanes, c)
    for at, share in enumerate(parts):
        c.shares[at] = tuple(share)
    return shares
