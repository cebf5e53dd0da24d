"""The units as a real service manager runs them, in namespaces of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.netns import udp
from tests.netns.pipe import LINKTYPE_RAW, has_packets, packets_of
from tests.pipes.tools import BIN
from tests.systemd.booted import TIMEOUT_S, Manager, drop_in, why_unavailable
from tests.systemd.units import RECEIVER, SENDER

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable())),
]

ETC = "/etc/pcap-zmq"
SEND, RECV = "pcap-zmq-send@5", "pcap-zmq-recv@ids"
FIFO = "/run/pcap-zmq/ids/packets.fifo"
PACKETS = 200

RULES = f"""
table inet ours {{
    chain out {{
        type filter hook output priority 0
        udp dport {udp.PORT} log group 5 queue-threshold 8
    }}
}}
"""

SEND_SETTINGS = """
[send]
endpoint = "tcp://127.0.0.1:5140"
spool = "/var/lib/pcap-zmq/send-5/spool"
"""

RECV_SETTINGS = f"""
[recv]
address = "tcp://0.0.0.0:5140"
output = "{FIFO}"
linktype = "raw"
"""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    directory = tmp_path_factory.mktemp("systemd")
    keys = directory / "keys"
    for name in ("gateway", "ids"):
        argv = [str(BIN / "pcap-zmq"), "keygen", "--name", name, str(keys)]
        subprocess.run(argv, check=True, capture_output=True)
    with Manager(directory) as manager:
        for path, name in (
            ("send-5.key_secret", "gateway.key_secret"),
            ("recv-ids.key_secret", "ids.key_secret"),
            ("receiver.key", "ids.key"),
            ("allow/gateway.key", "gateway.key"),
        ):
            manager.write(f"{ETC}/{path}", (keys / name).read_text())
        manager.run("sh", "-c", f"chmod 600 {ETC}/*.key_secret")
        manager.write(f"{ETC}/send-5.toml", SEND_SETTINGS)
        manager.write(f"{ETC}/recv-ids.toml", RECV_SETTINGS)
        for unit in (SENDER, RECEIVER):
            where = f"/etc/systemd/system/{unit.name}"
            manager.write(where, unit.read_text())
            manager.write(f"{where}.d/interpreter.conf", drop_in())
        manager.write("/ours.nft", RULES)
        manager.run("nft", "-f", "/ours.nft")
        manager.run("systemctl", "daemon-reload")
        yield manager


@pytest.fixture
def running(manager: Manager) -> Iterator[Manager]:
    """With both units started; stopped again in the end."""
    manager.run("systemctl", "start", RECV, SEND)
    yield manager
    manager.run("systemctl", "stop", SEND, RECV)
    manager.run("systemctl", "reset-failed", check=False)


def states(manager: Manager, unit: str) -> tuple[str, str]:
    return (
        manager.property_of(unit, "ActiveState"),
        manager.property_of(unit, "SubState"),
    )


def test_settings_that_are_wrong_are_told_and_not_tried_again(manager: Manager) -> None:
    manager.write(f"{ETC}/send-6.toml", '[send]\nendpoimt = "tcp://x:1"\n')
    manager.run("cp", f"{ETC}/send-5.key_secret", f"{ETC}/send-6.key_secret")
    unit = "pcap-zmq-send@6"
    manager.run("systemctl", "start", unit, check=False)
    assert states(manager, unit) == ("failed", "failed"), manager.journal(unit)
    assert manager.property_of(unit, "ExecMainStatus") == "2"
    assert "did you mean endpoint" in manager.journal(unit)
    manager.run("systemctl", "reset-failed", unit)


def test_without_a_key_nothing_starts(manager: Manager) -> None:
    manager.write(f"{ETC}/recv-keyless.toml", RECV_SETTINGS)
    unit = "pcap-zmq-recv@keyless"
    manager.run("systemctl", "start", unit, check=False)
    assert manager.property_of(unit, "MainPID") == "0"
    manager.run("systemctl", "stop", unit)
    manager.run("systemctl", "reset-failed", unit, check=False)


def test_both_are_ready_and_tell_their_status(running: Manager) -> None:
    assert states(running, SEND) == states(running, RECV) == ("active", "running")
    assert running.property_of(SEND, "StatusText").startswith("acknowledged ")
    assert running.property_of(RECV, "StatusText").startswith("written ")


@pytest.mark.parametrize("unit", [SEND, RECV])
def test_every_thread_runs_without_root_capabilities_and_free_system_calls(
    running: Manager, unit: str
) -> None:
    threads = running.threads(unit)
    assert len(threads) >= 3
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert {int(thread[kind], 16) for thread in threads} == {0}
    assert {thread["NoNewPrivs"] for thread in threads} == {"1"}
    assert {thread["Seccomp"] for thread in threads} == {"2"}
    assert "0" not in {uid for thread in threads for uid in thread["Uid"].split()}


def test_packets_flow_from_one_unit_to_the_other_and_into_the_fifo(
    running: Manager, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        reader = subprocess.Popen([*running.entry(), "cat", FIFO], stdout=file)
    running.run(*udp.command("127.0.0.1", PACKETS, 100))
    wait_until(
        lambda: output.stat().st_size > 0 and has_packets(output, PACKETS),
        TIMEOUT_S,
        "the packets behind the FIFO",
    )
    running.run("systemctl", "stop", SEND, RECV)
    assert reader.wait(TIMEOUT_S) == 0
    header = output.read_bytes()[:24]
    assert header[20:22] == bytes([LINKTYPE_RAW, 0])
    found = [udp.payload(packet.data) for packet in packets_of(output, header)]
    assert found == list(udp.payloads(PACKETS, 100, 0))
    assert f"acknowledged {PACKETS}" in running.journal(SEND)
    for unit in (SEND, RECV):
        assert running.property_of(unit, "Result") == "success"


def test_the_fifo_stays_while_the_receiver_restarts(running: Manager) -> None:
    """For an IDS that waits for it to be opened."""
    inode = running.run("stat", "-c", "%i", FIFO)
    running.run("systemctl", "restart", RECV)
    assert running.run("stat", "-c", "%i", FIFO) == inode


def test_a_receiver_that_is_the_user_of_an_ids_makes_a_fifo_for_it(
    manager: Manager,
) -> None:
    """Though it was another user before, with another directory."""
    where = f"/etc/systemd/system/{RECV}.service.d/user.conf"
    manager.run("systemctl", "start", RECV)
    manager.run("systemctl", "stop", RECV)
    manager.write(where, "[Service]\nDynamicUser=no\nUser=nobody\n")
    manager.run("systemctl", "daemon-reload")
    manager.run("systemctl", "start", RECV)
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    reading = f"timeout 20 head -c 4 {FIFO} | od -An -tx1"
    magic = manager.run(*as_user, "sh", "-c", reading)
    assert magic.split() == ["4d", "3c", "b2", "a1"]
    manager.run("systemctl", "stop", RECV)
    manager.run("rm", where)
    manager.run("systemctl", "daemon-reload")


def test_a_reload_reads_the_allowed_keys_again_and_restarts_nothing(
    running: Manager,
) -> None:
    pid = running.property_of(RECV, "MainPID")
    running.run("systemctl", "reload", RECV)
    assert running.property_of(RECV, "MainPID") == pid
    assert states(running, RECV) == ("active", "running")


def test_a_loop_that_hangs_is_started_again(running: Manager) -> None:
    hasty = "[Service]\nWatchdogSec=1s\nTimeoutAbortSec=1s\nRestartSec=0\n"
    where = f"/etc/systemd/system/{RECEIVER.name}.d/hasty.conf"
    running.write(where, hasty)
    running.run("systemctl", "daemon-reload")
    running.run("systemctl", "restart", RECV)
    pid = running.property_of(RECV, "MainPID")
    running.run("kill", "-STOP", pid)

    def is_back() -> bool:
        is_another = running.property_of(RECV, "MainPID") not in {pid, "0"}
        return is_another and states(running, RECV) == ("active", "running")

    wait_until(is_back, TIMEOUT_S, "another receiver")
    assert running.property_of(RECV, "NRestarts") == "1"
    running.run("rm", where)
    running.run("systemctl", "daemon-reload")


def test_a_sender_reaches_no_address_that_its_unit_does_not_name(
    manager: Manager,
) -> None:
    """What it mirrors is for nobody else, whatever its settings say."""
    unit = "pcap-zmq-send@7"
    manager.run("ip", "address", "replace", "192.0.2.1/32", "dev", "lo")
    manager.run("cp", f"{ETC}/send-5.key_secret", f"{ETC}/send-7.key_secret")
    manager.write(f"{ETC}/send-7.toml", '[send]\nendpoint = "tcp://192.0.2.1:5140"\n')
    manager.run("systemctl", "start", RECV, unit)
    wait_until(
        lambda: "nothing answers at tcp://192.0.2.1" in manager.journal(unit),
        TIMEOUT_S,
        "a connection that is not made",
    )
    manager.write(
        f"/etc/systemd/system/{unit}.service.d/receiver.conf",
        "[Service]\nIPAddressAllow=192.0.2.1\n",
    )
    manager.run("systemctl", "daemon-reload")
    manager.run("systemctl", "restart", unit)
    wait_until(
        lambda: "takes packets" in manager.journal(unit),
        TIMEOUT_S,
        "a connection that is made",
    )
    manager.run("systemctl", "stop", unit, RECV)
