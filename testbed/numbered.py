"""Numbered packets: datagrams sent at a rate, and a witness of those that come out.

`python -m testbed.numbered …` is the program that sends; `Flow` runs it on a host and
knows at any moment how many it has sent. Every packet carries whose it is, its number
and when it was sent, so that a `Witness` of what comes out needs nothing else to say
what is missing, what came twice, and how late.

Specification: pcap-savefile(5), RFC 791, RFC 768.
"""

from __future__ import annotations

import argparse
import mmap
import signal
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.waiting import wait_until

if TYPE_CHECKING:
    import subprocess

    from testbed.namespaces import Namespace

PORT = 9  # discard: logged by the tests' rules, and read by nobody

LINKTYPE_RAW = 101
MAGIC_NANO = 0xA1B23C4D
CAPLEN_MAX = 262_144

FILE_HEADER = struct.Struct("<IHHIIII")
RECORD_HEADER = struct.Struct("<IIII")
STAMP = struct.Struct(">QQQ")
"""Whose, which, and when it was sent, on CLOCK_MONOTONIC, in nanoseconds."""

IP_AND_UDP = 28
OCTETS_MIN = IP_AND_UDP + STAMP.size
NS_PER_S = 1_000_000_000

END_S = 20.0

PACE_S = 0.002
"""How often a flow sends what is due: finer would only take the processor away."""


def packet(mark: int, number: int, octets: int, sent_ns: int) -> bytes:
    """An IPv4 packet of so many octets, as the sending program's look."""
    length = octets - IP_AND_UDP
    ip = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x45, 0, octets, number & 0xFFFF, 0, 64, socket.IPPROTO_UDP, 0),
        *(bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))),
    )
    udp = struct.pack(">HHHH", PORT, PORT, length + 8, 0)
    return ip + udp + _payload(mark, number, length, sent_ns)


def record(mark: int, number: int, octets: int, sent_ns: int, wall_ns: int) -> bytes:
    """Its packet record."""
    seconds, nanoseconds = divmod(wall_ns, NS_PER_S)
    header = RECORD_HEADER.pack(seconds, nanoseconds, octets, octets)
    return header + packet(mark, number, octets, sent_ns)


def _payload(mark: int, number: int, length: int, sent_ns: int) -> bytes:
    return STAMP.pack(mark, number, sent_ns).ljust(length, b"\xa5")


class Flow:
    """Datagrams of one mark from a host to itself, so that no fault of a cable keeps
    them from being logged: from number 0, without a gap, until `stop`."""

    def __init__(
        self, host: Namespace, directory: Path, mark: int, rate: int, octets: int = 200
    ) -> None:
        """rate: packets a second; 0: as many as go."""
        self.host = host
        self.mark = mark
        self._path = directory / f"flow-{mark}"
        self._path.write_bytes(bytes(8))
        root = Path(__file__).resolve().parents[1]
        argv = ["env", f"PYTHONPATH={root}", sys.executable, "-m", "testbed.numbered"]
        argv += [str(self._path), str(mark), str(rate), str(octets)]
        self._process: subprocess.Popen[Any] = host.popen(argv)

    @property
    def sent(self) -> int:
        """How many so far; all of them have been logged by now."""
        return int.from_bytes(self._path.read_bytes(), sys.byteorder)

    def wait_for(self, count: int, timeout_s: float = END_S) -> None:
        """Until so many are sent."""

        def has_sent() -> bool:
            if self._process.poll() is not None:
                raise RuntimeError("the flow has failed: see its error")
            return self.sent >= count

        wait_until(has_sent, timeout_s, f"{count} packets to be sent")

    def stop(self) -> int:
        """Returns how many were sent altogether."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(END_S) != 0:
            raise RuntimeError("the flow has failed: see its error")
        return self.sent


@dataclass(slots=True)
class Seen:
    """What came out of one mark's packets."""

    packets: int = 0
    highest: int = -1
    last: int = -1
    missing: list[range] = field(default_factory=list)
    """Numbers that were passed over."""
    repeated: list[range] = field(default_factory=list)
    """Numbers that had come before; where some of them were missing, they are still."""
    repeated_count: int = 0
    slowest_ns: int = 0
    """The longest time from sending to here."""
    earliest_ns: int = 0
    latest_ns: int = 0
    """The least and the greatest of the packets' times."""
    backward: int = 0
    """How often a packet's time was before that of the one before it."""
    time_ns: int = 0

    @property
    def missing_count(self) -> int:
        """How many packets were passed over."""
        return sum(map(len, self.missing))

    def add(self, number: int, time_ns: int, delay_ns: int) -> None:
        """One more packet, with its own time and how long it took to come."""
        self.packets += 1
        if number == self.highest + 1:
            self.highest = number
        elif number > self.highest:
            self.missing.append(range(self.highest + 1, number))
            self.highest = number
        else:
            first = number
            if number > self.last and self.repeated:
                first = self.repeated.pop().start
            self.repeated.append(range(first, number + 1))
            self.repeated_count += 1
        self.last = number
        self.slowest_ns = max(self.slowest_ns, delay_ns)
        if time_ns < self.time_ns:
            self.backward += 1
        self.time_ns = time_ns
        self.earliest_ns = min(self.earliest_ns or time_ns, time_ns)
        self.latest_ns = max(self.latest_ns, time_ns)


class Witness:
    """Reads streams as a receiver writes them, one after the other, and keeps book of
    the numbered packets in them. Raises ValueError for what is no such stream."""

    def __init__(self) -> None:
        self.marks: dict[int, Seen] = {}
        self.strangers: Counter[str] = Counter()
        self.streams = 0
        self._rest = b""
        self._has_header = False

    def __getitem__(self, mark: int) -> Seen:
        return self.marks.get(mark, Seen())

    def begin(self) -> None:
        """A new stream: a reader starts with a file header."""
        self._has_header = False
        self._rest = b""
        self.streams += 1

    def feed(self, octets: bytes) -> None:
        """What came next, cut anywhere."""
        now_ns = time.monotonic_ns()
        octets = self._rest + octets
        at = 0
        if not self._has_header:
            if len(octets) < FILE_HEADER.size:
                self._rest = octets
                return
            self._judge_header(octets)
            at = FILE_HEADER.size
        while at + RECORD_HEADER.size <= len(octets):
            seconds, nanoseconds, caplen, origlen = RECORD_HEADER.unpack_from(
                octets, at
            )
            if not OCTETS_MIN <= caplen <= origlen < 1 << 16 or nanoseconds >= NS_PER_S:
                raise ValueError(f"no packet record of ours: {octets[at : at + 16]!r}")
            end = at + RECORD_HEADER.size + caplen
            if end > len(octets):
                break
            mark, number, sent_ns = STAMP.unpack_from(
                octets, at + RECORD_HEADER.size + IP_AND_UDP
            )
            seen = self.marks.get(mark)
            if seen is None:
                seen = self.marks[mark] = Seen()
            seen.add(number, seconds * NS_PER_S + nanoseconds, now_ns - sent_ns)
            at = end
        self._rest = octets[at:]

    def end(self) -> int:
        """The stream is over; returns how many octets of a torn record it left."""
        torn, self._rest = len(self._rest), b""
        return torn

    def _judge_header(self, octets: bytes) -> None:
        expected = FILE_HEADER.pack(MAGIC_NANO, 2, 4, 0, 0, CAPLEN_MAX, LINKTYPE_RAW)
        if octets[: FILE_HEADER.size] != expected:
            raise ValueError(f"no file header of ours: {octets[: FILE_HEADER.size]!r}")
        self._has_header = True


def _send(path: str, mark: int, rate: int, octets: int) -> None:
    # Nobody reads it, and a full one is cheaper than an ICMP answer to every packet.
    unread = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    unread.bind(("127.0.0.1", PORT))
    sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sending.connect(("127.0.0.1", PORT))
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    length = octets - IP_AND_UDP
    number = 0
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 8) as count:
        began = time.monotonic()
        while not ended:
            passed = time.monotonic() - began
            due = int(passed * rate) if rate else number + 64
            while number < due:
                payload = _payload(mark, number, length, time.monotonic_ns())
                sending.send(payload)
                number += 1
                count[:] = number.to_bytes(8, sys.byteorder)
            if rate:
                time.sleep(PACE_S)
    unread.close()
    sending.close()


def main() -> None:
    """Be the program that sends."""
    parser = argparse.ArgumentParser(prog="python -m testbed.numbered")
    parser.add_argument("path", help="where to keep how many were sent: 8 octets")
    parser.add_argument("mark", type=int)
    parser.add_argument("rate", type=int)
    parser.add_argument("octets", type=int)
    given = parser.parse_args()
    if given.octets < OCTETS_MIN:
        parser.error(f"a packet has {OCTETS_MIN} octets or more")
    _send(given.path, given.mark, given.rate, given.octets)


if __name__ == "__main__":
    main()
