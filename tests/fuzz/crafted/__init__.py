"""The seeds that people thought of, by target; others lie beside them."""

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.crafted import files, flows, links, messages, offload, packets
from tests.fuzz.crafted.common import Seeds
from tests.fuzz.crafted.packets import LONG

__all__ = ["CRAFTED", "FOUND", "LONG", "MENDED", "is_crafted", "write"]

FOUND = "found-"
"""How the names of those begin that a fuzzer found: others may take their place."""
MENDED = "mended-"
"""How the names of those begin at which something was wrong once: they stay."""

CRAFTED: dict[str, Callable[[], Seeds]] = {
    make.__name__: make
    for make in (
        *(packets.nflog_parse, packets.packet_records, packets.capture),
        *(packets.ip, packets.records, packets.savefile_source, packets.relink),
        *(packets.pcapng_blocks, packets.schedule),
        *(offload.mend, packets.merge, packets.merge_parts),
        *(messages.wire, messages.codec, messages.decoder),
        *(messages.query, messages.status, messages.zap),
        *(links.sender_link, links.receiver_link, links.spooled_link),
        *(links.intake, flows.flow),
        *(flows.filters, flows.decapsulate, flows.dedup),
        *(files.archive, files.eve_event),
        *(files.filter_rules, files.flow_list),
        *(files.certificate, files.listings, files.settings),
        *(files.checkpoint, files.control),
        *(files.spool, files.spool_directory),
    )
}


def is_crafted(seed_name: str) -> bool:
    """Rather than found or mended."""
    return not seed_name.startswith((FOUND, MENDED))


def write(name: str, directory: Path) -> None:
    """Replaces what was crafted there before."""
    directory.mkdir(parents=True, exist_ok=True)
    for seed in directory.iterdir():
        if is_crafted(seed.name):
            seed.unlink()
    for seed_name, octets in CRAFTED[name]():
        (directory / seed_name).write_bytes(octets)
