"""A cable of veth: captures to send at one end, and a witness of them at the other."""

from __future__ import annotations

import random
import struct
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.captures import packets_of
from bench.pipes import READY_TIMEOUT_S, end_processes, start_process
from pcap_zmq.formats import linktype
from pcap_zmq.formats.savefile import encode_file_header, encode_packet
from pcap_zmq.packet import Packet
from testbed.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.part import Bench

NEAR, FAR = "near", "far"

SEED = 3
START_NS = 1_700_000_000 * 1_000_000_000
NS_PER_US, US_PER_S = 1_000, 1_000_000
OCTETS = (64,) * 7 + (590,) * 4 + (1_514,)

# Ethernet and IPv4 without options, to a host that nobody is, with a number behind it.
HEADERS = struct.Struct(">6s6sHBBHHHBBHIII")
TO, FROM = bytes.fromhex("020000000002"), bytes.fromhex("020000000001")
ETHERTYPE_IPV4, TTL = 0x0800, 64
NUMBER_AT = HEADERS.size - 4

# For experiments: RFC 3692. The first and the last frame are told from the others.
PROTOCOL, PROTOCOL_OF_ENDS = 253, 254
ALL = f"ip proto {PROTOCOL} or ip proto {PROTOCOL_OF_ENDS}"
ENDS = f"ip proto {PROTOCOL_OF_ENDS}"

# libpcap gives packets out when a block of its ring is full, or a second has passed; or
# at once, which costs more than the packets do.
STILL_S, STILL_S_QUICK = 1.2, 0.2
END_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Capture:
    """A savefile of frames with the numbers from 0 on, and their times."""

    path: Path
    times_ns: list[int]

    @property
    def count(self) -> int:
        return len(self.times_ns)


def make_capture(path: Path, count: int, rate: float) -> Capture:
    """So many frames, so many a second on average, at random distances. Times are whole
    microseconds, since some programs know no others."""
    chance = random.Random(SEED)  # noqa: S311  repeatable, not secret
    times_ns = []
    now_us = START_NS // NS_PER_US
    with path.open("wb") as file:
        file.write(encode_file_header(linktype.ETHERNET))
        for number in range(count):
            times_ns.append(now_us * NS_PER_US)
            frame = _frame(number, count, chance.choice(OCTETS))
            file.write(encode_packet(Packet(times_ns[-1], len(frame), frame)))
            now_us += round(chance.expovariate(rate) * US_PER_S)
    return Capture(path, times_ns)


def _frame(number: int, count: int, octets: int) -> bytes:
    protocol = PROTOCOL_OF_ENDS if number in {0, count - 1} else PROTOCOL
    ethernet = (TO, FROM, ETHERTYPE_IPV4)
    ip = (0x45, 0, octets - 14, 0, 0, TTL, protocol, 0, 0, 0)
    return HEADERS.pack(*ethernet, *ip, number).ljust(octets, b"\0")


@contextmanager
def cable(bench: Bench) -> Iterator[None]:
    """From NEAR to FAR, both on the same host, where nothing answers."""
    bench.host.run(f"ip link add name {NEAR} type veth peer name {FAR}".split())
    try:
        for name in (NEAR, FAR):
            # Or the kernel would send packets of its own.
            bench.host.sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")
            bench.host.run(["ip", "link", "set", name, "up"])
        yield
    finally:
        bench.host.run(["ip", "link", "delete", NEAR], check=False)


def witness_of(bench: Bench) -> str:
    """The program that looks at FAR."""
    return "tcpdump" if bench.is_root else "dumpcap"


def seen_while(run: Callable[[], None], bench: Bench, which: str) -> dict[int, int]:
    """When which frame came out at FAR, by the kernel's clock, in nanoseconds since the
    epoch, while this runs. which: ALL or ENDS. RuntimeError where none came."""
    path = bench.directory / "seen.pcap"
    path.unlink(missing_ok=True)
    options = ["-i", FAR, "-s", "64", "-w", path]
    if bench.is_root:
        precise = "--time-stamp-precision=nano"
        argv = ["tcpdump", "-Z", "root", precise, "-B", "65536", *options]
        argv += ["-U", "--immediate-mode"] if bench.is_quick else []
        argv.append(which)
    else:
        argv = ["dumpcap", "-q", "-B", "64", *options, "-f", which]
    before = _packet_sockets(bench)
    process = start_process(bench.host, argv, bench.directory / "witness.log")
    try:
        wait_until(
            lambda: _packet_sockets(bench) > before, READY_TIMEOUT_S, "the witness"
        )
        run()
        _await_rest(path, STILL_S_QUICK if bench.is_quick else STILL_S)
    finally:
        end_processes([process])
    seen = {
        int.from_bytes(packet.data[NUMBER_AT : NUMBER_AT + 4], "big"): packet.ts_ns
        for _, packet in packets_of(path)
    }
    if not seen:
        raise RuntimeError(f"nothing came out at the far end: {argv[0]} saw no packet")
    return seen


def received(bench: Bench) -> int:
    """Packets that have come out at FAR, whoever saw them."""
    lines = bench.host.run(["cat", "/proc/net/dev"]).stdout.splitlines()
    fields = next(line.split() for line in lines if line.strip().startswith(f"{FAR}:"))
    return int(fields[2])


def _packet_sockets(bench: Bench) -> int:
    return len(bench.host.run(["cat", "/proc/net/packet"]).stdout.splitlines())


def _await_rest(path: Path, still_s: float) -> None:
    """Until the witness has written all, as far as anybody can tell."""
    last, since = -1, 0.0

    def is_still() -> bool:
        nonlocal last, since
        now, octets = time.monotonic(), path.stat().st_size if path.exists() else 0
        if octets != last:
            last, since = octets, now
        return now - since >= still_s

    wait_until(is_still, END_TIMEOUT_S, "the witness to have written all")
