"""The example that fetches packets around alerts, with Suricata's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.ids import Suricata
from tests.pipes import packets
from tests.pipes.tools import BIN, PATIENCE_S, Tools

EXAMPLE = Path(__file__).parents[2] / "examples" / "around_alerts.py"

# A thousand packets a second.
PACKETS = range(5_000)
NOTICED = 2_500
RULE = f"""
alert udp any any -> any 5001 (msg:"noticed"; content:"|{NOTICED:016x}|"; sid:7;)
"""


@pytest.mark.skipif(not Suricata.is_installed(), reason="suricata is not installed")
def test_the_seconds_around_an_alert_are_fetched_once(
    tools: Tools, tmp_path: Path
) -> None:
    savefile, directory = tmp_path / "some.pcap", tmp_path / "alerts"
    packets.write(savefile, PACKETS)
    directory.mkdir()
    suricata = Suricata(tmp_path, RULE)
    subprocess.run(
        suricata.command(savefile), check=True, stdout=subprocess.DEVNULL, timeout=60
    )
    assert len(suricata.alerts()) == 1
    receiver, address = tools.receive_on_tcp("file:/dev/null", "--keep", "16MiB")
    tools.send(savefile, address).finish()
    receiver.wait_to_say("has left")
    # Twice, and with what is no event between.
    events = (tmp_path / "eve.json").read_bytes()
    argv = [sys.executable, str(EXAMPLE), address, str(directory)]
    argv += ["--before=1", "--after=1"]
    subprocess.run(
        argv,
        input=events + b'{"torn": \nnull\n' + events,
        check=True,
        timeout=PATIENCE_S,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "TZ": "UTC"},
    )
    (found,) = directory.iterdir()
    assert found.name.split("-")[1] == "7"
    numbers = packets.numbers(found.read_bytes())
    assert numbers == list(range(NOTICED - 1_000, NOTICED + 1_000))
