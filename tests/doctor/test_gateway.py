"""What the doctor finds of a gateway beside its rules: who reads the group, who we are,
and in which network."""

import subprocess
import sys
from pathlib import Path

import pytest

from testbed.waiting import first_line
from tests.doctor.gateway import SEND, TIMEOUT_S, WITHOUT_NET_ADMIN, Gateway

pytestmark = pytest.mark.netns


# Who reads the group.

HOLD = """
import sys
from nflog_ffi import NflogSocket
with NflogSocket([int(word) for word in sys.argv[1:]]):
    print("ready", flush=True)
    sys.stdin.read()
"""

HOLD_BY_A_SECOND_SOCKET = (
    """
import socket, sys
taken = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
taken.bind((0, 0))
"""
    + HOLD
)


def script(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


def start(gateway: Gateway, path: Path, *arguments: str) -> subprocess.Popen[str]:
    """A script that says when it is ready, and stays until its input ends."""
    process = gateway.host.popen(
        [sys.executable, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert first_line(process.stdout, TIMEOUT_S, "a reader of a group") == "ready"
    return process


def test_a_free_group_is_well(gateway: Gateway) -> None:
    assert gateway.ask(*SEND).one("groups", "ok") == "group 5 is free"


@pytest.mark.parametrize("text", [HOLD, HOLD_BY_A_SECOND_SOCKET])
def test_a_group_that_another_program_reads_is_a_problem_that_names_it(
    text: str, tmp_path: Path, either_gateway: Gateway
) -> None:
    """Whose port id is its process id, or anything, where it has other sockets."""
    other = script(tmp_path, "somelogger", text)
    pid = start(either_gateway, other, "5", "7").pid
    found = either_gateway.ask(*SEND)
    assert found.one("groups", "problem").startswith(
        f"group 5 is read by somelogger (pid {pid})"
    )
    assert (
        found.one("groups", "ok") == f"other groups in use: 7 by somelogger (pid {pid})"
    )
    assert found.exit_code == 1


def test_a_group_that_our_sender_reads_is_well(
    tmp_path: Path, gateway: Gateway
) -> None:
    pid = start(gateway, script(tmp_path, "pcap-zmq-send", HOLD), "5").pid
    said = gateway.ask(*SEND).one("groups", "ok")
    assert said == f"group 5 is read by pcap-zmq-send (pid {pid})"


def test_several_senders_are_told_of(tmp_path: Path, gateway: Gateway) -> None:
    sender = script(tmp_path, "pcap-zmq-send", HOLD)
    start(gateway, sender, "5")
    start(gateway, sender, "6", "7")
    found = gateway.ask(*SEND)
    assert "2 senders run here" in "".join(found.of("groups", "ok"))
    assert found.of("groups", "problem") == []


def test_group_0_is_the_kernels_own(gateway: Gateway) -> None:
    assert "group 0 is also the kernel's own" in gateway.ask("--send", "0").one(
        "groups", "warning"
    )


# Who we are and where.


def test_without_the_capability_there_is_a_problem(either_gateway: Gateway) -> None:
    found = either_gateway.ask(*SEND, within=WITHOUT_NET_ADMIN)
    assert "has no CAP_NET_ADMIN" in found.one("rights", "problem")
    assert found.exit_code == 1


def test_with_the_capability_all_is_well(
    either_gateway: Gateway, user_namespace: bool
) -> None:
    found = either_gateway.ask(*SEND)
    said = found.one("rights", "ok")
    assert ("of a user namespace" in said) is user_namespace


def test_a_capability_of_another_user_namespace_does_not_count(
    gateway: Gateway,
) -> None:
    within = ("unshare", "--user", "--map-root-user", "--")
    said = gateway.ask(*SEND, within=within).one("rights", "problem")
    assert "does not count in this network namespace" in said


def test_a_network_of_its_own_is_a_warning_unless_the_rules_are_in_it(
    gateway: Gateway,
) -> None:
    assert gateway.ask(*SEND).one("namespace", "warning")
    gateway.add("nft", "forward")
    assert "where the rules are, too" in gateway.ask(*SEND).one("namespace", "ok")


def test_the_kernel_has_nflog(gateway: Gateway) -> None:
    assert "has nfnetlink_log" in gateway.ask(*SEND).one("kernel", "ok")


def test_the_receive_buffer_is_given_to_root_alone(
    either_gateway: Gateway, user_namespace: bool
) -> None:
    found = either_gateway.ask(*SEND, "--rcvbuf", "1GiB")
    maximum = Path("/proc/sys/net/core/rmem_max")
    if not user_namespace:
        assert found.one("receive buffer", "ok")
    elif maximum.exists():
        expected = f"net.core.rmem_max of {int(maximum.read_text())} is less"
        assert expected in found.one("receive buffer", "warning")
        small = either_gateway.ask(*SEND, "--rcvbuf", "128KiB")
        assert small.one("receive buffer", "ok")
    else:
        assert found.one("receive buffer", "unknown")
