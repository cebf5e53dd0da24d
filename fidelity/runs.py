"""Runs Suricata on a savefile: directly, through the whole pipe, and through the kernel
of a gateway and the whole pipe."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from testbed import rules
from testbed.namespaces import Network
from testbed.suricata import Witness
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]
GROUP = 5
TIMEOUT_S = 120.0

# Loopback's, so that packets that offload has joined in a capture fit.
MTU = 65_535

_RULES = """\
table inet mirror {
    chain prerouting {
        type filter hook prerouting priority -300
        iifname "wire" counter log group %d queue-threshold 1024
    }
}
"""


class Failed(RuntimeError):
    """A program did not do what it was started for; says which, and what it said."""


class Options(NamedTuple):
    """What the pipe is told beside its defaults."""

    send: Sequence[str] = ()
    receive: Sequence[str] = ()


class Scene:
    """Programs that are ended on leaving, and what they say in a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._started: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(TIMEOUT_S)

    def start(self, name: str, argv: Sequence[str]) -> subprocess.Popen[Any]:
        """A program; what it says goes to a file of its name."""
        with (self.directory / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._started.append(process)
        return process

    def said(self, name: str) -> str:
        """What it has said so far."""
        return (self.directory / f"{name}.log").read_text()

    def finish(self, name: str, process: subprocess.Popen[Any]) -> None:
        """Waits for its end. Raises Failed where that is not a good one."""
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            ended = "does not end" if code is None else f"ended with {code}"
            raise Failed(f"{name} {ended}: {self.said(name)[-2_000:]}")


def directly(savefile: Path, directory: Path, *, verifies: bool = False) -> Path:
    """What Suricata says of a savefile: its eve.json."""
    witness = Witness(directory, verifies=verifies)
    with Scene(directory) as scene:
        scene.finish("suricata", scene.start("suricata", witness.command(savefile)))
    return witness.events


def through_the_pipe(
    savefile: Path,
    directory: Path,
    options: Options = Options(),  # noqa: B008  # immutable
    *,
    verifies: bool = False,
) -> Path:
    """The same from behind a sender of the savefile, a receiver and its FIFO."""
    witness = Witness(directory, verifies=verifies)
    with Scene(directory) as scene:
        endpoint = f"ipc://{directory}/link"
        running = _receive(scene, endpoint, witness, options)
        argv = [str(BIN / "pcap-zmq-send"), str(savefile), endpoint, *options.send]
        scene.finish("send", scene.start("send", argv))
        for name, process in running.items():
            scene.finish(name, process)
    return witness.events


def through_the_kernel(
    savefile: Path,
    packets: int,
    directory: Path,
    options: Options = Options(),  # noqa: B008  # immutable
    *,
    verifies: bool = False,
) -> Path:
    """The same from behind a gateway whose rule logs the packets that come in over a
    cable. savefile: of LINKTYPE_RAW, so many packets that a kernel takes."""
    witness = Witness(directory, verifies=verifies)
    with Network() as network, Scene(directory) as scene:
        gateway, far = network.add("gateway"), network.add("far")
        cable = f"ip link add wire mtu {MTU} type veth peer name wire mtu {MTU}"
        gateway.run([*cable.split(), "netns", str(far.pid)])
        for host in (gateway, far):
            # Nobody speaks but the one who replays: no ARP, no router solicitations.
            setting = ["addrgenmode", "none", "arp", "off", "up"]
            host.run(["ip", "link", "set", "wire", *setting])
        gateway.run(["nft", "-f", "-"], input=_RULES % GROUP)
        endpoint = f"ipc://{directory}/link"
        running = _receive(scene, endpoint, witness, options)
        argv = [str(BIN / "pcap-zmq-send"), f"nflog:{GROUP}", endpoint, *options.send]
        sender = scene.start("send", gateway.command(argv))
        wait_until(
            lambda: sender.poll() is not None or rules.is_read(gateway, GROUP),
            TIMEOUT_S,
            "the sender to open its group",
        )
        replay = [sys.executable, "-m", "fidelity.replay", "wire", str(savefile)]
        far.run(replay, env={"PYTHONPATH": str(ROOT)}, timeout_s=TIMEOUT_S)
        wait_until(
            lambda: (
                rules.packets_logged(gateway, GROUP) >= packets
                and rules.is_quiet(gateway, GROUP)
            ),
            TIMEOUT_S,
            f"{packets} packets to be logged",
        )
        sender.terminate()
        scene.finish("send", sender)
        for name, process in running.items():
            scene.finish(name, process)
    return witness.events


def _receive(
    scene: Scene, endpoint: str, witness: Witness, options: Options
) -> dict[str, subprocess.Popen[Any]]:
    """A receiver, and Suricata on its FIFO; both end when the sender has left."""
    fifo = scene.directory / "fifo"
    argv = [str(BIN / "pcap-zmq-recv"), "--once", endpoint, str(fifo)]
    receiver = scene.start("recv", [*argv, *options.receive])
    wait_until(
        lambda: receiver.poll() is not None or fifo.exists(), TIMEOUT_S, "the FIFO"
    )
    if receiver.poll() is not None:
        raise Failed(f"recv has ended: {scene.said('recv')}")
    return {
        "recv": receiver,
        "suricata": scene.start("suricata", witness.command(fifo)),
    }
