"""Commands that read capture files take the same little memory, however much they read.

A new command is a line in COMMANDS, and reads everything in INPUTS, which are hard on
memory. Each holds more than any command may have in memory at a time, and is cheap to
make: it is sparse, or the same again and again.
"""

import gzip
import io
import os
import re
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.flow_ffi.packets import A4, B4, UDP, framed, ip4, ports
from tests.pipes.tools import BIN

BOUND_MIB = 100
INPUT_BYTES = 112 << 20
SHORT_BYTES = INPUT_BYTES // 4
"""Of short packets, which cost more time."""
TIMEOUT_S = 100

ETHERNET = 1
LONGEST = 262_144
HEADER = struct.pack("<IHHIIII", 0xA1B23C4D, 2, 4, 0, 0, LONGEST, ETHERNET)
RECORD = struct.Struct("<IIII")
BEGINS_S = 1_700_000_000

EVENT = (
    '{"timestamp":"2023-11-14T22:13:20.000000+0000","event_type":"alert","proto":"UDP",'
    f'"src_ip":"{A4}","src_port":5000,"dest_ip":"{B4}","dest_port":53}}'
)

# What is run in a process of its own, which is small: getrusage() tells of a child also
# what its parent was when it began.
LAUNCHER = """
import os, resource, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"peak {peak} KiB", file=sys.stderr)
sys.exit(status)
"""

COMMANDS = {
    "map": "map --workers 1 {input}",
    "map, without hashes": "map --workers 1 --no-hash {input}",
    "dispatch": "dispatch {input} -",
    "replay": "replay --topspeed {input} -",
    "filter": "filter --filter udp {input} -",
    "filter, into a folder": "filter --workers 1 --filter tcp {input} folder:{output}",
    "filter, copies and tunnels": "filter --dedup 1s --decap {input} -",
    "extract": "extract --event {event} {input} -",
}
"""As words with blanks in between. What they print goes nowhere."""


def frame(number: int, size: int) -> bytes:
    """A packet of the flow that an event names."""
    return framed(
        ip4(A4, B4, UDP, ports(5000, 53, number.to_bytes(8, "big").ljust(size)))
    )


# Inputs.


def few_long_packets(path: Path) -> None:
    """With holes for what is in them."""
    with path.open("wb") as file:
        file.write(HEADER)
        for number in range(INPUT_BYTES // LONGEST):
            head = frame(number, 100)
            file.write(RECORD.pack(BEGINS_S + number, 0, LONGEST, LONGEST) + head)
            file.seek(LONGEST - len(head), os.SEEK_CUR)
        file.truncate()


def very_many_packets(path: Path) -> None:
    """Short ones."""
    one = frame(0, 20)
    records = RECORD.pack(BEGINS_S, 0, len(one), len(one)) + one
    piece = records * (1 << 14)
    with path.open("wb") as file:
        file.write(HEADER)
        for _ in range(SHORT_BYTES // len(piece)):
            file.write(piece)


def a_bomb(path: Path) -> None:
    """A small file that holds very much."""
    raw = io.BytesIO()
    one = RECORD.pack(BEGINS_S, 0, LONGEST, LONGEST) + frame(0, 100)
    piece = one.ljust(RECORD.size + LONGEST, b"\0") * 16
    compressor = gzip.compress(piece, 1)
    raw.write(gzip.compress(HEADER))
    for _ in range(INPUT_BYTES // len(piece)):
        raw.write(compressor)
    path.write_bytes(raw.getvalue())


def a_block_that_does_not_end(path: Path) -> None:
    """pcapng: one of a kind that nobody knows, as long as blocks can be."""
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    with path.open("wb") as file:
        file.write(section + struct.pack("<II", 0x0BAD, 0xFFFFFFFC))
        file.truncate(INPUT_BYTES)


def an_archive(path: Path) -> None:
    """With a member for each of some packets, and a long one."""
    one = HEADER + RECORD.pack(BEGINS_S, 0, 60, 60) + frame(0, 18)
    member = tarfile.TarInfo("a.pcap")
    member.size = len(one)
    small = member.tobuf() + one.ljust(512, b"\0")
    long = path.with_suffix(".long")
    few_long_packets(long)
    member.size = long.stat().st_size
    with path.open("wb") as file:
        file.write(small * 300 + member.tobuf())
        at = file.tell()
        with long.open("rb") as content:
            for start in range(0, member.size, RECORD.size + LONGEST):
                content.seek(start)
                file.seek(at + start)
                file.write(content.read(1_000))
        file.truncate(at + -(-member.size // 512) * 512 + 1024)
    long.unlink()


INPUTS: tuple[Callable[[Path], None], ...] = (
    few_long_packets,
    very_many_packets,
    a_bomb,
    a_block_that_does_not_end,
    an_archive,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With all of them. Gone at the end: pytest keeps what is left of some runs."""
    path = tmp_path_factory.mktemp("large")
    for make in INPUTS:
        make(path / make.__name__)
    yield path
    for each in path.iterdir():
        each.unlink()


def peak_mib(command: str, source: Path, output: Path) -> float:
    """Of the largest process of a command."""
    names = {"input": source, "output": output, "event": EVENT}
    words = [word.format(**names) for word in command.split(" ")]
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, str(BIN / "pcap-zmq"), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stderr
    found = re.search(r"peak (\d+) KiB", done.stderr)
    assert found is not None, done.stderr
    return int(found[1]) / 1024


@pytest.mark.parametrize("command", COMMANDS)
def test_memory_is_bounded_whatever_there_is_to_read(
    command: str, folder: Path, tmp_path: Path
) -> None:
    assert peak_mib(COMMANDS[command], folder, tmp_path) <= BOUND_MIB
