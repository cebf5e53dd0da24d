"""Metrics of real processes, scraped over HTTP and sent over UDP."""

import contextlib
import re
import socket
import struct
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pcap_zmq.metrics import receiver, sender
from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tool, Tools

Values = Mapping[str, float]
PACKETS = range(3_000)
OF_SENDER = "pcap_zmq_receiver_sender_"


def url_of(tool: Tool) -> str:
    tool.wait_to_say("metrics at")
    found = re.search(r"metrics at (http://\S+)", tool.said())
    assert found is not None
    return found[1]


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
        text: str = answer.read().decode()
    return text


def values(url: str, **labels: str) -> Values:
    """Every sample that has these labels, by name."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(scrape(url))
        for sample in family.samples
        if labels.items() <= sample.labels.items()
    }


def total(url: str, name: str, **labels: str) -> float:
    """The sum over all samples of a name that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(scrape(url))
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


@pytest.mark.parametrize(
    ("command", "options", "code", "said"),
    [
        (
            "send",
            ["--metrics", "nonsense"],
            2,
            "--metrics 'nonsense' has no host and port",
        ),
        (
            "send",
            ["--metrics", "192.0.2.1:9000"],
            4,
            "--metrics cannot listen on 192.0.2.1",
        ),
        ("receive", ["--statsd", "host:0"], 2, "port 0"),
        ("send", ["--statsd", "[::1%nowhere]"], 4, "name a host that is known here"),
        (
            "receive",
            ["--statsd", "::1", "--statsd-tag", "x"],
            2,
            "--statsd '::1' has no host",
        ),
        ("receive", ["--statsd", "127.0.0.1", "--statsd-tag", "x"], 2, "KEY:VALUE"),
        ("send", ["--statsd-tag", "a:b"], 2, "without --statsd"),
        (
            "receive",
            ["--statsd", "127.0.0.1", "--statsd-prefix", "a b"],
            2,
            "--statsd-prefix",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    tools: Tools,
    tmp_path: Path,
    endpoint: str,
    command: str,
    options: list[str],
    code: int,
    said: str,
) -> None:
    savefile = tmp_path / "in.pcap"
    packets.write(savefile, range(1))
    if command == "send":
        tool = tools.send(savefile, endpoint, *options)
    else:
        tool = tools.receive(endpoint, tmp_path / "fifo", *options)
    assert tool.wait() == code
    errors = [line for line in tool.said().splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in tool.said()


def test_an_address_that_is_taken_is_one_line(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        tool = tools.receive(endpoint, tmp_path / "fifo", "--metrics", port)
        assert tool.wait() == 4
    assert f"error: --metrics cannot listen on 127.0.0.1:{port}" in tool.said()


@pytest.mark.parametrize(
    ("library", "option", "extra"),
    [("prometheus_client", "--metrics", "metrics"), ("datadog", "--statsd", "statsd")],
)
def test_a_library_that_is_missing_is_named_with_its_remedy(
    tools: Tools,
    tmp_path: Path,
    endpoint: str,
    library: str,
    option: str,
    extra: str,
) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None; "
        "from pcap_zmq.cli.receive import main; main()"
    )
    fifo = tmp_path / "fifo"
    tool = tools.start("python", "-c", code, endpoint, fifo, option, "9")
    assert tool.wait() == 2
    assert f"pip install 'pcap-zmq[{extra}]'" in tool.said()


def test_both_ends_show_where_every_packet_is(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    """At the end of it; and all that the documentation promises is there."""
    savefile = tmp_path / "in.pcap"
    packets.write(savefile, PACKETS)
    # Several outputs show themselves, too.
    files = [f"file:{tmp_path}/{n}.pcap" for n in range(2)]
    taking = tools.receive(endpoint, files[0], files[1], "--metrics", "0")
    sending = tools.send(
        f"pcap:{savefile}", endpoint, "--metrics", "0", "--name", 'gw"1\\'
    )
    url = url_of(taking)
    sending.finish()
    wait_until(
        lambda: (
            values(url)["pcap_zmq_receiver_delivered_packets_total"] == len(PACKETS)
        ),
        PATIENCE_S,
        "all to be delivered",
    )
    shown = values(url)
    names = {
        *(metric.name for metric in receiver.METRICS),
        *(f"{receiver.LATENCY.name}_{end}" for end in ("bucket", "count", "sum")),
    } - {receiver.LATENCY.name, receiver.READER.name}
    # Known only once it was asked for a few times.
    names -= {receiver.SENDER_CLOCK.name, receiver.SENDER_CLOCK_ERROR.name}
    assert names <= set(shown)
    # By prometheus-client itself: who runs this wants to know.
    assert {"process_resident_memory_bytes", "process_start_time_seconds"} <= set(shown)
    of_sender = values(url, sender='gw"1\\')
    assert of_sender[f"{OF_SENDER}logged_packets_total"] == len(PACKETS)
    assert of_sender[f"{OF_SENDER}delivered_packets_total"] == len(PACKETS)
    assert of_sender[f"{OF_SENDER}unaccounted_packets"] == 0
    assert total(url, f"{OF_SENDER}held_packets") == 0
    for output in files:
        written = values(url, output=output)[
            "pcap_zmq_receiver_output_written_packets_total"
        ]
        assert written == len(PACKETS)
    assert shown["pcap_zmq_receiver_latency_seconds_count"] == len(PACKETS)
    assert shown["pcap_zmq_receiver_latency_seconds_bucket"] == len(PACKETS)


def test_a_sender_shows_what_it_holds_for_a_receiver_that_is_not_there(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    savefile = tmp_path / "in.pcap"
    packets.write(savefile, PACKETS)
    tool = tools.send(savefile, endpoint, "--metrics", "[::1]:0")
    url = url_of(tool)
    assert url.startswith("http://[::1]:")

    def held() -> float:
        return values(url)["pcap_zmq_sender_held_packets"]

    wait_until(lambda: held() == len(PACKETS), PATIENCE_S, "all to be held")
    shown = values(url)
    assert {metric.name for metric in sender.METRICS} <= set(shown)
    assert shown["pcap_zmq_sender_link_up"] == 0
    assert shown["pcap_zmq_sender_received_packets_total"] == len(PACKETS)
    assert shown["pcap_zmq_sender_unaccounted_packets"] == 0
    assert shown["pcap_zmq_sender_queue_bytes"] > 0
    assert (
        shown["pcap_zmq_sender_queue_bytes"]
        < shown["pcap_zmq_sender_queue_limit_bytes"]
    )
    tools.receive(endpoint, f"file:{tmp_path}/out.pcap")
    tool.wait_to_say("takes packets")


def test_a_packet_of_now_is_late_by_what_its_reader_made_it_wait(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    """Stamped now, held for a second for want of a reader; and one that is stamped an
    hour ahead is counted apart."""
    now_s = int(time.time())
    stamps = [*[now_s] * 10, now_s + 3_600]
    octets = packets.header() + b"".join(
        struct.pack("<IIII", second, 0, 40, 40) + bytes(40) for second in stamps
    )
    (tmp_path / "in.pcap").write_bytes(octets)
    fifo = tmp_path / "fifo"
    taking = tools.receive(endpoint, fifo, "--metrics", "0", "--precision", "micro")
    url = url_of(taking)
    sending = tools.send(tmp_path / "in.pcap", endpoint)
    wait_until(
        lambda: values(url)["pcap_zmq_receiver_held_packets"] == len(stamps),
        PATIENCE_S,
        "all to be held",
    )
    assert values(url)["pcap_zmq_receiver_reader_present"] == 0
    assert values(url)["pcap_zmq_receiver_latency_seconds_count"] == 0
    opened_s = time.time()
    with fifo.open("rb") as reader:
        assert len(reader.read(len(octets))) == len(octets)
        sending.finish()
        wait_until(
            lambda: values(url)["pcap_zmq_receiver_latency_seconds_count"],
            PATIENCE_S,
            "a new snapshot",
        )
        shown = values(url)
        assert shown["pcap_zmq_receiver_latency_seconds_count"] == len(stamps)
        assert shown["pcap_zmq_receiver_ahead_packets_total"] == 1
        late_s = shown["pcap_zmq_receiver_latency_seconds_sum"] / 10
        assert opened_s - now_s <= late_s <= time.time() - now_s


def test_statsd_has_heard_of_all_packets_when_a_short_run_is_over(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    savefile = tmp_path / "in.pcap"
    packets.write(savefile, PACKETS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE_S)
        port = server.getsockname()[1]
        taking = tools.receive(
            endpoint,
            f"file:{tmp_path}/out.pcap",
            "--once",
            *("--statsd", f"127.0.0.1:{port}", "--statsd-prefix", "ids."),
        )
        tools.send(savefile, endpoint).finish()
        taking.finish()
        server.setblocking(False)
        lines: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines += server.recv(65_536).decode().splitlines()
    assert f"ids.receiver.delivered_packets:{len(PACKETS)}|c" in lines
    assert "ids.receiver.held_packets:0|g" in lines


def test_a_statsd_server_that_is_not_there_changes_nothing(
    tools: Tools, tmp_path: Path, endpoint: str
) -> None:
    savefile = tmp_path / "in.pcap"
    octets = packets.write(savefile, PACKETS)
    taking = tools.receive(
        endpoint, f"file:{tmp_path}/out.pcap", "--once", "--statsd", "127.0.0.1:1"
    )
    tools.send(savefile, endpoint, "--statsd", "192.0.2.1").finish()
    taking.finish()
    assert (tmp_path / "out.pcap").read_bytes() == octets
