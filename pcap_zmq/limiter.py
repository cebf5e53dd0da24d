"""Decides which warnings are said now: each kind once a minute, the others counted."""

import logging
from dataclasses import dataclass

from pcap_zmq.clock import NS_PER_S

QUIET_NS = 60 * NS_PER_S
"""How long a warning is held back after one of its kind."""

KINDS_MAX = 256
"""Kinds of warnings told apart; those beyond share one."""


@dataclass(slots=True)
class _Kind:
    said_ns: int
    held: int = 0
    last: logging.LogRecord | None = None


class Limiter:
    """Admits a warning of each kind once a minute. A kind is a logger and a message
    before its values are filled in, or what the message is where it is nothing else.

    What is held back is counted, in `held_back` of the record that comes out for it:
    the next of its kind, or the last that was held when the minute is over.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def admits(self, record: logging.LogRecord, now_ns: int) -> bool:
        """Whether to write it now."""
        if record.levelno < logging.WARNING:
            return True
        key = self._key(record)
        kind = self._kinds.get(key)
        if kind is not None and now_ns < kind.said_ns + QUIET_NS:
            kind.held += 1
            kind.last = record
            return False
        if kind is not None and kind.held:
            record.held_back = kind.held
        self._kinds[key] = _Kind(now_ns)
        return True

    def overdue(self, now_ns: int) -> list[logging.LogRecord]:
        """What has been held back for long enough."""
        late = []
        for key, kind in list(self._kinds.items()):
            if now_ns < kind.said_ns + QUIET_NS:
                continue
            late += _last_of(kind)
            if kind.held:
                self._kinds[key] = _Kind(now_ns)
            else:
                del self._kinds[key]
        return late

    def due(self) -> int | None:
        """When something will be; None while nothing is held back."""
        held = (kind.said_ns for kind in self._kinds.values() if kind.held)
        earliest = min(held, default=None)
        return None if earliest is None else earliest + QUIET_NS

    def drain(self) -> list[logging.LogRecord]:
        """All that is held back."""
        kinds, self._kinds = self._kinds, {}
        return [record for kind in kinds.values() for record in _last_of(kind)]

    def _key(self, record: logging.LogRecord) -> tuple[str, str]:
        message = str(record.msg)
        key = (record.name, record.getMessage() if message == "%s" else message)
        is_known = key in self._kinds or len(self._kinds) < KINDS_MAX
        return key if is_known else ("", "")


def _last_of(kind: _Kind) -> list[logging.LogRecord]:
    if kind.last is None:
        return []
    if kind.held > 1:
        kind.last.held_back = kind.held - 1
    return [kind.last]
