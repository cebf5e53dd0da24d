"""What is made of different files is never called the same."""

from hypothesis import given
from hypothesis import strategies as st

from pcap_zmq.formats.out_names import OutNames, file_name, is_called


def stems(*places: str) -> list[str]:
    names = OutNames()
    return [names.stem(place) for place in places]


def test_names_keep_all_that_tells_files_apart() -> None:
    """Of a name all behind the first dot was lost once, and outputs with it."""
    places = ("log.1.pcap", "log.2.pcap", "a/log.1.pcap", "log.pcap.1.1609459200.lz4")
    assert stems(*places) == ["log.1", "log.2", "a/log.1", "log.pcap.1.1609459200"]


def test_names_that_would_be_the_same_get_numbers() -> None:
    places = ("a.pcap", "a.pcapng", "a.pcap.gz", "a-2.pcap", "a", "A.pcap")
    assert stems(*places) == ["a", "a-2", "a-3", "a-2-2", "a-4", "A"]


def test_a_name_is_none_that_a_link_type_makes_of_another() -> None:
    assert stems("a.pcap", "a.raw.pcap", "a.linktype147.pcap", "a.rawer") == [
        "a",
        "a.raw-2",
        "a.linktype147-2",
        "a.rawer",
    ]


def test_very_many_of_one_name_take_no_time() -> None:
    """An archive may have a million of them; of each all numbers were tried once."""
    names = OutNames()
    last = [names.stem("a.pcap") for _ in range(30_000)][-1]
    assert last == "a-30000"


def test_no_place_leads_out_of_the_folder() -> None:
    assert stems("../../etc/a.pcap", "/etc/b.pcap", "..", "/", ".gz", "./c") == [
        "etc/a",
        "etc/b",
        "capture",
        "capture-2",
        ".gz",
        "c",
    ]


def test_a_file_name_tells_its_link_type_and_compression() -> None:
    stem = "day/log.1"
    assert file_name(stem, None, "") == "day/log.1.pcap"
    assert file_name(stem, 101, ".gz") == "day/log.1.raw.pcap.gz"
    assert file_name(stem, 147, "") == "day/log.1.linktype147.pcap"


def test_a_suffix_may_be_followed_by_what_tells_the_compression() -> None:
    assert is_called("a.pcap", ".pcap")
    assert is_called("a.pcap.GZ", ".pcap")
    assert is_called("a.pcap.gz", ".gz")
    assert is_called("anything", "")
    assert not is_called("a.pcap.bz2", ".pcap")
    assert not is_called("pcap", ".pcap")


def test_a_name_that_is_too_long_for_files_is_cut() -> None:
    long = "x" * 300
    assert stems(f"{long}.pcap", f"{long}y.pcap", "/".join(["d"] * 3_000)) == [
        "x" * 200,
        "x" * 200 + "-2",
        "/".join(["d"] * 32),
    ]


def test_a_name_that_is_no_utf_8_stays() -> None:
    assert stems("c\udcff.pcap", "c\0.pcap") == ["c\udcff", "c_"]


parts = st.sampled_from(["a", "a-2", "b", "..", "/", "a.raw", "a.ipv4", ".gz"])
endings = st.sampled_from(["", ".pcap", ".pcapng", ".pcap.gz", ".tar.xz", ".raw"])
places = st.builds(
    lambda folders, name, ending: "/".join([*folders, name + ending]),
    st.lists(parts, max_size=2),
    parts,
    endings,
)


@given(st.lists(places, max_size=30))
def test_all_files_of_all_link_types_have_names_of_their_own(given: list[str]) -> None:
    names = OutNames()
    stems = [names.stem(place) for place in given]
    variants = {
        file_name(stem, linktype, "") for stem in stems for linktype in (None, 101, 228)
    }
    assert len(variants) == 3 * len(given)
    assert not any(".." in path.split("/") or path[0] == "/" for path in variants)
