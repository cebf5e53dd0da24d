"""Seeds of what comes from the network: frames, payloads, requests and answers."""

import struct
from collections import Counter
from collections.abc import Iterator

from pcap_ffi import compile_filter
from pcap_zmq.counters import Reason
from pcap_zmq.formats.codec import Codec, compressor
from pcap_zmq.formats.excerpt import (
    EVER_NS,
    Excerpt,
    Wanted,
    encode_excerpt,
    encode_wanted,
)
from pcap_zmq.formats.inquiry import Kind, Question, encode_answer, encode_question
from pcap_zmq.formats.ledger import Line, State, Tally, encode_state
from tests.fuzz import catalogue
from tests.fuzz.crafted.common import Seeds
from tests.fuzz.octets import piece
from tests.pcap_ffi.savefiles import RECORDS, packed

VECTORS = catalogue.ROOT / "tests" / "vectors" / "wire-v1"


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


def query() -> Seeds:
    chosen = compile_filter("udp port 53 or greater 100", 101)
    loop = struct.pack(">HBBI", 0x05, 0, 0, 0xFFFF_FFFF)
    for name, wanted in {
        "all": Wanted(),
        "ago": Wanted(10**9, 0, is_from_ago=True, is_until_ago=True),
        "filter": Wanted(filter=chosen),
        "loop": Wanted(filter=loop + chosen),
        "part": Wanted(start=4, end=5),
        "probe": Wanted(is_probe=True),
        "torn-filter": Wanted(filter=chosen[:-1]),
    }.items():
        yield name, b"\0" + encode_wanted(wanted)
    whole = packed(RECORDS)
    excerpt = Excerpt(0, EVER_NS, 0, 5, 5, 101, True, whole, len(RECORDS))
    yield "excerpt", b"\1" + encode_excerpt(excerpt)


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
    for changed in Codec:
        changes = bytes([0x80 | changed, 2, 0, 5, 0xFF, 0, 40, 0])
        yield f"{changed.name.lower()}-damaged", changes + packed(RECORDS)


def decoder() -> Seeds:
    for name, number, payload, raw_length in payloads():
        count = len(RECORDS) if raw_length == len(packed(RECORDS)) else 0
        batch = struct.pack(">BBII", number, 0, count, raw_length) + piece(payload)
        yield name, b"\3" + batch
        # Without a link type of its own, in microseconds, and then another link type.
        if len(payload) < catalogue.SEED_MAX // 4:
            yield f"{name}-twice", b"\0" + batch + batch[:1] + b"\1" + batch[2:]


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
        malformed=1,
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
    yield (
        "state-of-strange-names",
        b"\1" + body.replace(b'"received":920', b'"\x7f":9.5'),
    )
    yield "state-nested", b"\1" + b"[" * 3_000


def zap() -> Seeds:
    fixed = [b"1.0", b"7", b"", b"192.0.2.1", b"id"]
    key = bytes(range(32))
    for name, frames in (
        ("curve", [*fixed, b"CURVE", key]),
        ("null", [*fixed, b"NULL"]),
        ("plain", [*fixed, b"PLAIN", b"user", b"password"]),
        ("curve-without-a-key", [*fixed, b"CURVE"]),
        ("another-version", [b"2.0", *fixed[1:], b"NULL"]),
        ("cut-short", fixed[:2]),
    ):
        yield name, b"".join(map(piece, frames))
