"""AS numbers become the subnets that a MaxMind database gives them."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.conditions import All, Asn, Either, Everything, Not, Subnet
from pcap_zmq.tools.asn import subnets_of
from pcap_zmq.tools.filter_sieves import without_asns
from tests.tools.mmdb import database

NETWORKS = {
    "192.0.2.0/24": 64_496,
    "198.51.100.0/25": 64_497,
    "203.0.113.0/24": 64_496,
    "2001:db8::/32": 64_496,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "asn.mmdb"
    path.write_bytes(database(NETWORKS))
    return path


@pytest.mark.parametrize("octets", [b"", b"nothing of this kind", None])
def test_what_is_no_database_is_an_error(octets: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "asn.mmdb"
    if octets is not None:
        path.write_bytes(octets)
    with pytest.raises(ConfigError, match=r"asn\.mmdb is no MaxMind database"):
        subnets_of(path, [1])


def test_a_database_that_breaks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "asn.mmdb"
    # Pointers into the data lead nowhere.
    octets = database(NETWORKS)
    path.write_bytes(octets.replace(b"\xe1", b"\xff"))
    with pytest.raises(ConfigError, match="is no MaxMind database"):
        subnets_of(path, [1])


def test_numbers_without_a_database_are_an_error() -> None:
    with pytest.raises(ConfigError, match="--asn-db"):
        without_asns({"a": Not(All((Asn((1,)), Everything())))}, None)


def test_a_number_has_all_its_subnets_and_an_unknown_one_none(path: Path) -> None:
    found = subnets_of(path, [64_496, 1])
    wanted = {ip_network(n) for n, number in NETWORKS.items() if number == 64_496}
    assert (set(found[64_496]), found[1]) == (wanted, ())


def test_a_database_of_other_things_knows_no_number(tmp_path: Path) -> None:
    path = tmp_path / "asn.mmdb"
    path.write_bytes(database(NETWORKS, key="geoname_id"))
    assert subnets_of(path, [64_496]) == {64_496: ()}


def test_numbers_are_resolved_wherever_they_are(path: Path) -> None:
    given = {"a": Either((Asn((64_497,)), Not(All((Asn((1,)), Everything())))))}
    subnet = Subnet((ip_network("198.51.100.0/25"),))
    assert without_asns(given, path) == {
        "a": Either((subnet, Not(All((Subnet(()), Everything())))))
    }
    assert without_asns({"a": Everything()}, None) == {"a": Everything()}
