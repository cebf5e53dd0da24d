"""What may be said of a live stream."""

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.tools.output_spec import Kind, parse_output


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pcap-over-ip://127.0.0.1", "127.0.0.1", 57012),
        ("pcap-over-ip://[::1]", "::1", 57012),
        ("pcap-over-ip://[::1]:4000,queue=1MiB", "::1", 4000),
        ("pcap-over-ip://localhost:0,insecure=no", "localhost", 0),
    ],
)
def test_it_is_a_host_and_the_port_of_the_convention(
    text: str, host: str, port: int
) -> None:
    spec = parse_output(text)
    assert spec.kind is Kind.SERVER
    assert (spec.address.host, spec.address.port) == (host, port)
    assert not spec.insecure


def test_other_hosts_may_be_let_in() -> None:
    assert parse_output("pcap-over-ip://0.0.0.0,insecure=yes").insecure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pcap-over-ip://127.0.0.1,when-slow=wait", "waits for nobody"),
        ("pcap-over-ip://127.0.0.1,insecure=perhaps", "write yes or no"),
        ("file:x.pcap,insecure=yes", "insecure is for pcap-over-ip:// only"),
        ("pcap-over-ip://::1:4000", "no host and port"),
    ],
)
def test_what_makes_no_sense_is_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        parse_output(text)
    assert "\n" not in str(error.value)
