"""A sender and a receiver with keys, and packets that go through step by step."""

import shutil
import subprocess
from pathlib import Path

from pcap_zmq.formats.certificate import Certificate, Role
from pcap_zmq.keys import make_pair, read_own
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tool, Tools, Totals


class Keys:
    """A receiver's, and those of senders."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.allow = directory / "allow"
        self.allow.mkdir(0o755)
        self.receiver = self.make("ids")

    def make(self, name: str, role: Role = Role.SENDER) -> Certificate:
        return read_own(make_pair(self.directory, name, role)[1])

    def admit(self, name: str, role: Role = Role.SENDER) -> Certificate:
        own = self.make(name, role)
        self.let_in(name)
        return own

    def let_in(self, name: str) -> None:
        # As one should: a copy that is half there would be a broken file.
        shutil.copy(self.directory / f"{name}.key", self.allow / "new")
        (self.allow / "new").rename(self.allow / f"{name}.key")

    def of_receiver(self) -> list[str | Path]:
        secret = self.directory / "ids.key_secret"
        return ["--key", secret, "--allow", self.allow]

    def of(self, name: str) -> list[str | Path]:
        secret = self.directory / f"{name}.key_secret"
        return ["--key", secret, "--peer-key", self.directory / "ids.key"]


class Feed:
    """A sender that gets packets as the test goes on, and the file they end up in."""

    def __init__(
        self,
        tools: Tools,
        directory: Path,
        receiver: Tool,
        endpoint: str,
        *options: str | Path,
    ) -> None:
        self.receiver = receiver
        self._output = directory / "out.pcap"
        self._expected = packets.header()
        self.port = int(endpoint.rpartition(":")[2])
        self.sender = tools.send("-", endpoint, *options, stdin=subprocess.PIPE)
        self.sender.stdin.write(self._expected)
        self.sender.stdin.flush()

    def feed(self, numbers: range) -> None:
        """More packets, which have arrived when this returns."""
        self.give(numbers)
        wait_until(self.has_arrived, PATIENCE_S, f"packets {numbers}")

    def give(self, numbers: range) -> None:
        octets = packets.records(numbers)
        self._expected += octets
        self.sender.stdin.write(octets)
        self.sender.stdin.flush()

    def has_arrived(self) -> bool:
        if not self._output.exists():
            return False
        return self._output.stat().st_size >= len(self._expected)

    def finish(self) -> tuple[Totals, Totals]:
        """The sender's and the receiver's; every octet has arrived, and once."""
        self.sender.stdin.close()
        sent, received = self.sender.finish(), self.receiver.stop()
        assert self._output.read_bytes() == self._expected
        return sent, received


def receive(tools: Tools, directory: Path, *options: str | Path) -> tuple[Tool, str]:
    return tools.receive_on_tcp(f"file:{directory / 'out.pcap'}", *options)
