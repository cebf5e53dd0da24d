"""The examples do what their first lines say."""

import sys
from pathlib import Path

import pytest

from testbed import rules
from testbed.namespaces import Network
from testbed.waiting import first_line, wait_until
from tests.netns import udp

pytestmark = pytest.mark.netns

EXAMPLES = Path(__file__).parents[2] / "examples"
GROUP = 5
TIMEOUT_S = 20.0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_nflog_in_ten_lines_prints_a_line_for_each_packet(
    address: str, user_namespace: bool
) -> None:
    with Network(user_namespace) as network:
        host = network.add("alone")
        rules.log_packets(host, GROUP, hook="output")
        example = host.popen(
            [sys.executable, str(EXAMPLES / "nflog_in_ten_lines.py"), str(GROUP)],
            stdout=-1,
        )
        wait_until(lambda: rules.is_read(host, GROUP), TIMEOUT_S, "the example to read")
        udp.send(host, address, 1, 100)
        assert example.stdout is not None
        line = first_line(example.stdout, TIMEOUT_S, "a line")
        _, origlen, octets = line.split()
        header = 20 if address == "127.0.0.1" else 40
        assert int(origlen) == header + 8 + 100
        assert bytes.fromhex(octets)[0] >> 4 == (4 if header == 20 else 6)


def test_every_example_is_in_the_list() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    assert all(f"`{path.name}`" in listed for path in EXAMPLES.glob("*.py"))
