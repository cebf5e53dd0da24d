"""A file system that is small enough to be full."""

import subprocess
from pathlib import Path

from testbed.waiting import first_line
from tests.faults.ids import PATIENCE_S
from tests.faults.world import World


class SmallDisk:
    """A file system of a few MiB that only who enters it sees."""

    def __init__(self, world: World, path: Path, octets: int) -> None:
        self._host = world.ids_host
        path.mkdir()
        self.path = path
        script = f"mount -t tmpfs -o size={octets} none {path} && echo ready && cat"
        self._holder = self._host.popen(
            ["unshare", "--mount", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert first_line(self._holder.stdout, PATIENCE_S, "a disk") == "ready"

    @property
    def entry(self) -> list[str]:
        """The start of a command that sees it."""
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--"]

    def run(self, *argv: str) -> str:
        """A command that sees it."""
        return self._host.run([*self.entry, *argv]).stdout

    def close(self) -> None:
        """It is gone, with all that was on it, once nobody is in it any more."""
        self._holder.kill()
        self._holder.wait()
        self.path.rmdir()

    def read(self, name: str) -> bytes:
        """What is in a file on it."""
        return subprocess.run(
            self._host.command([*self.entry, "cat", f"{self.path}/{name}"]),
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
