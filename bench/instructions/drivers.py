"""What is counted: runs the tools and the loops in C, for callgrind.

usage: valgrind --tool=callgrind --dump-before=getppid ...
           python -m bench.instructions.drivers DIRECTORY DRIVER

Before and after each stretch of work getppid() is called, which nothing else does: so
each of them ends a part of callgrind's profile. For each part a line on standard output
says what it was: how many packets went by, and a figure's name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.instructions.scripted import BATCHES, REPEATS, STRETCH, WARM_UP
from bench.instructions.traffic import BATCH_BYTES, LOADS, SIZES, datagram, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOT_COUNTED = "-"
"""The name of what lies between two stretches."""

TIMES = 20
"""How often a loop in C is called in a stretch."""

BIN = Path(sys.executable).parent
PATIENCE_S = 30


def part(name: str, packets: int) -> None:
    """Ends a part of the profile, and says what it was."""
    os.getppid()
    print(packets, name, flush=True)


def stretches(name: str, packets: int, work: Callable[[], object]) -> None:
    """Does it as often as it is counted, and once before."""
    work()
    for _ in range(REPEATS):
        part(NOT_COUNTED, 0)
        work()
        part(name, packets)


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

    def parse(octets: bytes) -> None:
        for _ in range(TIMES):
            groups[0].next_seq = 0
            used[0] = 0
            out = ffi.from_buffer(new_buffer(BATCH_BYTES), require_writable=True)
            taken = lib.nflog_parse(
                parser, octets, len(octets), 1, out, BATCH_BYTES, used
            )
            if taken != len(octets) or not used[0] or parser.counts.missed:
                raise AssertionError(f"{taken} of {len(octets)} octets were parsed")

    for size in SIZES:
        octets, packets = datagram(size)
        stretches(f"parse {size}", TIMES * packets, partial(parse, octets))


def coding(_: Path) -> None:
    """Each codec on packets like those of the web, and back."""
    from pcap_zmq.formats.codec import Codec, compressor, decompress

    octets, packets = payload()
    for codec in (Codec.ZLIB, Codec.ZSTD, Codec.LZ4):
        compress = compressor(codec)
        compressed = compress(octets)
        name = codec.name.lower()
        stretches(f"compress {name}", packets, partial(compress, octets))
        stretches(
            f"decompress {name}",
            packets,
            partial(decompress, codec, compressed, len(octets)),
        )


def sending(directory: Path) -> None:
    """pcap-zmq-send from its encoder on, uncompressed, to a receiver."""
    from bench.instructions.scripted import ScriptedSource, send

    packets = {load.name: load.packets for load in LOADS}

    def reached(load: str, batches: int) -> None:
        if batches == WARM_UP:
            part(NOT_COUNTED, 0)
        elif batches == BATCHES:
            part(f"send {load}", STRETCH * packets[load])

    endpoint = f"ipc://{directory}/sending"
    receiver = subprocess.Popen(
        [BIN / "pcap-zmq-recv", "--once", endpoint, "-"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    send(endpoint, partial(ScriptedSource, reached=reached))
    receiver.wait(PATIENCE_S)


def receiving(directory: Path) -> None:
    """pcap-zmq-recv: from a sender into a FIFO, uncompressed."""
    from pcap_zmq.poll import Stop, Watch
    from pcap_zmq.tools.receive import Receive
    from pcap_zmq.tools.receive_config import ReceiveConfig

    if TYPE_CHECKING:
        from pcap_zmq.packet import Instant
        from pcap_zmq.ports import Attendant

    class Marks:
        """Ends a part of the profile when so many packets are written."""

        def __init__(self, written: Callable[[], int]) -> None:
            self._written = written
            self._marks = iter(marks())
            self._next = next(self._marks)

        def serve(self, now: Instant) -> None:
            while self._written() >= self._next[0]:
                part(*self._next[1:])
                self._next = next(self._marks, (sys.maxsize, "", 0))

        def watch(self) -> Iterable[Watch]:
            return ()

        def due(self) -> int | None:
            return None

    class Marked(Receive):
        """The receiving tool with such marks."""

        def _attend(self, stop: Stop) -> Iterable[Attendant]:
            return [*super()._attend(stop), Marks(lambda: self.counters.written)]

    endpoint, fifo = f"ipc://{directory}/receiving", directory / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["cat", fifo], stdout=subprocess.DEVNULL)
    sender = subprocess.Popen(
        [sys.executable, "-m", "bench.instructions.scripted", endpoint],
        stderr=subprocess.DEVNULL,
    )
    with Marked(ReceiveConfig(endpoint, str(fifo), once=True)) as tool:
        tool.run(Stop())
    for process in (sender, reader):
        process.wait(PATIENCE_S)


def marks() -> Iterable[tuple[int, str, int]]:
    """Packets that are written by the end of each part, its name, and its packets."""
    written = 0
    for load in LOADS * REPEATS:
        yield written + WARM_UP * load.packets, NOT_COUNTED, 0
        written += BATCHES * load.packets
        yield written, f"receive {load.name}", STRETCH * load.packets


DRIVERS = {
    "parsing": parsing,
    "coding": coding,
    "sending": sending,
    "receiving": receiving,
}

if __name__ == "__main__":
    DRIVERS[sys.argv[2]](Path(sys.argv[1]))
