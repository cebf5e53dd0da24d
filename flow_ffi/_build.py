"""The CFFI builder of the crossing that tells flows apart: reads the C beside it."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = [
    "hash.c",
    "fragments.c",
    "link.c",
    "tunnel.c",
    "flow.c",
    "spread.c",
    "heads.c",
]

ffi = FFI()
ffi.cdef((HERE / "flow.cdef.h").read_text())
ffi.set_source(
    "flow_ffi._flow",
    '#include "heads.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=[f"flow_ffi/{source}" for source in SOURCES],
    depends=[
        "flow_ffi/flow.h",
        "flow_ffi/within.h",
        "flow_ffi/ip.h",
        "flow_ffi/sip.h",
        "flow_ffi/heads.h",
        "pcap_ffi/pcap_ffi.h",
    ],
    include_dirs=["flow_ffi", "pcap_ffi"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
