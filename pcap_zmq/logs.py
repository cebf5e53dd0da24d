"""Gives every line on standard error its form: text, JSON, or text for the journal.

Log records, errors and totals all go through one handler, which holds back a warning
that was said within the last minute and says later how many there were. Nothing from
elsewhere can break a line or reach a terminal: what is not printable is escaped.

Specification: sd-daemon(3) for the priorities, systemd.exec(5) for $JOURNAL_STREAM,
RFC 3339 for times in JSON.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from pcap_zmq.clock import SystemClock, utc_text
from pcap_zmq.limiter import Limiter

if TYPE_CHECKING:
    # Seen by the type checker alone, so that --help does not load ZeroMQ.
    from pcap_zmq.packet import Instant
    from pcap_zmq.poll import Watch

_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)
LINE_MAX = 1 << 16
"""Letters of a message: names come from elsewhere, and some are of megabytes."""

_STATEMENTS = {"error": logging.ERROR, "totals": logging.INFO}

root = logging.getLogger()


def install(form: str, level: str) -> None:
    """Sends every record of at least this level to standard error; once a process."""
    for handler in _handlers():
        root.removeHandler(handler)
    root.addHandler(LineHandler(sys.stderr, formatter_for(form, sys.stderr)))
    root.setLevel(level.upper())


def say(label: str, text: str, fields: Mapping[str, object] | None = None) -> None:
    """Writes `label: text` whatever the level is; in JSON, with the fields. The label
    is "error" or "totals"."""
    record = root.makeRecord(
        "pcap_zmq", _STATEMENTS[label], "", 0, text, (), None, extra={"fields": fields}
    )
    record.label = label
    handler = next(_handlers(), None)
    if handler is None:
        handler = LineHandler(sys.stderr, formatter_for("text", sys.stderr))
    handler.handle(record)


def is_for_people() -> bool:
    """Whether somebody at a terminal may be reading, not the journal or a program."""
    handler = next(_handlers(), None)
    return handler is None or type(handler.formatter) is TextFormatter


def _handlers() -> Iterator["LineHandler"]:
    return (h for h in list(root.handlers) if isinstance(h, LineHandler))


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes one line a record, and warnings of one kind at most once a minute."""

    def __init__(
        self,
        stream: TextIO,
        formatter: logging.Formatter,
        now_ns: Callable[[], int] = lambda: SystemClock().now().mono_ns,
    ) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._now_ns = now_ns
        self._limiter = Limiter()

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "label"):
            # It is the end, or near it.
            self._write_all(self._limiter.drain())
            super().emit(record)
            return
        now_ns = self._now_ns()
        is_admitted = self._limiter.admits(record, now_ns)
        self.write_overdue(now_ns)
        if is_admitted:
            super().emit(record)

    def write_overdue(self, now_ns: int) -> None:
        """What was held back for long enough."""
        self.acquire()
        try:
            self._write_all(self._limiter.overdue(now_ns))
        finally:
            self.release()

    def due(self) -> int | None:
        """When something will have been."""
        return self._limiter.due()

    def close(self) -> None:
        """What was held back is said at the end."""
        self._write_all(self._limiter.drain())
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:
        # A full disk or a closed pipe behind standard error is no reason to stop, and
        # there is nowhere to say it.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def _write_all(self, records: list[logging.LogRecord]) -> None:
        for record in records:
            super().emit(record)


class HeldBack:
    """Gives what is held back its turn, for a process that says nothing else."""

    def serve(self, now: "Instant") -> None:
        """Writes what is due."""
        for handler in _handlers():
            handler.write_overdue(now.mono_ns)

    def watch(self) -> Iterable["Watch"]:
        """Nothing but time gives it a turn."""
        return ()

    def due(self) -> int | None:
        """When the next line is."""
        dues = (handler.due() for handler in _handlers())
        return min((due for due in dues if due is not None), default=None)


def formatter_for(form: str, stream: TextIO) -> logging.Formatter:
    """What gives lines on this stream their form."""
    if form == "json":
        return JsonFormatter()
    return JournalFormatter() if is_journal(stream) else TextFormatter()


def is_journal(stream: TextIO) -> bool:
    """Whether systemd has connected this stream to the journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def one_line(text: str) -> str:
    """With all that is not printable escaped: newlines, the control sequences of
    terminals, octets that are no text, marks that turn the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


class TextFormatter(logging.Formatter):
    """Time, level and message; a statement has its label instead."""

    def format(self, record: logging.LogRecord) -> str:
        label = getattr(record, "label", None)
        if label is not None:
            return f"{label}: {self._said(record)}"
        return f"{self.formatTime(record)} {record.levelname} {self._said(record)}"

    def _said(self, record: logging.LogRecord) -> str:
        held_back = getattr(record, "held_back", 0)
        more = f" (and {held_back} more like it since the last)" if held_back else ""
        return one_line(message_of(record, self)) + more


class JournalFormatter(TextFormatter):
    """Priority and message; the journal has the time."""

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelno
        priority = next(number for least, number in _PRIORITIES if level >= least)
        label = getattr(record, "label", None)
        prefix = f"<{priority}>" if label is None else f"<{priority}>{label}: "
        return prefix + self._said(record)


class JsonFormatter(logging.Formatter):
    """One object: time, level, logger, message, a statement's label as `event`, how
    many like it were held back, and what the record was given as extra `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        # Here, since few ask for it.
        import json

        line: dict[str, object] = {
            "time": utc_text(round(record.created * 1_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record, self),
        }
        label = getattr(record, "label", None)
        if label is not None:
            line["event"] = label
        held_back = getattr(record, "held_back", 0)
        if held_back:
            line["held_back"] = held_back
        fields: Mapping[str, object] | None = getattr(record, "fields", None)
        # In this order for whoever reads it; our own names win.
        line |= {name: n for name, n in (fields or {}).items() if name not in line}
        # ASCII alone: whatever is not printable is escaped.
        return json.dumps(line, default=str)


def message_of(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """What it says, and the traceback that it may have."""
    message = record.getMessage()
    if record.exc_info:
        message = f"{message}\n{formatter.formatException(record.exc_info)}"
    if len(message) > LINE_MAX:
        message = f"{message[:LINE_MAX]} (and {len(message) - LINE_MAX} letters more)"
    return message
