"""Lines on standard error: what they look like, and which are held back."""

import contextlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq import logs
from pcap_zmq.clock import utc_text
from pcap_zmq.limiter import KINDS_MAX, QUIET_NS
from pcap_zmq.logs import LINE_MAX, JsonFormatter, LineHandler, TextFormatter
from pcap_zmq.packet import Instant

HOSTILE = {
    "a newline": "x\n2025-01-01 00:00:00,000 INFO all is well",
    "a carriage return": "x\rerror: forged",
    "a line separator": "x\N{LINE SEPARATOR}y",
    "a next line": "x\x85y",
    "a terminal's sequence": "\x1b]0;title\x07\x1b[2J",
    "a C1 control": "\x9b31m",
    "a backspace": "good\x08\x08\x08\x08evil",
    "a nul": "x\0y",
    "octets that are no text": os.fsdecode(b"/tmp/\xff\xfe"),
    "a turned direction": "abc\N{RIGHT-TO-LEFT OVERRIDE}cba",
}


class Lines:
    """A logger of this test's own, and what it has written; time is the test's."""

    def __init__(self, formatter: logging.Formatter, name: str) -> None:
        self._stream = io.StringIO()
        self._now_ns = 0
        self.handler = LineHandler(self._stream, formatter, lambda: self._now_ns)
        self.logger = logging.Logger(name)
        self.logger.addHandler(self.handler)

    def at(self, seconds: float) -> logging.Logger:
        """The logger, at this time."""
        self._now_ns = int(seconds * 1_000_000_000)
        return self.logger

    @property
    def written(self) -> list[str]:
        return self._stream.getvalue().split("\n")[:-1]

    @property
    def objects(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.written]

    @property
    def messages(self) -> list[str]:
        """Without the time and the level of text lines."""
        stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ "
        assert all(re.match(stamp, line) for line in self.written)
        return [re.sub(stamp, "", line) for line in self.written]


@pytest.fixture
def text(request: pytest.FixtureRequest) -> Lines:
    return Lines(TextFormatter(), request.node.name)


@pytest.fixture
def objects(request: pytest.FixtureRequest) -> Lines:
    return Lines(JsonFormatter(), request.node.name)


@pytest.fixture
def installed() -> Iterator[None]:
    """What a test installs, it does not leave behind."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


# Nobody else decides what a line is.


@pytest.mark.parametrize("what", HOSTILE)
def test_what_comes_from_elsewhere_cannot_break_a_line(
    text: Lines, objects: Lines, what: str
) -> None:
    for lines in (text, objects):
        lines.logger.warning("a sender called %s is here", HOSTILE[what])
        (line,) = lines.written
        assert line.isprintable()
    assert objects.objects[0]["message"] == f"a sender called {HOSTILE[what]} is here"


def test_a_name_of_megabytes_does_not_fill_the_log(text: Lines, objects: Lines) -> None:
    for lines in (text, objects):
        lines.logger.warning("%s is there", "\x1b" * 5_000_000)
        (line,) = lines.written
        assert len(line) < 10 * LINE_MAX
        assert "letters more)" in line


@given(st.text(st.characters(codec=None)))
def test_whatever_is_said_is_one_printable_line(said: str) -> None:
    text, objects = Lines(TextFormatter(), "any"), Lines(JsonFormatter(), "any")
    for lines in (text, objects):
        lines.logger.info("%s", said)
        (line,) = lines.written
        assert line.isprintable()
    # Two halves of a pair would become one character in JSON.
    if not any("\ud800" <= c <= "\udfff" for c in said):
        assert objects.objects[0]["message"] == said


def test_a_traceback_is_one_line_too(text: Lines) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        text.logger.exception("it broke")
    (line,) = text.messages
    assert line.startswith(r"it broke\nTraceback (most recent call last):\n")
    assert line.endswith(r"ValueError: first\nsecond")


def test_a_full_disk_behind_standard_error_is_no_reason_to_stop(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        handler = LineHandler(full, TextFormatter())
        logger = logging.Logger("full")
        logger.addHandler(handler)
        logger.warning("nobody reads this")
        with contextlib.suppress(OSError):
            full.close()
    assert capfd.readouterr().err == ""


# Held back.


def test_a_warning_is_said_once_a_minute_and_the_others_are_counted(
    text: Lines,
) -> None:
    text.at(0).warning("%s is full", "the disk")
    for second in range(1, 42):
        text.at(second).warning("%s is full", f"the disk at {second}")
    assert text.messages == ["the disk is full"]
    text.at(60).warning("%s is full", "the disk again")
    assert text.messages[1:] == [
        "the disk again is full (and 41 more like it since the last)"
    ]
    text.at(119).warning("%s is full", "the disk")
    assert len(text.messages) == 2


def test_json_counts_what_was_held_back_in_a_field(objects: Lines) -> None:
    for second in (0, 1, 2, 60):
        objects.at(second).warning("full")
    first, then = objects.objects
    assert "held_back" not in first
    assert (then["message"], then["held_back"]) == ("full", 2)


def test_what_is_held_back_comes_with_whatever_is_said_after_the_minute(
    text: Lines,
) -> None:
    for second in (0, 10, 20):
        text.at(second).warning("down since %d", second)
    text.at(59).info("a report")
    text.at(61).info("another")
    assert text.messages == [
        "down since 0",
        "a report",
        "down since 20 (and 1 more like it since the last)",
        "another",
    ]


def test_what_came_late_begins_a_minute_of_its_own(text: Lines) -> None:
    for second in (0, 10):
        text.at(second).warning("down")
    text.at(70).info("a report")
    text.at(80).warning("down")
    assert text.messages == ["down", "down", "a report"]


def test_warnings_of_different_kinds_do_not_hold_each_other_back(text: Lines) -> None:
    logger = text.at(0)
    logger.warning("%s is full", "a")
    logger.warning("%s is gone", "a")
    logger.error("%s is lost", "a")
    logger.warning("%s", "this")
    logger.warning("%s", "that")
    logger.warning("%s", "that")
    assert text.messages == ["a is full", "a is gone", "a is lost", "this", "that"]


def test_what_is_no_warning_is_never_held_back(text: Lines) -> None:
    for _ in range(5):
        text.at(0).info("a sender is here")
    assert len(text.messages) == 5


def test_kinds_without_end_cost_no_memory_without_end(text: Lines) -> None:
    for number in range(10 * KINDS_MAX):
        text.at(0).warning(f"kind {number}")
    assert len(text.messages) == KINDS_MAX + 1


def test_the_end_brings_what_was_held_back(text: Lines) -> None:
    for second in (0, 10, 20):
        text.at(second).warning("down since %d", second)
    text.handler.close()
    assert text.messages[1:] == ["down since 20 (and 1 more like it since the last)"]


@pytest.mark.usefixtures("installed")
def test_a_process_that_says_nothing_else_says_what_was_held_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.install("text", "info")
    turns = logs.HeldBack()
    assert turns.due() is None
    for number in range(3):
        logging.getLogger("ours").warning("number %d", number)
    due = turns.due()
    assert due is not None
    turns.serve(Instant(due - 1, 0))
    assert "number 2" not in capfd.readouterr().err
    turns.serve(Instant(due, 0))
    assert "number 2 (and 1 more" in capfd.readouterr().err
    assert turns.due() is None
    assert QUIET_NS == 60_000_000_000


# What a line looks like.


def test_time_is_as_rfc_3339_has_it_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"
    assert utc_text(1_738_324_800_007) == "2025-01-31T12:00:00.007Z"


def test_an_object_has_time_level_logger_message_and_fields(objects: Lines) -> None:
    fields = {"held": 3, "dropped": {"shutdown": 1}, "level": "of something else"}
    objects.logger.info("%d held", 3, extra={"fields": fields})
    (line,) = objects.objects
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["time"]))
    assert line["level"] == "info"
    assert line["logger"] == objects.logger.name
    assert line["message"] == "3 held"
    assert (line["held"], line["dropped"]) == (3, {"shutdown": 1})


@pytest.mark.usefixtures("installed")
def test_errors_and_totals_are_said_at_any_level(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.install("text", "error")
    logging.getLogger("ours").info("not asked for")
    logs.say("totals", "written 5")
    logs.say("error", "it broke\nbadly")
    assert capfd.readouterr().err == "totals: written 5\nerror: it broke\\nbadly\n"


@pytest.mark.usefixtures("installed")
def test_totals_are_an_object_with_their_numbers(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.install("json", "info")
    logs.say("totals", "written 5", {"written": 5, "name": "any"})
    line = json.loads(capfd.readouterr().err)
    assert (line["event"], line["level"], line["message"]) == (
        "totals",
        "info",
        "written 5",
    )
    assert (line["written"], line["name"]) == (5, "any")


@pytest.mark.usefixtures("installed")
def test_what_was_held_back_comes_before_the_totals(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.install("text", "info")
    for _ in range(2):
        logging.getLogger("ours").warning("the link is down")
    logs.say("totals", "written 5")
    first, second, third = capfd.readouterr().err.splitlines()
    assert first.endswith("the link is down")
    assert second.endswith("the link is down")
    assert third == "totals: written 5"


@pytest.mark.usefixtures("installed")
def test_installing_again_replaces_what_was_there(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.install("text", "info")
    logs.install("json", "info")
    logging.getLogger("ours").info("once")
    assert len(capfd.readouterr().err.splitlines()) == 1
