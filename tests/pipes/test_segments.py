"""Super-packets through the pipe: what comes out is segments, and what is counted is
what was logged, whoever reads it and in how many parts."""

import io
from pathlib import Path

import pytest

from pcap_zmq.formats.savefile import iter_packets
from testbed.waiting import wait_until
from tests.pcap_ffi.savefiles import Record, pcap
from tests.pcap_ffi.wire import TCP, Segment
from tests.pipes.tools import PATIENCE_S, Tools, assert_receiver_conserves

FILE_HEADER = 24
MTU = 1500
PACKETS = 400
OPTIONS = ("--segment", str(MTU), "--checksums", "fix")


def super_packet(number: int) -> Segment:
    """Of a few flows; every third is a small one."""
    octets = 100 if number % 3 == 0 else 5_000 + number
    payload = bytes((number + at) % 251 for at in range(octets))
    return Segment(
        4, TCP, payload, sequence=number * 100_000, ports=(40_000 + number % 7, 80)
    )


@pytest.fixture
def savefile(tmp_path: Path) -> Path:
    packets = [super_packet(n).encoded(finished=False) for n in range(PACKETS)]
    records = [Record(1, n, len(packet), packet) for n, packet in enumerate(packets)]
    path = tmp_path / "super.pcap"
    path.write_bytes(pcap(records))
    return path


@pytest.fixture
def expected() -> list[bytes]:
    """What is to come out, in order."""
    return [
        segment.encoded(finished=True)
        for n in range(PACKETS)
        for segment in super_packet(n).segments(MTU)
    ]


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/link"


def packets_of(stream: bytes) -> list[bytes]:
    return [packet.data for packet in iter_packets(stream[FILE_HEADER:])]


def test_the_ledger_counts_what_was_logged(
    tools: Tools, endpoint: str, savefile: Path, expected: list[bytes], tmp_path: Path
) -> None:
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out", "--once", *OPTIONS)
    sent = tools.send(savefile, endpoint).finish()
    received = receiver.finish()
    assert packets_of((tmp_path / "out").read_bytes()) == expected
    assert sent["acknowledged"] == received["received"] == received["written"]
    assert received["written"] == PACKETS
    small = len([n for n in range(PACKETS) if n % 3 == 0])
    assert received["fixed"] == small
    assert received["segmented in"] == PACKETS - small
    assert received["segmented out"] == len(expected) - small


def test_what_a_reader_left_unread_is_held_until_the_next_has_it(
    tools: Tools, endpoint: str, savefile: Path, expected: list[bytes], tmp_path: Path
) -> None:
    """Between two segments of a packet, or in the middle of one."""
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, *OPTIONS)
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    sender = tools.send(savefile, endpoint)
    with fifo.open("rb", buffering=0) as reader:
        reader.read(FILE_HEADER)
        begun = read_whole(reader, 8)
    receiver.wait_to_say("has left")
    rest = b""
    with fifo.open("rb", buffering=0) as reader:
        whole = FILE_HEADER + sum(16 + len(octets) for octets in expected[8:])
        while len(rest) < whole:
            rest += reader.read(1 << 16)
    received = receiver.stop()
    sender.finish()
    assert begun == expected[:8]
    assert packets_of(rest) == expected[8:]
    assert_receiver_conserves(received)
    assert received["written"] == PACKETS
    assert received["readers"] == 2


def test_what_nobody_reads_any_more_is_dropped_as_logged(
    tools: Tools, endpoint: str, savefile: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    receiver = tools.receive(endpoint, fifo, *OPTIONS)
    wait_until(fifo.exists, PATIENCE_S, "the FIFO")
    # So that the first of them are in the pipe whole, and count as written.
    sender = tools.send(savefile, endpoint, "--batch-bytes", "64KiB")
    with fifo.open("rb", buffering=0) as reader:
        reader.read(FILE_HEADER)
        read_whole(reader, 8)
    receiver.wait_to_say("has left")
    received = receiver.stop()
    sender.stop()
    assert_receiver_conserves(received)
    # One of 1 segment, two of 4: the last of the third packet's was not read.
    assert received["written"] == 2


def test_each_flow_goes_whole_to_one_of_several_outputs(
    tools: Tools, endpoint: str, savefile: Path, expected: list[bytes], tmp_path: Path
) -> None:
    outputs = [tmp_path / "one", tmp_path / "other"]
    receiver = tools.receive(
        endpoint, *(f"file:{path}" for path in outputs), "--balance", "flow", "--once",
        *OPTIONS,
    )  # fmt: skip
    sent = tools.send(savefile, endpoint).finish()
    received = receiver.finish()
    found = [packets_of(path.read_bytes()) for path in outputs]
    assert sorted(found[0] + found[1]) == sorted(expected)
    ports = [{packet[20:22] for packet in packets} for packets in found]
    assert not ports[0] & ports[1]
    assert_receiver_conserves(received)
    assert received["written"] == sent["acknowledged"] == PACKETS


def test_copies_are_counted_once(
    tools: Tools, endpoint: str, savefile: Path, expected: list[bytes], tmp_path: Path
) -> None:
    outputs = [tmp_path / "one", tmp_path / "other"]
    receiver = tools.receive(
        endpoint, *(f"file:{path}" for path in outputs), "--once", *OPTIONS
    )
    sent = tools.send(savefile, endpoint).finish()
    received = receiver.finish()
    assert [packets_of(path.read_bytes()) for path in outputs] == [expected] * 2
    assert_receiver_conserves(received)
    assert received["written"] == sent["acknowledged"] == PACKETS


def test_a_sender_that_splits_sends_what_it_made(
    tools: Tools, endpoint: str, savefile: Path, expected: list[bytes], tmp_path: Path
) -> None:
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out", "--once")
    sent = tools.send(savefile, endpoint, *OPTIONS).finish()
    received = receiver.finish()
    assert packets_of((tmp_path / "out").read_bytes()) == expected
    assert sent["logged"] == sent["acknowledged"] == len(expected)
    assert received["received"] == received["written"] == len(expected)


def test_packets_of_several_senders_are_put_in_order_before_they_are_split(
    tools: Tools, endpoint: str, savefile: Path, expected: list[bytes], tmp_path: Path
) -> None:
    options = ("--reorder", "200ms", *OPTIONS)
    receiver = tools.receive(endpoint, f"file:{tmp_path}/out", *options)
    senders = [tools.send(savefile, endpoint, "--name", name) for name in ("a", "b")]
    sent = [sender.finish() for sender in senders]
    received = receiver.stop()
    found = packets_of((tmp_path / "out").read_bytes())
    assert sorted(found) == sorted(expected * 2)
    assert_receiver_conserves(received)
    assert received["written"] == sum(one["acknowledged"] for one in sent)
    assert received["written"] == 2 * PACKETS


def read_whole(reader: io.FileIO, count: int) -> list[bytes]:
    """So many packets, and not an octet more."""
    found = []
    for _ in range(count):
        header = reader.read(16)
        length = int.from_bytes(header[8:12], "little")
        octets = b""
        while len(octets) < length:
            octets += reader.read(length - len(octets))
        found.append(octets)
    return found
