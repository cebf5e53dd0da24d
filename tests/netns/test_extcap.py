"""tshark finds our interfaces and captures real packets from them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed import rules
from testbed.namespaces import SEARCH_PATH, Network, why_unavailable
from testbed.waiting import wait_until
from tests.netns import udp
from tests.netns.pipe import GROUP, TIMEOUT_S

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(
        shutil.which("tshark", path=SEARCH_PATH) is None,
        reason="tshark is not installed",
    ),
]

BIN = Path(sys.executable).parent
COUNT = 5
START_S = 3 * TIMEOUT_S
"""tshark asks every program that there is, one after the other, before it begins."""

RULES = f"""\
table inet ours {{
    chain out {{
        type filter hook output priority 0
        udp dport {{ {udp.PORT}, 53 }} log prefix "own: " group {GROUP}
    }}
}}
"""

# In place of ssh: the last argument is the command, and no other host is needed.
SSH = """\
#!/bin/sh
echo "$@" > {said}
while [ $# -gt 1 ]; do shift; done
exec sh -c "$1"
"""


@pytest.fixture
def network() -> Iterator[Network]:
    """A gateway that makes its own traffic."""
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    with Network() as network:
        network.add("gateway").run(["nft", "-f", "-"], input=RULES)
        yield network


class Wireshark:
    """tshark with a home of its own, into which we were installed."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._network = network
        self._log = directory / "tshark.log"
        self.output = directory / "fields"
        self._environment = {
            **os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": ""
        }  # fmt: skip
        subprocess.run(
            [BIN / "pcap-zmq", "extcap", "--install"],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def interfaces(self) -> str:
        return self._network["gateway"].run(
            ["tshark", "-D"], env=self._environment, timeout_s=START_S
        ).stdout  # fmt: skip

    def start(self, interface: str, *arguments: str, **options: str) -> Any:
        """It prints the fields of COUNT packets, and ends."""
        argv = ["tshark", "-l", "-n", "-i", interface, "-c", str(COUNT), *arguments]
        for name, value in options.items():
            # As Wireshark calls what is in its preferences.
            owner = interface.replace("-", "_")
            argv += ["-o", f"extcap.{owner}.{name}:{value}"]
        argv += ["-T", "fields"]
        for field in ("nflog.prefix", "nflog.res_id", "udp.dstport", "udp.length"):
            argv += ["-e", field]
        with self._log.open("w") as log, self.output.open("w") as output:
            return self._network.popen(
                argv,
                self._network["gateway"],
                stdout=output,
                stderr=log,
                env=self._environment,
            )

    def fields(self, process: subprocess.Popen[str]) -> list[list[str]]:
        wait_until(lambda: process.poll() is not None, START_S, "tshark's end")
        log = self._log.read_text()
        assert process.returncode == 0, log
        # What we say on standard error it shows so.
        assert "Error by extcap" not in log, log
        return [line.split("\t") for line in self.output.read_text().splitlines()]


@pytest.fixture
def wireshark(network: Network, tmp_path: Path) -> Wireshark:
    return Wireshark(network, tmp_path)


@pytest.fixture
def ssh(tmp_path: Path) -> dict[str, str]:
    """The options that put a program of ours in the place of ssh."""
    path = tmp_path / "ssh"
    path.write_text(SSH.format(said=tmp_path / "said"))
    path.chmod(0o755)
    return {"sshcommand": str(path), "remotecommand": str(BIN / "pcap-zmq")}


def send(network: Network, wireshark: Wireshark, process: Any) -> None:
    """Packets, once the group is read."""
    gateway = network["gateway"]

    def is_read() -> bool:
        assert process.poll() is None, wireshark.fields(process)
        return rules.is_read(gateway, GROUP)

    wait_until(is_read, START_S, "the group to be read")
    udp.send(gateway, "127.0.0.1", COUNT, 100)


def has_ended(network: Network) -> None:
    """Nobody reads the group any more, so nothing of ours is left."""
    gateway = network["gateway"]
    wait_until(lambda: not rules.is_read(gateway, GROUP), TIMEOUT_S, "the end")


def test_tshark_lists_our_interfaces(wireshark: Wireshark) -> None:
    listed = wireshark.interfaces()
    assert "pcap-zmq (pcap-zmq: packets that senders send)" in listed
    assert "pcap-zmq-ssh (pcap-zmq: NFLOG groups of a gateway, by ssh)" in listed


def test_a_gateways_group_is_captured_over_ssh_with_what_the_kernel_says(
    network: Network, wireshark: Wireshark, ssh: dict[str, str], tmp_path: Path
) -> None:
    process = wireshark.start(
        "pcap-zmq-ssh", remotehost="gw", remoteuser="me", remoteport="2222", **ssh
    )
    send(network, wireshark, process)
    expected = ["own: ", str(GROUP), str(udp.PORT), "108"]
    assert wireshark.fields(process) == COUNT * [expected]
    has_ended(network)
    said = (tmp_path / "said").read_text()
    assert said.startswith("-o BatchMode=yes -p 2222 -- me@gw ")


def test_a_gateway_sends_only_what_the_capture_filter_takes(
    network: Network, wireshark: Wireshark, ssh: dict[str, str]
) -> None:
    process = wireshark.start(
        "pcap-zmq-ssh", "-f", f"udp port {udp.PORT}",
        remotehost="gw", linktype="raw", snaplen="64", **ssh,
    )  # fmt: skip

    def send_others() -> None:
        program = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
            "s.sendto(b'x', ('127.0.0.1', 53))"
        )
        network["gateway"].run([sys.executable, "-c", program])

    wait_until(
        lambda: rules.is_read(network["gateway"], GROUP),
        START_S,
        "the group to be read",
    )
    send_others()
    udp.send(network["gateway"], "127.0.0.1", COUNT, 100)
    expected = ["", "", str(udp.PORT), "108"]
    assert wireshark.fields(process) == COUNT * [expected]
    has_ended(network)


def test_when_the_connection_ends_the_gateways_end_does_too(
    network: Network, wireshark: Wireshark, ssh: dict[str, str]
) -> None:
    process = wireshark.start("pcap-zmq-ssh", remotehost="gw", **ssh)
    wait_until(
        lambda: rules.is_read(network["gateway"], GROUP),
        START_S,
        "the group to be read",
    )
    process.terminate()
    process.wait(TIMEOUT_S)
    has_ended(network)


SSHD = shutil.which("sshd", path=f"{SEARCH_PATH}:/usr/sbin")

SSHD_CONFIG = """\
ListenAddress 127.0.0.1:2222
HostKey {directory}/host
AuthorizedKeysFile {directory}/me.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
"""


@pytest.mark.skipif(
    SSHD is None or os.geteuid() != 0, reason="needs a root who may run sshd"
)
def test_a_gateways_group_is_captured_over_ssh_itself(
    network: Network, wireshark: Wireshark, tmp_path: Path
) -> None:
    for name in ("host", "me"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name]
        subprocess.run(command, cwd=tmp_path, check=True)
    host_key = (tmp_path / "host.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:2222 {host_key}")
    (tmp_path / "config").write_text(SSHD_CONFIG.format(directory=tmp_path))
    Path("/run/sshd").mkdir(exist_ok=True)
    with (tmp_path / "sshd.log").open("w") as log:
        network["gateway"].popen(
            [str(SSHD), "-D", "-e", "-f", str(tmp_path / "config")], stderr=log
        )
    wait_until(
        lambda: "listening on" in (tmp_path / "sshd.log").read_text(),
        TIMEOUT_S,
        "sshd to listen",
    )
    process = wireshark.start(
        "pcap-zmq-ssh",
        remotehost="127.0.0.1",
        remoteport="2222",
        remoteuser="root",
        sshkey=str(tmp_path / "me"),
        sshcommand=f"ssh -F none -o UserKnownHostsFile={tmp_path}/known",
        remotecommand=str(BIN / "pcap-zmq"),
    )
    send(network, wireshark, process)
    expected = ["own: ", str(GROUP), str(udp.PORT), "108"]
    assert wireshark.fields(process) == COUNT * [expected]
    has_ended(network)


@pytest.mark.parametrize(
    ("listens", "linktype"),
    [(False, "nflog"), (True, "ethernet")],
    ids=["connecting", "listening"],
)
def test_what_a_sender_sends_is_captured(
    listens: bool, linktype: str, network: Network, wireshark: Wireshark
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    process = wireshark.start(
        "pcap-zmq", endpoint=endpoint, mode="listen" if listens else "connect"
    )
    options = [] if listens else ["--bind"]
    sender = network["gateway"].popen(
        [
            str(BIN / "pcap-zmq-send"), "--linktype", linktype, *options,
            f"nflog:{GROUP}", endpoint,
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    send(network, wireshark, process)
    nflog = ["own: ", str(GROUP)] if linktype == "nflog" else ["", ""]
    assert wireshark.fields(process) == COUNT * [[*nflog, str(udp.PORT), "108"]]
    sender.terminate()
    sender.wait(TIMEOUT_S)
