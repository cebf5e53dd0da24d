"""What is counted: runs the ends of the link and the loops in C, for callgrind.

usage: valgrind --tool=callgrind --dump-before=getppid ...
           python -m bench.instructions.drivers DIRECTORY DRIVER

What it says on standard output is explained in `bench/instructions/parts.py`.
"""

from __future__ import annotations

import gc
import sys
from functools import partial
from pathlib import Path

from bench.instructions.flows import flowing
from bench.instructions.parts import stretches
from bench.instructions.traffic import (
    BATCH_BYTES,
    SIZES,
    datagram,
    payload,
    record,
    unfinished,
)

TIMES = 5
"""How often a loop in C is called in a stretch."""


def parsing(_: Path) -> None:
    """The kernel's datagrams to packet records in a batch buffer."""
    from nflog_ffi._nflog import ffi, lib
    from pcap_ffi import new_buffer
    from pcap_zmq.formats.linktype import ETHERNET, NFLOG, RAW

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

    for name, linktype in (("", RAW), (" nflog", NFLOG), (" ethernet", ETHERNET)):
        parser.linktype = linktype
        for size in SIZES:
            octets, packets = datagram(size)
            stretches(f"parse{name} {size}", TIMES * packets, partial(parse, octets))


def mending(_: Path) -> None:
    """What mending costs a packet: that is whole, that lacks its checksum, and a packet
    of 30 kB that is split, for each that it becomes."""
    from pcap_ffi import Mender
    from pcap_zmq.formats.linktype import RAW
    from pcap_zmq.formats.savefile import iter_packets

    def mend(mender: Mender, records: bytes, made: int) -> None:
        for _ in range(TIMES):
            found = mender.mend(records, RAW)
            if (found.fixed or found.segments) != made:
                raise AssertionError(f"{found.fixed}, {found.segments}, not {made}")

    fix, split = Mender(fix=True, mtu=None), Mender(fix=True, mtu=1500)
    for name, mender, size, is_whole in (
        ("mend whole 1400", fix, 1400, True),
        ("mend 200", fix, 200, False),
        ("mend 1400", fix, 1400, False),
        ("segment 30000", split, 40 + 21 * 1460, False),
    ):
        packet = unfinished(size)
        if is_whole:
            (whole,) = iter_packets(fix.mend(record(packet, 0), RAW).records)
            packet = whole.data
        count = BATCH_BYTES // (len(packet) + 16)
        records = b"".join(record(packet, number) for number in range(count))
        made = 0 if is_whole else count * (21 if mender is split else 1)
        packets = TIMES * (made if mender is split else count)
        stretches(name, packets, partial(mend, mender, records, made))


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


def linking(directory: Path) -> None:
    """Both ends of the link."""
    from bench.instructions import receiver, sender

    sender.count(directory)
    receiver.count(directory)


def ordering(_: Path) -> None:
    """Several senders' packets by their times."""
    from bench.instructions import order

    order.count()


def looping(directory: Path) -> None:
    """Both kinds of loops in C, for one start of the interpreter."""
    parsing(directory)
    mending(directory)
    coding(directory)


DRIVERS = {
    "looping": looping,
    "linking": linking,
    "flowing": flowing,
    "ordering": ordering,
}

if __name__ == "__main__":
    # A collection comes after so many allocations, whatever they were for: it would
    # fall into one stretch or another, and cost by all that was imported.
    gc.disable()
    DRIVERS[sys.argv[2]](Path(sys.argv[1]))
