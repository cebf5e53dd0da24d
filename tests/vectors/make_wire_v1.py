"""Makes the frozen vectors of wire version 1, from docs/wire.md and not from the code.

Not run by any test: the vectors are frozen. Another version gets another file. It knows
nothing of pcap_zmq, so that the vectors judge the code and not the other way round.
"""

import struct
import zlib
from pathlib import Path

import lz4.block
import zstandard

HERE = Path(__file__).parent / "wire-v1"

SENDER = bytes(range(16))
STARTED_NS = 1_700_000_000_123_456_789
WINDOW = 33_554_432
RECEIVER_STARTED_NS = 1_690_000_000_987_654_321
SENDER_CLOCK_NS = 1_700_000_005_000_000_001
RECEIVER_CLOCK_NS = 86_400_000_000_007
WAITED_NS = 999_000_000

HELLO, BATCH, HEARTBEAT, GOODBYE = 1, 2, 3, 4
WELCOME, ACK, CLOCK, FAREWELL = 0x81, 0x82, 0x83, 0x84

COUNTERS = (
    1_000_000,  # logged
    7,  # missed
    2,  # missed_tail
    3,  # overruns
    40,  # stamped_here
    900_000,  # acknowledged
    5,  # not_ip
    60,  # high_watermark
    70,  # send_queue_full
    8,  # shutdown
)


def record(seconds: int, nanoseconds: int, origlen: int, data: bytes) -> bytes:
    return struct.pack("<IIII", seconds, nanoseconds, len(data), origlen) + data


def ipv4_udp(payload: bytes) -> bytes:
    udp = struct.pack(">HHHH", 40000, 53, 8 + len(payload), 0) + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    return header + bytes([192, 0, 2, 1]) + bytes([192, 0, 2, 53]) + udp


def ipv6_udp(payload: bytes) -> bytes:
    udp = struct.pack(">HHHH", 40000, 53, 8 + len(payload), 0) + payload
    header = struct.pack(">IHBB", 0x60000000, len(udp), 17, 64)
    address = bytes.fromhex("20010db8") + bytes(11)
    return header + address + b"\x01" + address + b"\x35" + udp


PACKETS = (
    record(1_700_000_000, 123_456_789, 92, ipv4_udp(b"a" * 64)),
    record(1_700_000_000, 999_999_999, 112, ipv6_udp(b"b" * 64)),
    # Cut at 96 of 1428 octets, as a snaplen does.
    record(1_700_000_001, 0, 1428, ipv4_udp(b"c" * 1400)[:96]),
)
RECORDS = b"".join(PACKETS)


def header(
    kind: int,
    sequence: int,
    *,
    codec: int = 0,
    count: int = 0,
    raw_length: int = 0,
    linktype: int = 101,
) -> bytes:
    parts = (
        b"PZMQ",
        bytes([1, kind, codec, 0]),
        struct.pack(">III", linktype, count, raw_length),
        SENDER,
        struct.pack(">QQQ", STARTED_NS, sequence, WINDOW),
        struct.pack(">16Q", *COUNTERS, *[0] * (16 - len(COUNTERS))),
    )
    return b"".join(parts)


def reply(
    kind: int, written: int, next_: int, window: int, moment: int = RECEIVER_STARTED_NS
) -> bytes:
    parts = (
        b"PZMQ",
        bytes([1, kind, 0, 0]),
        struct.pack(">Q", window),
        SENDER,
        struct.pack(">QQQQ", STARTED_NS, written, next_, moment),
    )
    return b"".join(parts)


def batch(sequence: int, codec: int) -> bytes:
    return header(
        BATCH, sequence, codec=codec, count=len(PACKETS), raw_length=len(RECORDS)
    )


def zstd(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_content_size=True).compress(raw)


FILES = {
    "records.bin": RECORDS,
    "hello.header.bin": header(HELLO, 42),
    "hello.payload.bin": "gateway-zürich".encode(),
    "batch-none.header.bin": batch(42, 0),
    "batch-none.payload.bin": RECORDS,
    "batch-zlib.header.bin": batch(43, 1),
    "batch-zlib.payload.bin": zlib.compress(RECORDS, 9),
    "batch-zstd.header.bin": batch(44, 2),
    "batch-zstd.payload.bin": zstd(RECORDS),
    "batch-lz4.header.bin": batch(45, 3),
    "batch-lz4.payload.bin": lz4.block.compress(RECORDS, store_size=False),
    "heartbeat.header.bin": header(HEARTBEAT, 44),
    "heartbeat-clock.header.bin": header(HEARTBEAT, 45),
    "heartbeat-clock.payload.bin": struct.pack(
        ">QQQ", SENDER_CLOCK_NS, RECEIVER_CLOCK_NS, WAITED_NS
    ),
    "goodbye.header.bin": header(GOODBYE, 46),
    "welcome.reply.bin": reply(WELCOME, 41, 42, WINDOW),
    "ack.reply.bin": reply(ACK, 43, 46, 1),
    "clock.reply.bin": reply(CLOCK, 43, 46, WINDOW, RECEIVER_CLOCK_NS),
    "farewell.reply.bin": reply(FAREWELL, 45, 46, 0),
}


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name, octets in FILES.items():
        (HERE / name).write_bytes(octets)


if __name__ == "__main__":
    main()
