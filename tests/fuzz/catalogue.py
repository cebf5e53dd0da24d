"""Which targets there are, in Python and in C, and where the inputs of each lie."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import targets

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
SEEDS = HERE / "seeds"
CROSSINGS = (
    "filter_ffi",
    "flow_ffi",
    "link_ffi",
    "nflog_ffi",
    "pcap_ffi",
    "replay_ffi",
)
SEED_MAX = 4_096
"""Most octets of a seed."""

PYTHON = tuple(module.name for module in pkgutil.iter_modules(targets.__path__))

Check = Callable[[bytes], None]


@dataclass(frozen=True)
class Native:
    """What a target in C consists of beside its own file."""

    sources: tuple[str, ...]
    libraries: tuple[str, ...] = ()


NATIVE = {
    "flow": Native(
        tuple(
            f"flow_ffi/{name}.c"
            for name in (
                *("hash", "fragments", "link", "tunnel"),
                *("flow", "spread", "heads"),
            )
        )
    ),
    "filters": Native(
        (
            *(f"filter_ffi/{n}.c" for n in ("filters", "ask", "layers", "flow_set")),
            *(f"flow_ffi/{name}.c" for name in ("hash", "link", "tunnel")),
            "pcap_ffi/select.c",
        ),
        ("-lpcap",),
    ),
    "decapsulate": Native(
        ("filter_ffi/decapsulate.c", "flow_ffi/link.c", "flow_ffi/tunnel.c")
    ),
    "dedup": Native(
        (
            *("filter_ffi/dedup.c", "filter_ffi/digest.c"),
            *(f"flow_ffi/{name}.c" for name in ("hash", "link", "tunnel")),
        )
    ),
    "capture": Native(
        ("pcap_ffi/capture.c", "pcap_ffi/records.c", "pcap_ffi/select.c"), ("-lpcap",)
    ),
    "intake": Native(("link_ffi/intake.c", "link_ffi/lanes.c", "pcap_ffi/records.c")),
    "mend": Native(("pcap_ffi/mend.c", "pcap_ffi/packet.c", "pcap_ffi/records.c")),
    "merge": Native(("pcap_ffi/merge.c", "pcap_ffi/records.c")),
    "merge_parts": Native(
        ("pcap_ffi/merge.c", "pcap_ffi/period.c", "pcap_ffi/records.c")
    ),
    "nflog_parse": Native(
        ("nflog_ffi/parse.c", "pcap_ffi/records.c", "pcap_ffi/relink.c"), ("-lmnl",)
    ),
    "packet_records": Native(
        ("pcap_ffi/records.c", "pcap_ffi/latency.c", "pcap_ffi/mtu.c")
    ),
    "pcapng_blocks": Native(("pcap_ffi/pcapng.c", "pcap_ffi/records.c")),
    "relink": Native(("pcap_ffi/relink.c", "pcap_ffi/records.c")),
    "schedule": Native(
        ("replay_ffi/schedule.c", "replay_ffi/stamp.c", "pcap_ffi/records.c"), ("-lm",)
    ),
}


def check_of(name: str) -> Check:
    """The function that any octets must pass."""
    check: Check = importlib.import_module(f"{targets.__name__}.{name}").check
    return check


def seeds_of(name: str) -> list[Path]:
    """Its seeds, in an order that is the same everywhere."""
    return sorted((SEEDS / name).iterdir())


def compile_command(
    name: str, compiler: str, sanitizers: str, *driver: str
) -> list[str]:
    """How to make a program of a target in C. driver: what calls it, where the
    sanitizers bring nothing that does."""
    native = NATIVE[name]
    sources = [HERE / "native" / f"{name}.c", *(ROOT / path for path in native.sources)]
    return [
        *(compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g"),
        *(f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"),
        *(f"-I{ROOT / crossing}" for crossing in CROSSINGS),
        *map(str, sources),
        *driver,
        *native.libraries,
    ]
