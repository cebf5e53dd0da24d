"""A sender on real NFLOG opens its group with a capability and goes on without any."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.namespaces import Network
from testbed.waiting import wait_until
from tests.netns import udp
from tests.netns.pipe import TIMEOUT_S, Pipe, Program
from tests.netns.test_pipe import IDS, log_udp, make_pair, payloads_of

pytestmark = pytest.mark.netns

ALL = ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd")


@pytest.fixture
def network(user_namespace: bool) -> Iterator[Network]:
    with Network(user_namespace) as network:
        yield network


def threads_of(program: Program, thread: str) -> list[dict[str, str]]:
    """The status of each of its threads, once one of this name is there."""

    def found() -> list[dict[str, str]]:
        statuses = []
        for task in Path(f"/proc/{program.process.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            statuses.append(status)
        is_there = any(status["Name"].startswith(thread) for status in statuses)
        return statuses if is_there else []

    return wait_until(found, TIMEOUT_S, f"the thread {thread}")


def assert_confined(program: Program) -> None:
    """No capability in any thread, and none to be had."""
    statuses = threads_of(program, "ZMQbg/IO")
    assert len(statuses) >= 3
    held = {(kind, int(status[kind], 16)) for status in statuses for kind in ALL}
    assert held == {(kind, 0) for kind in ALL}
    assert {status["NoNewPrivs"] for status in statuses} == {"1"}


def test_no_thread_of_either_end_has_a_capability_and_packets_flow(
    network: Network, tmp_path: Path
) -> None:
    make_pair(network)
    log_udp(network)
    pipe = Pipe(network, tmp_path)
    receiver = pipe.receive(network["ids"])
    reader = pipe.read()
    sender = pipe.send(network["gateway"], IDS)
    assert_confined(sender)
    assert_confined(receiver)
    udp.send(network["gateway"], "127.0.0.1", 200, 200)
    sender.stop()
    receiver.await_end()
    assert reader.wait(TIMEOUT_S) == 0
    assert payloads_of(pipe) == list(udp.payloads(200, 200, 0))
    assert sender.totals()["acknowledged"] == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="there is nobody else to become")
@pytest.mark.parametrize("user", ["", "nobody"])
def test_a_sender_that_another_user_starts_needs_one_capability_and_gives_it_up(
    tmp_path: Path, user: str
) -> None:
    """As a service manager does it, with AmbientCapabilities=CAP_NET_ADMIN. The other
    capability is for an interpreter that lies below /root."""
    entry = pwd.getpwnam("nobody")
    some = "-all,+net_admin,+dac_read_search"
    ambient = (
        *("setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}"),
        *("--clear-groups", f"--bounding-set={some}"),
        *(f"--inh-caps={some}", f"--ambient-caps={some}", "--"),
    )
    options = ("--user", user) if user else ()
    with Network(user_namespace=False) as network:
        make_pair(network)
        log_udp(network)
        pipe = Pipe(network, tmp_path)
        receiver = pipe.receive(network["ids"])
        reader = pipe.read()
        sender = pipe.send(network["gateway"], IDS, *options, within=ambient)
        statuses = threads_of(sender, "ZMQbg/IO")
        held = {int(status[kind], 16) for status in statuses for kind in ALL[:-1]}
        assert held == {0}
        assert {status["NoNewPrivs"] for status in statuses} == {"1"}
        udp.send(network["gateway"], "127.0.0.1", 50, 200)
        sender.stop()
        receiver.await_end()
        assert reader.wait(TIMEOUT_S) == 0
        assert sender.totals()["acknowledged"] == 50
