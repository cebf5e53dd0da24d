"""A file that somebody elsewhere has named, in whatever octets."""

import os

import pytest

from pcap_zmq.captures.inputs import Passed
from pcap_zmq.counters import FilesCounters
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.sources.dispatched import AsOne, OneFile, Times
from pcap_zmq.sources.plays import mark_of


@pytest.mark.parametrize(
    "path", ["/a\0b", "\ud800", "/" + "a" * 5_000_000, os.fsdecode(b"\xff"), "", "-"]
)
def test_what_names_no_file_is_broken_and_no_more(path: str) -> None:
    """A NUL in Redis was the end of the dispatcher."""
    troubles: list[PcapZmqError] = []

    def trouble(name: str, error: PcapZmqError) -> None:
        troubles.append(error)

    counters = FilesCounters()
    opened = OneFile(path, (0, 0), Times(counters), trouble, Passed(), regular=True)
    assert list(opened.batches) == []
    assert len(troubles) == 1
    assert opened.why_broken(path)


@pytest.mark.parametrize("path", ["/a\0b", "\ud800", "/" + "a" * 5_000_000])
def test_what_names_no_file_is_known_by_nothing(path: str) -> None:
    assert mark_of(path) == ""


def test_what_names_no_file_keeps_no_others_back() -> None:
    troubles: list[str] = []
    opened = AsOne(
        ["/a\0b", "\ud800"],
        (0, 0),
        FilesCounters(),
        lambda name, error: troubles.append(name),
        Passed(),
    )
    assert list(opened.batches) == []
    assert troubles == ["/a\0b", "\ud800"]
