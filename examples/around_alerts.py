"""Fetches the packets around each alert of Suricata, a savefile an alert.

    tail -F eve.json | python around_alerts.py ADDRESS DIRECTORY [OPTION...]

ADDRESS: of a pcap-zmq-recv that was started with --keep. Further options go to
pcap-zmq query as they are: --key, --peer-key. An alert's packets are fetched when the
seconds after it have passed, or the input has ended.
"""

import argparse
import json
import os
import select
import subprocess
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]

ALERTS_MAX = 10_000
"""That wait; beyond, new ones are passed over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--before", type=float, default=30, help="seconds [30]")
    parser.add_argument("--after", type=float, default=30, help="seconds [30]")
    given, options = parser.parse_known_args()
    waiting: deque[tuple[float, Event]] = deque()
    rest = b""
    while True:
        left = waiting[0][0] - time.monotonic() if waiting else None
        ready, _, _ = select.select([0], [], [], left and max(0, left))
        if ready:
            octets = os.read(0, 1 << 16)
            if not octets:
                break
            *lines, rest = (rest + octets).split(b"\n")
            for event in alerts(lines):
                if len(waiting) < ALERTS_MAX:
                    waiting.append((time.monotonic() + given.after, event))
        while waiting and waiting[0][0] <= time.monotonic():
            fetch(waiting.popleft()[1], given, options)
    for _, event in waiting:
        fetch(event, given, options)


def alerts(lines: list[bytes]) -> list[Event]:
    """The events of alerts with two addresses among these lines."""
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            # Torn by a rotation, perhaps.
            continue
        if isinstance(event, dict) and event.get("event_type") == "alert":
            found.append(event)
    return found


def fetch(event: Event, given: argparse.Namespace, options: list[str]) -> None:
    moment = datetime.fromisoformat(event["timestamp"]).timestamp()
    hosts = [event[side] for side in ("src_ip", "dest_ip") if side in event]
    name = f"{moment:.6f}-{event['alert']['signature_id']}-{event.get('flow_id', 0)}"
    target = given.directory / f"{name}.pcap"
    if target.exists():
        # Another alert of the same packet.
        return
    argv = ["pcap-zmq", "query", given.address, "--output", str(target), *options]
    argv += ["--since", f"@{moment - given.before:.6f}"]
    argv += ["--until", f"@{moment + given.after:.6f}"]
    argv += ["--filter", " and ".join(f"host {host}" for host in hosts)]
    subprocess.run(argv, check=False)


if __name__ == "__main__":
    main()
