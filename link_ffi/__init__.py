"""The crossing to libzmq that takes messages many at a time, and what a receiver keeps
of each stream meanwhile."""

from link_ffi.intake import Intake, TakenBatch, TakenMessage
from link_ffi.lanes import (
    BATCHES_MIN,
    MESSAGE_COST,
    Lane,
    Lanes,
    Verdict,
    hear,
    start_over,
    totals_of,
)
from link_ffi.receipts import Share, Shares

__all__ = [
    "BATCHES_MIN",
    "MESSAGE_COST",
    "Intake",
    "Lane",
    "Lanes",
    "Share",
    "Shares",
    "TakenBatch",
    "TakenMessage",
    "Verdict",
    "hear",
    "start_over",
    "totals_of",
]
