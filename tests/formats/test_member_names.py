"""Members of archives get places of their own, and none outside of the folder."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.member_names import (
    FOLDERS_MAX,
    PART_MAX,
    PATH_MAX,
    MemberNames,
)
from tests.support.properties import thorough


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("day/a.pcap", "day/a.pcap"),
        ("/etc/passwd", "etc/passwd"),
        ("../../etc/passwd", "etc/passwd"),
        ("a/../../b", "a/b"),
        ("./a//b/./c", "a/b/c"),
        ("..", "member"),
        ("", "member"),
        (".hidden", ".hidden"),
    ],
)
def test_nothing_leads_out_of_the_folder(name: str, place: str) -> None:
    assert MemberNames().place(name) == place


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (("a.pcap", "a.pcap", "a.pcap"), ["a.pcap", "a-2.pcap", "a-3.pcap"]),
        (("x/a.pcap.gz", "/x/a.pcap.gz"), ["x/a.pcap.gz", "x/a-2.pcap.gz"]),
        (("x/a.pcap", "y/a.pcap"), ["x/a.pcap", "y/a.pcap"]),
        (("log.1.pcap", "log.2.pcap"), ["log.1.pcap", "log.2.pcap"]),
        (("a", "a/b", "a/c"), ["a", "a-2/b", "a-2/c"]),
        (("a/b", "a"), ["a/b", "a-2"]),
        ((".a", ".a"), [".a", ".a-2"]),
    ],
)
def test_what_another_has_got_gets_a_number(
    names: tuple[str, ...], places: list[str]
) -> None:
    given_out = MemberNames()
    assert [given_out.place(name) for name in names] == places


def test_a_name_that_no_file_system_takes_is_cut_and_keeps_its_end() -> None:
    place = MemberNames().place("x" * 300 + ".pcap")
    assert len(place) == PART_MAX
    assert place.endswith("x.pcap")


_PARTS = st.sampled_from(
    ["", ".", "..", "a", "b", "a.pcap", "a-2", "\udcff", "é" * 150]
)


@given(st.lists(st.lists(_PARTS, max_size=4).map("/".join), max_size=12))
@thorough
def test_places_are_all_different_and_can_all_be_made(names: list[str]) -> None:
    given_out = MemberNames()
    places = [given_out.place(name) for name in names]
    assert len(set(places)) == len(places)
    folders = {
        "/".join(place.split("/")[:depth])
        for place in places
        for depth in range(1, place.count("/") + 1)
    }
    assert not folders & set(places)
    for place in places:
        assert not place.startswith("/")
        for part in place.split("/"):
            assert part not in {"", ".", ".."}
            assert len(os.fsencode(part)) <= 255 - len("..part")


def test_very_many_of_one_name_take_no_time() -> None:
    """An archive may have a million of them; of each all numbers were tried once."""
    names = MemberNames()
    last = [names.place("a.pcap") for _ in range(30_000)][-1]
    assert last == "a-30000.pcap"


@pytest.mark.parametrize("name", ["a/" * 500_000 + "b.pcap", f"{'x' * 200}/" * 5_000])
def test_of_a_path_that_is_too_long_the_end_is_kept(name: str) -> None:
    """What is before each / of it was remembered: the square of its length."""
    place = MemberNames().place(name)
    assert name.strip("/").endswith(place)
    assert len(place) <= PATH_MAX
    assert place.count("/") <= FOLDERS_MAX


def test_no_name_has_what_no_file_can_be_called() -> None:
    assert MemberNames().place("a\0b/c\0") == "a_b/c_"
