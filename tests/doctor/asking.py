"""Asks the doctor, as an operator does, and looks up what it found."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.namespaces import Namespace

BIN = Path(sys.executable).parent
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Diagnosis:
    """What it printed as JSON, and its exit code."""

    exit_code: int
    answer: dict[str, Any]

    def of(self, check: str, verdict: str | None = None) -> list[str]:
        """The texts of one check, perhaps of one verdict only."""
        return [
            finding["text"]
            for finding in self.answer["findings"]
            if finding["check"] == check and verdict in (None, finding["verdict"])
        ]

    def one(self, check: str, verdict: str) -> str:
        """The only text of this check and verdict, with its remedy."""
        texts = self.of(check, verdict)
        assert len(texts) == 1, self.answer["findings"]
        return texts[0]

    def remedy(self, check: str, verdict: str) -> list[str]:
        """What to do, of all findings of this check and verdict."""
        return [
            line
            for finding in self.answer["findings"]
            if (finding["check"], finding["verdict"]) == (check, verdict)
            for line in finding["remedy"]
        ]

    @property
    def problems(self) -> list[str]:
        return [
            finding["text"]
            for finding in self.answer["findings"]
            if finding["verdict"] == "problem"
        ]


def ask(
    *arguments: str | Path,
    host: Namespace | None = None,
    within: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Diagnosis:
    """Runs pcap-zmq doctor --json; it must complain of nothing."""
    argv = [*within, BIN / "pcap-zmq", "doctor", "--json", *arguments]
    command = [str(word) for word in argv]
    done = subprocess.run(
        command if host is None else host.command(command),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.stderr == ""
    return Diagnosis(done.returncode, json.loads(done.stdout))
