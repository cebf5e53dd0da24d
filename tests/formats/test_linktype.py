"""Link types by name."""

from pcap_zmq.formats import linktype


def test_a_number_without_a_name_is_described_by_itself() -> None:
    assert linktype.describe(147) == "147"


def test_every_name_is_described_with_its_number() -> None:
    described = [linktype.describe(number) for number in linktype.NAMES.values()]
    assert described == [f"{name} ({n})" for name, n in linktype.NAMES.items()]


def test_every_number_that_has_a_name_fits_a_savefile_header() -> None:
    assert all(0 <= number <= linktype.MAXIMUM for number in linktype.NAMES.values())
