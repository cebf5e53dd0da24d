"""Members of archives get places of their own, and none outside of the folder."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.member_names import PART_MAX, MemberNames
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
