"""Counts what is done for each packet's flow: spread over targets, followed, cut."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.instructions.parts import stretches
from bench.instructions.traffic import SIZES, fitting, ipv4, record

if TYPE_CHECKING:
    from pathlib import Path

PACKETS_A_FLOW = 10
TARGETS = (1, 2, 3, 4)
TABLE = 4 << 20


def flowing(_: Path) -> None:
    """Packets of many flows."""
    from flow_ffi import ALL, FlowHeads, FlowSpread
    from pcap_zmq.formats.linktype import RAW

    size = SIZES[1]
    count = fitting(size)
    records = _records(size, count)
    spread = FlowSpread(seed=1)
    heads = FlowHeads(TABLE, seed=1)
    stretches(
        f"spread {size}",
        count,
        partial(spread.spread, RAW, records, [count], TARGETS),
    )
    for name, limit in (("follow", ALL), ("cut tails", 1_000)):
        stretches(
            f"{name} {size}", count, partial(heads.shed, RAW, records, 0, limit, ALL)
        )


def _records(size: int, count: int) -> bytes:
    packets = []
    for number in range(count):
        packet = bytearray(ipv4(size))
        packet[20:22] = (1_024 + number % (count // PACKETS_A_FLOW)).to_bytes(2, "big")
        packets.append(record(bytes(packet), number))
    return b"".join(packets)
