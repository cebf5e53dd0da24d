"""Readers of a FIFO, as an IDS is one: how they are started, and what they saw.

They need no network, only the FIFO, so they run outside the namespaces: tcpdump gives
up root wherever it finds itself root, and cannot in a user namespace.
"""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from testbed.namespaces import SEARCH_PATH

if TYPE_CHECKING:
    from pathlib import Path


class Alert(NamedTuple):
    """One rule of Suricata's that a packet fitted."""

    rule: int
    text: str
    source: str
    destination: str


class Suricata:
    """Suricata with the given rules and nothing else of the system's configuration."""

    name = "suricata"

    # Complete: what is not here, Suricata does without.
    SETTINGS = """\
        %YAML 1.1
        ---
        outputs:
          - eve-log:
              enabled: yes
              filename: eve.json
              types: [alert, stats]
        stats:
          enabled: yes
        app-layer:
          protocols:
            http: {enabled: yes}
            dns:
              udp: {enabled: yes, detection-ports: {dp: 53}}
              tcp: {enabled: yes, detection-ports: {dp: 53}}
        """

    def __init__(self, directory: Path, rules: str) -> None:
        self._directory = directory
        self._settings = directory / "suricata.yaml"
        self._settings.write_text(textwrap.dedent(self.SETTINGS))
        self.rules = directory / "suricata.rules"
        self.rules.write_text(rules)

    @staticmethod
    def is_installed() -> bool:
        """Whether there is one to start."""
        return shutil.which("suricata", path=SEARCH_PATH) is not None

    def command(self, fifo: Path) -> list[str]:
        """What to start. It ends when the FIFO does."""
        argv = f"suricata -c {self._settings} -S {self.rules} -l {self._directory}"
        # -k none: a packet logged where it was made has its checksum still to come.
        return [*argv.split(), "-k", "none", "-r", str(fifo)]

    def packets_seen(self) -> int:
        """How many packets came out of the FIFO, by Suricata's own count."""
        return int(self._events("stats")[-1]["stats"]["decoder"]["pkts"])

    def alerts(self) -> list[Alert]:
        """What fitted a rule, in order."""
        return [
            Alert(
                int(event["alert"]["signature_id"]),
                str(event["alert"]["signature"]),
                str(ip_address(event["src_ip"])),
                str(ip_address(event["dest_ip"])),
            )
            for event in self._events("alert")
        ]

    def _events(self, kind: str) -> list[dict[str, Any]]:
        lines = (self._directory / "eve.json").read_text().splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [event for event in events if event["event_type"] == kind]


class Tcpdump:
    """tcpdump, which has no opinion but shows what it reads."""

    name = "tcpdump"

    def command(self, fifo: Path) -> list[str]:
        """What to start, with its output where `packets` can read it."""
        return ["tcpdump", "-n", "-r", str(fifo)]

    def packets(self, output: str) -> list[str]:
        """Its lines for packets, one each, in order."""
        return [line for line in output.splitlines() if re.match(r"\d\d:\d\d:", line)]
