"""The CFFI builder of the crossing that filters packets: reads the C beside it."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
# What is within a packet flow_ffi knows, and which filters are harmless pcap_ffi.
SHARED = [
    "flow_ffi/hash.c",
    "flow_ffi/link.c",
    "flow_ffi/tunnel.c",
    "pcap_ffi/select.c",
]
SOURCES = [
    "flow_set.c",
    "layers.c",
    "ask.c",
    "filters.c",
    "decapsulate.c",
    "digest.c",
    "dedup.c",
]

ffi = FFI()
ffi.cdef((HERE / "filter.cdef.h").read_text())
ffi.set_source(
    "filter_ffi._filter",
    '#include <pcap/pcap.h>\n#include "filter.h"\n#include "decapsulate.h"\n'
    '#include "dedup.h"\n#include "pcap_ffi.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=[*(f"filter_ffi/{source}" for source in SOURCES), *SHARED],
    depends=[
        "filter_ffi/filter.h",
        "filter_ffi/decapsulate.h",
        "filter_ffi/dedup.h",
        "flow_ffi/flow.h",
        "flow_ffi/ip.h",
        "flow_ffi/sip.h",
        "flow_ffi/within.h",
        "pcap_ffi/pcap_ffi.h",
        "pcap_ffi/tlv.h",
    ],
    include_dirs=["filter_ffi", "flow_ffi", "pcap_ffi"],
    libraries=["pcap"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
