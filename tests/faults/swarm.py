"""Starts the load process that is many senders, and asks what came of it."""

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.ids import PATIENCE_S
from tests.faults.world import World
from tests.netns.pipe import PORT

ROOT = Path(__file__).parents[2]
FIRST_MARK = 1_000


class Swarm:
    """Many senders (testbed/swarm.py, with its options) on a gateway of a world."""

    def __init__(
        self,
        world: World,
        gateway: str,
        port: int = PORT,
        **options: int | float | bool,
    ) -> None:
        argv = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "testbed.swarm"]
        argv.append(world.address(gateway, port))
        for name, value in options.items():
            flag = f"--{name.replace('_', '-')}"
            if value is not False:
                argv += [flag] if value is True else [flag, str(value)]
        self._process = world.network[gateway].popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def outcome(self, timeout_s: float = 2 * PATIENCE_S) -> dict[str, float]:
        """What came of it, at its end by itself."""
        output, errors = self._process.communicate(timeout=timeout_s)
        assert self._process.returncode == 0, errors
        outcome: dict[str, float] = json.loads(output)
        return outcome
