"""The bounds of an NFLOG socket's options are the C header's, and are kept."""

import pytest

from nflog_ffi import NflogSocket, limits
from nflog_ffi._nflog import lib

BOUNDS = {
    "groups": limits.GROUP,
    "snaplen": limits.SNAPLEN,
    "nlbufsiz": limits.NLBUFSIZ,
    "qthreshold": limits.QTHRESHOLD,
    "qtimeout_cs": limits.QTIMEOUT_CS,
    "rcvbuf": limits.RCVBUF,
}


def test_the_longest_packet_is_the_headers() -> None:
    assert limits.SNAPLEN.maximum == lib.NFLOG_SNAPLEN_MAX


def test_the_kernels_message_buffer_has_the_headers_bounds() -> None:
    assert limits.NLBUFSIZ.minimum == lib.NFLOG_NLBUFSIZ_MIN
    assert limits.NLBUFSIZ.maximum == lib.NFLOG_NLBUFSIZ_MAX


def test_the_least_room_is_that_of_the_longest_packet() -> None:
    longest = limits.SNAPLEN.maximum + 3 & ~3
    room = lib.NFLOG_RECORD_HEADER + lib.NFLOG_METADATA_MAX + longest
    assert room == lib.NFLOG_CAPACITY_MIN


@pytest.mark.parametrize("option", BOUNDS)
def test_a_default_is_within_its_bounds(option: str) -> None:
    bounds = BOUNDS[option]
    assert bounds.minimum <= bounds.default <= bounds.maximum


@pytest.mark.parametrize("option", BOUNDS)
def test_a_bound_itself_is_within_bounds(option: str) -> None:
    bounds = BOUNDS[option]
    for value in (bounds.minimum, bounds.maximum):
        assert bounds.check(option, value) == value


@pytest.mark.parametrize("option", [name for name in BOUNDS if name != "groups"])
@pytest.mark.parametrize("side", ["below", "above"])
def test_an_option_out_of_bounds_is_refused_by_name_before_the_kernel_is_asked(
    option: str, side: str
) -> None:
    bounds = BOUNDS[option]
    value = bounds.minimum - 1 if side == "below" else bounds.maximum + 1
    expected = f"{option} is {value}, outside {bounds.minimum} to {bounds.maximum}"
    with pytest.raises(ValueError, match=expected):
        NflogSocket([0], **{option: value})


@pytest.mark.parametrize("group", [-1, 0x10000])
def test_a_group_that_cannot_be_is_refused(group: int) -> None:
    with pytest.raises(ValueError, match=f"group is {group}, outside 0 to 65535"):
        NflogSocket([0, group])


def test_a_link_type_that_nflog_has_no_form_for_is_refused() -> None:
    with pytest.raises(ValueError, match="linktype is 113, not one of"):
        NflogSocket([0], linktype=113)


def test_no_group_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no NFLOG group was given"):
        NflogSocket([])
