"""The crossing to C that sends packets of a replay when they are due."""

from replay_ffi.schedule import LATE_NS, Lateness, Schedule, Taken
from replay_ffi.sender import (
    BATCHES_MAX,
    InterfaceSender,
    Outcome,
    State,
    Status,
    Takes,
)
from replay_ffi.stamps import Stamps

__all__ = [
    "BATCHES_MAX",
    "LATE_NS",
    "InterfaceSender",
    "Lateness",
    "Outcome",
    "Schedule",
    "Stamps",
    "State",
    "Status",
    "Taken",
    "Takes",
]
