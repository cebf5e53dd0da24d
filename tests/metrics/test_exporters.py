"""Exporters, opened together; after root was given up, when nothing can be loaded."""

import subprocess
import sys

import pytest

from pcap_zmq.errors import ConfigError
from pcap_zmq.metrics.exporters import Exporters, ExportOptions
from tests.support.pipeline_fakes import ManualClock

PROGRAM = """
import socket, sys, threading, urllib.request
from pcap_zmq.clock import SystemClock
from pcap_zmq.metrics.exporters import ExportOptions, Exporters
from pcap_zmq.metrics.family import Kind, Metric, single
from pcap_zmq.poll import Poller

clock = SystemClock()
metric = Metric("pcap_zmq_sender_held_packets", Kind.GAUGE, "Held.")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
statsd = f"localhost:{server.getsockname()[1]}" if "statsd" in sys.argv else None
options = ExportOptions("localhost:0", statsd, "p", ("a:b",))
scraped = []

def scrape():
    for accepted in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        request = urllib.request.Request(url, headers={"Accept": accepted})
        with urllib.request.urlopen(request) as answer:
            scraped.append(answer.read().decode())

options.load()

class Nothing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        print("loads", name, file=sys.stderr)
        raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nothing)
exporters = Exporters(options, lambda now: (single(metric, 7),), clock)
url = exporters.attendants[0].url
thread = threading.Thread(target=scrape)
thread.start()
while thread.is_alive():
    Poller().wait(exporters.attendants[0].watch(), 10_000_000)
    exporters.attendants[0].serve(clock.now())
exporters.close()
exporters.close()
assert all("pcap_zmq_sender_held_packets 7.0" in text for text in scraped), scraped
if statsd:
    assert server.recv(1000) == b"p.sender.held_packets:7|g|#a:b\\n"
"""


@pytest.mark.parametrize("also", ["statsd", "nothing"])
def test_once_loaded_nothing_more_is_loaded(also: str) -> None:
    """Root's own Python is not another user's to read: --user would find that out."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, also],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    assert run.returncode == 0


def test_where_nobody_is_shown_anything_nothing_is_open() -> None:
    exporters = Exporters(ExportOptions(), lambda now: (), ManualClock())
    assert exporters.attendants == []
    exporters.close()


def test_what_is_open_is_closed_when_the_next_cannot_be() -> None:
    options = ExportOptions(metrics="0", statsd="[::1%nowhere0]")
    for _ in range(3):
        with pytest.raises(Exception, match="name a host"):
            Exporters(options, lambda now: (), ManualClock())


@pytest.mark.parametrize(
    "options",
    [
        ExportOptions(metrics="here"),
        ExportOptions(statsd="::1"),
        ExportOptions(statsd="h:0"),
        ExportOptions(statsd="h", statsd_tags=("x",)),
        ExportOptions(statsd="h", statsd_prefix="a b"),
        ExportOptions(statsd_tags=("a:b",)),
    ],
)
def test_what_cannot_be_meant_is_refused(options: ExportOptions) -> None:
    with pytest.raises(ConfigError):
        options.check()


def test_the_default_is_to_be_seen_from_nowhere_else() -> None:
    address = ExportOptions(metrics="9000").metrics_address()
    assert str(address) == "127.0.0.1:9000"
