"""Files of one of Suricata's logs are told by their names."""

import pytest

from pcap_zmq.formats.pcap_log import log_of


@pytest.mark.parametrize(
    "names",
    [
        ("log.pcap.1700000000", "log.pcap.1700003600", "log.pcap.1700003600.lz4"),
        ("log.pcap.1700000000.123456", "log.pcap.1700000001.5"),
        ("log.pcap.3.1700000000", "log.pcap.3.1700000099.lz4"),
        ("1700000000.pcap", "1700000001.pcap.gz"),
        ("pcap.1234567890.1700000000", "pcap.1234567890.1700000001"),
        ("other.pcap", "other.pcap.zst"),
    ],
)
def test_files_that_follow_each_other_are_of_one_log(names: tuple[str, ...]) -> None:
    assert len({log_of(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("log.pcap.1.1700000000", "log.pcap.2.1700000000"),
        ("pcap.1234567890.1700000000", "pcap.1234567891.1700000000"),
        ("a.pcap.1700000000", "b.pcap.1700000000"),
        ("a.pcap", "b.pcap"),
    ],
)
def test_those_of_two_threads_are_of_two_logs(one: str, other: str) -> None:
    assert log_of(one) != log_of(other)
