"""Writes the seeds that people thought of; those that a fuzzer found stay as they are.

Usage: python -m tests.fuzz.crafted
"""

import gzip
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pcap_zmq.counters import Reason
from pcap_zmq.formats.codec import Codec, compressor
from pcap_zmq.formats.inquiry import Kind, Question, encode_answer, encode_question
from pcap_zmq.formats.ledger import Line, State, Tally, encode_state
from tests.fuzz import catalogue
from tests.fuzz.octets import piece
from tests.nflog_ffi.datagrams import (
    PAYLOAD_MAX,
    done,
    ipv4,
    ipv6,
    logged,
    packet_message,
    several,
)
from tests.pcap_ffi.savefiles import RECORDS, packed, pcap, pcapng

VECTORS = catalogue.ROOT / "tests" / "vectors" / "wire-v1"
FOUND = "found-"
"""How the names of those begin that a fuzzer found."""

Seeds = Iterator[tuple[str, bytes]]


def little16(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)


def nflog_parse() -> Seeds:
    many = b"".join(logged(ipv6(50 + n), seq=n, group=2) for n in range(20)) + done()
    yield "empty", little16(0)
    yield "one", little16(0) + logged(ipv4(40), group=1)
    yield "several", little16(0) + several()
    yield "several-in-small-buffers", little16(80) + several()
    yield "an-octet-of-ipv4", little16(17) + logged(b"\x45", group=1)
    yield "an-octet-of-ipv6", little16(0) + logged(b"\x60", group=1)
    yield "many-in-small-buffers", little16(200) + many
    attributes = [(kind, bytes(range(1, 29))) for kind in range(1, 40)]
    yield "every-attribute", little16(0) + packet_message(1, attributes)


def packet_records() -> Seeds:
    yield "empty", little16(0, 0)
    yield "whole", little16(96, 40) + packed(RECORDS)
    yield "torn", little16(96, 40) + packed(RECORDS)[:-1]
    yield "caplen-too-large", little16(0, 0) + struct.pack("<IIII", 1, 1, 1 << 31, 5)


def records() -> Seeds:
    for name, octets in packet_records():
        yield name, octets[1::-1] + octets[3:1:-1] + octets[4:]


def savefiles() -> Seeds:
    yield "empty", b""
    yield "pcap", pcap(RECORDS)
    yield "pcap-microseconds", pcap(RECORDS, nanoseconds=False)
    yield "pcap-big-endian", pcap(RECORDS, order=">", linktype=1)
    yield "pcap-torn", pcap(RECORDS)[:-1]
    yield "pcap-short-snaplen", pcap(RECORDS, snaplen=50)
    yield "pcapng", pcapng(RECORDS)
    yield "pcapng-big-endian", pcapng(RECORDS, order=">", resolution=6)
    yield "pcapng-torn", pcapng(RECORDS)[:-5]
    yield "pcapng-two-sections", pcapng(RECORDS[:1]) + pcapng(RECORDS[1:], order=">")
    yield "pcapng-interface-without-packets", pcapng([])
    # Kuznetzov's: eight octets more in each record.
    longer = struct.pack("<IIIIIHBB", 1, 2, 4, 60, 3, 2048, 0, 0) + b"\x45" * 4
    yield "pcap-modified", struct.pack("<I", 0xA1B2CD34) + pcap([])[4:] + longer
    block = struct.pack("<IIIIII", 3, 20, 4, 0x45454545, 20, 0)
    yield "pcapng-simple-packet", pcapng([]) + block[:20]


def savefile() -> Seeds:
    for name, octets in savefiles():
        yield name, little16(100, 7) + octets
    yield "pcap-with-a-beginning", little16(0, 0x8000 | 30) + pcap(RECORDS)


def savefile_source() -> Seeds:
    for name, octets in savefiles():
        yield name, b"\0" + octets
    yield "pcap-compressed-too", b"\1" + pcap(RECORDS)
    yield "gzip", b"\0" + gzip.compress(pcap(RECORDS), mtime=0)
    twice = gzip.compress(pcap(RECORDS[:1]), mtime=0)
    twice += gzip.compress(packed(RECORDS[1:]), mtime=0)
    yield "gzip-of-two-members", b"\0" + twice
    yield "gzip-torn", b"\0" + gzip.compress(pcap(RECORDS), mtime=0)[:-3]


def wire() -> Seeds:
    for header in sorted(VECTORS.glob("*.header.bin")):
        name = header.name.partition(".")[0]
        payload = header.with_name(f"{name}.payload.bin")
        frames = [header, payload] if payload.exists() else [header]
        yield name, b"".join(piece(frame.read_bytes()) for frame in frames)
    for reply in sorted(VECTORS.glob("*.reply.bin")):
        yield f"reply-{reply.name.partition('.')[0]}", piece(reply.read_bytes())
    yield "another-version", piece(b"PZMQ\x02")
    yield "counters", piece(struct.pack(">16Q", *range(16)))
    yield "http", piece(b"GET / HTTP/1.1\r\n")
    yield "no-frames", b""


def payloads() -> Iterator[tuple[str, Codec, bytes, int]]:
    """Name, codec, payload and how long it becomes."""
    whole = packed(RECORDS)
    for codec in Codec:
        name = codec.name.lower()
        yield name, codec, compressor(codec)(whole), len(whole)
        yield f"{name}-of-nothing", codec, compressor(codec)(b""), 0
        # Three hundred times as long as it is, and more than it declares.
        if codec is not Codec.NONE:
            bomb = compressor(codec)(bytes(1 << 18))
            yield f"{name}-bomb", codec, bomb, 1_000
            yield f"{name}-of-zeros", codec, bomb, 1 << 18


def codec() -> Seeds:
    for name, number, payload, raw_length in payloads():
        yield name, struct.pack(">BI", number, raw_length) + payload


def decoder() -> Seeds:
    for name, number, payload, raw_length in payloads():
        count = len(RECORDS) if raw_length == len(packed(RECORDS)) else 0
        batch = struct.pack(">BBII", number, 0, count, raw_length) + piece(payload)
        yield name, b"\3" + batch
        # Without a link type of its own, in microseconds, and then another link type.
        if len(payload) < catalogue.SEED_MAX // 4:
            yield f"{name}-twice", b"\0" + batch + batch[:1] + b"\1" + batch[2:]


def sender_link() -> Seeds:
    connected, speak, down, wait, leave = 5, 4, 6, 7, 8
    offer = bytes([0]) + little16(100) + b"\3"

    def reply(kind: int, written: int, wanted: int, window: int = 0xFFFF) -> bytes:
        """Numbers near the last that was sent: 8 is that one."""
        octets = bytes([1, kind, 0, written, wanted, 0])
        return octets + window.to_bytes(2, "big")

    welcome, ack, farewell = 0, 1, 2
    up = bytes([connected, speak]) + reply(welcome, 8, 9)
    yield "up", b"\4" + up
    sent = b"\4" + offer * 3 + up + bytes([speak])
    yield "acknowledged", sent + reply(ack, 8, 9)
    yield "acknowledged-in-part", sent + reply(ack, 6, 8)
    yield "a-gap", sent + reply(welcome, 5, 7) + bytes([speak])
    yield "acknowledged-unsent", sent + reply(ack, 10, 11)
    broken = sent + bytes([down, connected, speak]) + reply(welcome, 6, 8)
    yield "broken-and-back", broken + bytes([speak])
    yield "patience", sent + bytes([wait, 3, speak])
    departed = sent + bytes([leave, 2]) + reply(ack, 8, 9) + bytes([speak])
    yield "departed", departed + reply(farewell, 8, 9) + bytes([speak])
    hurried = sent + bytes([leave, 0, speak])
    yield "left-in-a-hurry", hurried + reply(farewell, 7, 9) + bytes([speak])
    yield "abandoned", sent + bytes([leave, 1, speak]) + reply(ack, 8, 9)
    closed = b"\4" + offer * 2 + bytes([connected, speak]) + reply(welcome, 8, 9, 0)
    yield "a-window-of-nothing", closed + bytes([speak]) + reply(ack, 8, 9, 600)


def receiver_link() -> Seeds:
    write, lose, speak, drop, look, flood, wait = range(4, 11)
    hello, batch, heartbeat, goodbye = range(4)

    def say(
        kind: int, near: int = 4, peer: int = 0, sender: int = 0, start: int = 0
    ) -> bytes:
        """Numbers near the batch that is wanted: 4 is that one."""
        place = bytes([0, peer, sender, start, near, kind, 0])
        # The window that it was given, three packets, no counters, 256 octets.
        return place + b"\3\0\1\0"

    here = b"\3" + say(hello) + bytes([speak])
    yield "hello", here
    yield "batches", here + say(batch) * 3 + bytes([write, 3, speak])
    yield "a-gap", here + say(batch, 6) + bytes([speak]) + say(batch)
    yield "a-repetition", here + say(batch) + say(batch, 3) + bytes([speak])
    yield "uncalled", b"\3" + say(batch) + bytes([speak])
    yield "goodbye", here + say(batch) + say(goodbye) + bytes([speak, write, 1, speak])
    two = here + say(hello, peer=1, sender=1) + bytes([speak]) + say(heartbeat)
    yield "two-senders", two + say(batch, peer=1, sender=1) + bytes([speak])
    yield (
        "another-run",
        here + say(batch) + say(hello, peer=1, start=1) + bytes([speak]),
    )
    yield "two-streams-on-a-connection", here + say(hello, sender=1) + say(batch)
    moved = here + say(batch) + say(hello, peer=1) + bytes([speak])
    yield "moved", moved + say(batch) + say(batch, peer=1) + bytes([write, 2, speak])
    yield "silence", here + bytes([wait, 4, speak]) + say(heartbeat) + bytes([speak])
    yield "lost", here + say(batch) + bytes([lose, 0, speak, write, 1]) + say(hello)
    full = (
        b"\0" + say(hello) + bytes([speak]) + say(batch) * 3 + bytes([wait, 2, speak])
    )
    yield "dropped", here + say(batch) * 2 + bytes([drop, 1, look, write, 1, look])
    yield "never-acknowledged", here + bytes([flood, 0, 255, flood, 0, 255, look])
    keyed = b"\3" + say(hello, peer=2) + say(hello, peer=3) + bytes([speak])
    yield "one-id-with-two-names", keyed + say(batch, peer=2) + say(batch, peer=3)
    yield "no-room", full + bytes([write, 1, wait, 2, speak]) + say(batch)


def status() -> Seeds:
    asked = Question(Kind.STATUS, 7)
    yield "question", b"\0" + piece(encode_question(asked))
    tally = Tally(1_000, 900, 40, 20, 7, 3, 10, Counter({Reason.SHUTDOWN: 20}))
    line = Line(
        name="gateway",
        key="",
        address="192.0.2.1",
        sender="00" * 16,
        started_ns=10**18,
        since_ns=10**18,
        seen_ns=10**18 + 9,
        is_here=True,
        runs=2,
        repeated=5,
        rate=60,
        tally=tally,
    )
    about = ("1.0", "tcp://0.0.0.0:5678", "/run/ids/packets.pcap", 10**18, 2 * 10**18)
    counters = {"received": 920, "written": 900}
    for name, lines in (("nobody", []), ("one", [line]), ("two", [line, line])):
        body = encode_state(State(*about, lines, counters))
        yield f"state-of-{name}", b"\1" + body
    answer = encode_answer(asked, body)
    yield "answer", b"\0" + b"".join(piece(bytes(frame)) for frame in answer)
    yield "state-of-other-types", b"\1" + body.replace(b"900", b"9.5")
    yield "state-of-large-numbers", b"\1" + body.replace(b":900", b":" + b"9" * 400)
    yield "state-of-escapes", b"\1" + body.replace(b"gateway", b"\\u001b[2J\\ud800")
    yield "state-nested", b"\1" + b"[" * 3_000


CRAFTED = {
    make.__name__: make
    for make in (
        *(nflog_parse, packet_records, savefile),
        *(
            codec,
            decoder,
            receiver_link,
            records,
            savefile_source,
            sender_link,
            status,
            wire,
        ),
    )
}


LONG = {
    "nflog_parse": {
        "longest": little16(0)
        + logged(ipv4(1400), group=1)
        + logged(ipv4(PAYLOAD_MAX), seq=1, group=1)
    }
}
"""Inputs by target that are too long to be kept as files."""


def write(name: str, directory: Path) -> None:
    """Replaces what was crafted there before."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed in directory.iterdir():
        if not seed.name.startswith(FOUND):
            seed.unlink()
    for seed_name, octets in CRAFTED[name]():
        (directory / seed_name).write_bytes(octets)


def main() -> None:
    for name in CRAFTED:
        write(name, catalogue.SEEDS / name)


if __name__ == "__main__":
    main()
