"""What an exporter's address may look like."""

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.metrics.address import Address, parse_address

BAD = (
    "",
    "host",
    "host:",
    "host:port",
    "host:65536",
    "host:-1",
    "host:+1",
    "host: 1",
    "::1:9000",
    "[::1]",
    "[::1]9000",
    "[]:9000",
    "[[::1]]:9000",
    "a:b:1",
    "http://host:9000",
    "host:9000/metrics",
    "ho st:9000",
    "host\n:9000",
    "host:\uff19\uff10",
)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_host_and_port_is_said_with_the_option_and_a_remedy(
    text: str,
) -> None:
    with pytest.raises(ConfigError, match=r"--metrics .*HOST:PORT.*brackets") as caught:
        parse_address("--metrics", text, host="127.0.0.1")
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9000", Address("127.0.0.1", 9000)),
        (":9000", Address("127.0.0.1", 9000)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),  # noqa: S104
        ("gateway.example:80", Address("gateway.example", 80)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_the_host_may_be_left_out_and_is_then_the_one_given(
    text: str, address: Address
) -> None:
    assert parse_address("--metrics", text, host="127.0.0.1") == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("statsd.example", Address("statsd.example", 8125)),
        ("[fe80::1%eth0]", Address("fe80::1%eth0", 8125)),
        ("[::1]:9125", Address("::1", 9125)),
        ("192.0.2.1:9125", Address("192.0.2.1", 9125)),
        ("9125", Address("127.0.0.1", 9125)),
    ],
)
def test_the_port_may_be_left_out_where_there_is_a_usual_one(
    text: str, address: Address
) -> None:
    assert parse_address("--statsd", text, host="127.0.0.1", port=8125) == address


@pytest.mark.parametrize("text", ["[::1]:9000", "192.0.2.1:9000", "host:1"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_address("--metrics", text, host="")) == text
