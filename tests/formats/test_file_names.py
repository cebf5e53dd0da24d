"""Names with the time in them, and those that look like them."""

import pytest

from pcap_zmq.clock import utc_format
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.file_names import DIRECTIVES, FileNames

NOON_NS = 1_738_324_800_123_456_789


def name_of(pattern: str, number: int = 0, ending: str = "") -> str:
    names = FileNames(pattern, ending)
    return names.name(utc_format(names.stem, NOON_NS), number)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("gw-%Y%m%d-%H%M%S.pcap", "gw-20250131-120000.pcap"),
        ("%F.%s.pcapng", "2025-01-31.1738324800.pcapng"),
        ("gw-%y%j", "gw-25031"),
        ("100%%.pcap", "100%.pcap"),
        (".%H", ".12"),
        ("gw", "gw"),
    ],
)
def test_a_pattern_makes_names_in_utc_and_knows_them_again(
    pattern: str, name: str
) -> None:
    assert name_of(pattern) == name
    assert FileNames(pattern).matches(name)
    assert not FileNames(pattern).matches(f"{name}x")
    assert not FileNames(pattern).matches(f"x{name}")


def test_every_directive_matches_what_it_makes() -> None:
    for directive in DIRECTIVES:
        assert FileNames(f"a{directive}b").matches(name_of(f"a{directive}b")), directive


def test_numbers_come_before_the_ending() -> None:
    assert name_of("gw-%H.pcap", 3) == "gw-12-3.pcap"
    assert name_of("gw-%H.pcap", 3, ".gz") == "gw-12-3.pcap.gz"
    assert name_of("gw-%H.pcap.gz", 3, ".gz") == "gw-12-3.pcap.gz"


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("gw-120000.pcap", "gw-120000-1.pcap"),
        ("gw-120000-1.pcap", "gw-120000-2.pcap"),
        ("gw-120000-19.pcap", "gw-120000-20.pcap"),
    ],
)
def test_the_next_name_is_another_one_of_the_pattern(name: str, following: str) -> None:
    names = FileNames("gw-%H%M%S.pcap")
    assert names.next_name(name) == following
    assert names.matches(following)


def test_a_number_that_is_the_times_is_not_counted_on() -> None:
    names = FileNames("gw-%s.pcap")
    assert names.next_name("gw-1738324800.pcap") == "gw-1738324800-1.pcap"
    assert names.next_name("gw-1738324800-1.pcap") == "gw-1738324800-2.pcap"


@pytest.mark.parametrize("pattern", ["%c", "%p.pcap", "a%", "%-d", "%\n"])
def test_other_directives_are_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="is not for file names here"):
        FileNames(pattern)


def test_what_is_special_in_expressions_is_not_in_names() -> None:
    assert not FileNames("a.b+c%H.pcap").matches("aXb+c12.pcap")
    assert FileNames("a.b+c%H.pcap").matches("a.b+c12.pcap")
