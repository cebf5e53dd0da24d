"""What is counted: runs the tools and the C loops at work, for callgrind.

usage: valgrind --tool=callgrind --dump-before=getppid ...
           python -m bench.instructions.drivers DRIVER DIRECTORY

Before each stretch of work and after it getppid() is called, which nothing else does:
so each ends a part of callgrind's profile. For each part a line says on standard output
what it was: a figure's name, the packets that went by, and of which kind it is. A tool is
opened and closed in each of its stretches, so there are short ones and long ones:
what lies between them is the cost of packets alone.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.instructions.traffic import (
    BATCH_BYTES,
    HUGE,
    LONG,
    SHORT,
    SIZES,
    datagram,
    path_of,
    payload,
    per_batch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 3

BIN = Path(sys.executable).parent
PATIENCE_S = 60


def part(name: str, packets: int = 0, kind: str = "whole") -> None:
    """Ends a part of the profile, and says what it was."""
    os.getppid()
    print(name, packets, kind, flush=True)


def stretches(name: str, work: Callable[[int], int]) -> None:
    """Does short and long ones in turn. work: does so many batches, and says how many
    packets they were."""
    work(SHORT)
    for _ in range(REPEATS):
        for kind, batches in (("short", SHORT), ("long", LONG)):
            part("between")
            packets = work(batches)
            part(name, packets, kind)


def parsing(_: Path) -> None:
    """The kernel's datagrams to packet records in a batch buffer."""
    from nflog_ffi._nflog import ffi, lib
    from pcap_ffi import new_buffer

    # Both owned here, the group for as long as the parser points to it.
    groups = ffi.new("struct nflog_group[]", 1)
    parser = ffi.new("struct nflog_parser *")
    parser.groups = groups
    parser.groups_count = 1
    used = ffi.new("size_t *")

    def parse(octets: bytes, packets: int, times: int) -> int:
        for _ in range(times):
            groups[0].next_seq = 0
            out = ffi.from_buffer(new_buffer(BATCH_BYTES), require_writable=True)
            used[0] = 0
            taken = lib.nflog_parse(
                parser, octets, len(octets), 1, out, BATCH_BYTES, used
            )
            if taken != len(octets) or not used[0] or parser.counts.missed:
                raise AssertionError(f"{taken} of {len(octets)} octets were parsed")
        return packets * times

    for size in SIZES:
        octets, packets = datagram(size)
        stretches(f"parse {size}", functools.partial(parse, octets, packets))


def sending(directory: Path) -> None:
    """pcap-zmq-send: a savefile to a receiver, uncompressed."""
    from pcap_zmq.poll import Stop
    from pcap_zmq.tools.send import Send
    from pcap_zmq.tools.send_config import SavefileOptions, SendConfig

    endpoint = f"ipc://{directory}/sending"

    def send(size: int, batches: int) -> int:
        path, packets = path_of(directory, size, batches), batches * per_batch(size)
        config = SendConfig(
            SavefileOptions(str(path)), endpoint, low_watermark=0, name="bench"
        )
        with Send(config) as tool:
            tool.run(Stop())
            if tool.counters.acknowledged != packets:
                raise AssertionError(tool.totals())
        return packets

    with subprocess.Popen(
        [BIN / "pcap-zmq-recv", endpoint, "-"], stdout=subprocess.DEVNULL
    ) as receiver:
        try:
            for size in (*SIZES, HUGE):
                stretches(f"send {size}", functools.partial(send, size))
        finally:
            receiver.terminate()


def receiving(directory: Path) -> None:
    """pcap-zmq-recv: from a sender into a FIFO, uncompressed."""
    from pcap_zmq.poll import Stop
    from pcap_zmq.tools.receive import Receive
    from pcap_zmq.tools.receive_config import ReceiveConfig

    endpoint = f"ipc://{directory}/receiving"
    fifo = directory / "fifo"
    os.mkfifo(fifo)

    def receive(size: int, batches: int) -> int:
        path, packets = path_of(directory, size, batches), batches * per_batch(size)
        reader = subprocess.Popen(["cat", fifo], stdout=subprocess.DEVNULL)
        sender = subprocess.Popen(
            [BIN / "pcap-zmq-send", "--low-watermark", "0", path, endpoint],
            stderr=subprocess.DEVNULL,
        )
        with Receive(ReceiveConfig(endpoint, str(fifo), once=True)) as tool:
            tool.run(Stop())
            written = tool.counters.written
        if written != packets:
            raise AssertionError(f"{written} of {packets} packets were written")
        for process in (sender, reader):
            process.wait(PATIENCE_S)
        return packets

    for size in (*SIZES, HUGE):
        stretches(f"receive {size}", functools.partial(receive, size))


def coding(_: Path) -> None:
    """Each codec on packets like those of the web, and back."""
    from pcap_zmq.formats.codec import Codec, compressor, decompress

    octets, packets = payload()
    for codec in (Codec.ZLIB, Codec.ZSTD, Codec.LZ4):
        compress = compressor(codec)
        compressed = compress(octets)
        decompress(codec, compressed, len(octets))
        for _ in range(REPEATS):
            part("between")
            compress(octets)
            part(f"compress {codec.name.lower()}", packets)
            part("between")
            decompress(codec, compressed, len(octets))
            part(f"decompress {codec.name.lower()}", packets)


DRIVERS = {
    "parsing": parsing,
    "sending": sending,
    "receiving": receiving,
    "coding": coding,
}

if __name__ == "__main__":
    for name in sys.argv[2:]:
        DRIVERS[name](Path(sys.argv[1]))
