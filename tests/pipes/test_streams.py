"""A savefile goes in at one end and comes out at the other, octet for octet."""

import gzip
import os
import re
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.waiting import wait_until
from tests.pipes import packets
from tests.pipes.tools import PATIENCE_S, Tools

MANY = range(20_000)
MIB = 1 << 20
RSS_BYTES = 60 * MIB


@pytest.fixture(scope="module")
def savefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some ten thousand packets, several MB."""
    path = tmp_path_factory.mktemp("source") / "many.pcap"
    packets.write(path, MANY)
    return path


class Collector:
    """A thread that reads a stream to its end; a descriptor stays its owner's."""

    def __init__(self, path_or_fd: Path | int) -> None:
        self.stream = b""
        self._thread = threading.Thread(target=self._read, args=(path_or_fd,))
        self._thread.start()

    def _read(self, path_or_fd: Path | int) -> None:
        fd = os.dup(path_or_fd) if isinstance(path_or_fd, int) else None
        with open(path_or_fd if fd is None else fd, "rb", buffering=0) as pipe:  # noqa: PTH123
            while chunk := pipe.read(1 << 16):
                self.stream += chunk

    def finish(self) -> bytes:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.stream


def test_through_ipc_to_a_file(tools: Tools, endpoint: str, savefile: Path) -> None:
    output = savefile.with_name("out.pcap")
    receiver = tools.receive(endpoint, f"file:{output}", "--once", "--overwrite")
    tools.send(savefile, endpoint).finish()
    receiver.finish()
    assert output.read_bytes() == savefile.read_bytes()


def test_through_tcp_to_standard_output(tools: Tools, savefile: Path) -> None:
    receiver, endpoint = tools.receive_on_tcp("-", "--once", stdout=subprocess.PIPE)
    collector = Collector(receiver.stdout.fileno())
    tools.send(savefile, endpoint).finish()
    receiver.finish()
    assert collector.finish() == savefile.read_bytes()


@pytest.mark.parametrize("codec", ["zlib", "zstd", "lz4", "none"])
def test_through_every_codec(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path, codec: str
) -> None:
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--once")
    options = ("--codec", codec, "--low-watermark", "1KiB/s")
    totals = tools.send(savefile, endpoint, *options).finish()
    receiver.finish()
    assert output.read_bytes() == savefile.read_bytes()
    assert ("(0 compressed)" in totals.line) == (codec == "none")


def test_through_a_fifo_to_tcpdump(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, "--once")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    # -Z: as root it would become another user, who may not open our files.
    user = ("-Z", "root") if os.geteuid() == 0 else ()
    with subprocess.Popen(
        ["tcpdump", "-n", "-r", fifo, "-w", "-", *user, "--nano"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as tcpdump:
        assert tcpdump.stdout is not None
        collector = Collector(tcpdump.stdout.fileno())
        tools.send(savefile, endpoint).finish()
        receiver.finish()
        read = packets.numbers(collector.finish())
    assert read == list(MANY)


def test_from_a_gzipped_file_on_standard_input(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--once")
    zipped = tmp_path / "many.pcap.gz"
    zipped.write_bytes(gzip.compress(savefile.read_bytes(), 1))
    with zipped.open("rb") as stdin:
        tools.send("-", endpoint, stdin=stdin).finish()
    receiver.finish()
    assert output.read_bytes() == savefile.read_bytes()


def test_a_sender_that_listens_and_a_receiver_that_connects(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcap"
    sender = tools.send(savefile, endpoint, "--bind")
    tools.receive(endpoint, f"file:{output}", "--connect", "--once").finish()
    sender.finish()
    assert output.read_bytes() == savefile.read_bytes()


def test_several_senders_are_interleaved_whole(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    output = tmp_path / "out.pcap"
    ranges = [range(n * 10_000, n * 10_000 + 5000) for n in range(3)]
    # Held until the last has connected: once means until all that were seen have left.
    receiver = tools.receive(endpoint, f"file:{output}", "--once")
    sources = []
    for place, numbers in enumerate(ranges):
        source, ours = os.pipe()
        sources.append((source, ours, packets.header() + packets.records(numbers)))
        with os.fdopen(source, "rb") as stdin:
            tools.send("-", endpoint, "--name", f"s{place}", stdin=stdin)
        os.write(ours, packets.header())
    for place in range(len(ranges)):
        receiver.wait_to_say(f"sender s{place} is here")
    for _, ours, octets in sources:
        with os.fdopen(ours, "wb") as pipe:
            pipe.write(octets[len(packets.header()) :])
    receiver.finish()
    found = packets.numbers(output.read_bytes())
    assert sorted(found) == [number for numbers in ranges for number in numbers]
    for numbers in ranges:
        assert [n for n in found if n in numbers] == list(numbers)


def test_a_receiver_that_comes_late_is_waited_for(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    sender = tools.send(savefile, endpoint)
    sender.wait_to_say("nothing answers")
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--once")
    sender.finish()
    receiver.finish()
    assert output.read_bytes() == savefile.read_bytes()


def test_one_packet_arrives_while_its_source_stays_open(
    tools: Tools, endpoint: str
) -> None:
    receiver = tools.receive(endpoint, "-", stdout=subprocess.PIPE)
    sender = tools.send("-", endpoint, stdin=subprocess.PIPE)
    sender.stdin.write(packets.header())
    sender.stdin.flush()
    sender.wait_to_say("takes packets")
    os.set_blocking(receiver.stdout.fileno(), False)
    stream = b""
    for number in range(3):
        sender.stdin.write(packets.record(number))
        sender.stdin.flush()

        def has_come(number: int = number) -> bool:
            nonlocal stream
            stream += receiver.stdout.read() or b""
            return packets.numbers(stream)[-1:] == [number]

        # A second: nothing but the batch's age keeps it.
        wait_until(has_come, 1.0, f"packet {number}")


def test_a_link_type_known_from_the_start_gives_a_header_at_once(
    tools: Tools, endpoint: str
) -> None:
    receiver = tools.receive(
        endpoint, "-", "--linktype", "ethernet", stdout=subprocess.PIPE
    )
    assert receiver.stdout.read(24) == packets.header(packets.ETHERNET)


def test_times_in_microseconds_are_what_tcpdump_reads(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source, output = tmp_path / "in.pcap", tmp_path / "out.pcap"
    octets = packets.write(source, range(1000))
    options = ("--precision", "micro", "--once")
    receiver = tools.receive(endpoint, f"file:{output}", *options)
    tools.send(source, endpoint).finish()
    receiver.finish()
    expected = []
    for record in packets.split(octets)[0]:
        seconds, nanoseconds = struct.unpack_from("<II", record)
        expected.append(f"{seconds}.{nanoseconds // 1000:06}")
    user = ("-Z", "root") if os.geteuid() == 0 else ()
    done = subprocess.run(
        ["tcpdump", "-n", "-tt", "-r", output, *user],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert re.findall(r"^(\d+\.\d+) IP", done.stdout, re.MULTILINE) == expected
    assert packets.numbers(output.read_bytes(), magic=packets.MICRO) == list(
        range(1000)
    )


def test_another_link_type_is_dropped_and_said_once(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    raw, cooked = tmp_path / "raw.pcap", tmp_path / "cooked.pcap"
    packets.write(raw, range(5000))
    packets.write(cooked, range(5000), linktype=packets.LINUX_SLL)
    output = tmp_path / "out.pcap"
    receiver = tools.receive(endpoint, f"file:{output}", "--linktype", "raw")
    tools.send(raw, endpoint, "--name", "first").finish()
    options = ("--name", "second", "--batch-bytes", "64KiB")
    totals = tools.send(cooked, endpoint, *options).finish()
    received = receiver.stop()
    assert packets.numbers(output.read_bytes()) == list(range(5000))
    assert received.dropped == {"linktype": 5000}
    assert totals["acknowledged"] == 5000
    assert receiver.said().count("cannot become raw (101)") == 1
    assert "sender second: link type linux_sll (113)" in receiver.said()


def stream_of(octets: int) -> Iterator[bytes]:
    """A savefile of so many octets, a MiB at a time."""
    yield packets.header()
    block = packets.records(range(800), 1250)
    for _ in range(octets // len(block)):
        yield block


def feed(pipe: int, octets: int) -> threading.Thread:
    """Writes a long savefile into a pipe, in a thread."""

    def write() -> None:
        with os.fdopen(pipe, "wb", buffering=0) as stream:
            for chunk in stream_of(octets):
                stream.write(chunk)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_slow_reader_makes_nobody_grow(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    """Uncompressed, so that every queue is as full as it may be."""
    queue = 8 * MIB
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, "--receive-queue", "8MiB", "--once")
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    source, ours = os.pipe()
    options = ("--send-queue", "8MiB", "--low-watermark", "0", "--report", "1s")
    with os.fdopen(source, "rb") as stdin:
        sender = tools.send("-", endpoint, *options, stdin=stdin)
    feeding = feed(ours, 200 * MIB)
    with fifo.open("rb", buffering=0) as reader:
        assert reader.read(24) == packets.header()
        # Nothing is read until the sender's queue has filled: held, and not growing.
        wait_until(
            lambda: (
                re.search(r" 0 packets logged .* held \d{4}", "\n" + sender.said())
                or re.search(r"INFO 0 packets logged", sender.said())
            ),
            PATIENCE_S,
            "the queues to fill",
        )
        peaks: list[int] = []
        total = 0
        while chunk := reader.read(1 << 20):
            total += len(chunk)
            if total > 190 * MIB and not peaks:
                peaks = [receiver.peak_bytes(), sender.peak_bytes()]
    feeding.join(PATIENCE_S)
    totals, received = sender.finish(), receiver.finish()
    assert totals["dropped"] == received["dropped"] == 0
    assert totals["acknowledged"] == totals["logged"] == received["written"]
    assert total == sum(len(chunk) for chunk in stream_of(200 * MIB)) - 24
    assert max(peaks) <= RSS_BYTES + queue


def test_a_savefile_waits_for_a_reader_and_nothing_is_dropped(
    tools: Tools, endpoint: str, tmp_path: Path
) -> None:
    source, fifo = tmp_path / "in.pcap", tmp_path / "fifo"
    octets = packets.write(source, range(8000), size=1200)
    receiver = tools.receive(endpoint, fifo, "--receive-queue", "1MiB", "--once")
    options = ("--send-queue", "1MiB", "--report", "1s", "--low-watermark", "0")
    sender = tools.send(source, endpoint, *options)
    sender.wait_to_say("INFO 0 packets logged")
    assert fifo.exists()
    collector = Collector(fifo)
    assert sender.finish()["dropped"] == 0
    receiver.finish()
    assert collector.finish() == octets


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_that_leaves_standard_output_ends_the_receiver(
    tools: Tools, endpoint: str, savefile: Path, number: int
) -> None:
    receiver = tools.receive(endpoint, "-", stdout=subprocess.PIPE)
    sender = tools.send(savefile, endpoint)
    receiver.stdout.read(1000)
    receiver.stdout.close()
    assert receiver.wait() == 1
    assert "error: " in receiver.said()
    assert "Traceback" not in receiver.said()
    sender.stop(number)
