"""The CFFI builder of the crossing that takes messages: reads the C files beside it."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
# One judge of packet records, whoever asks.
SOURCES = ["link_ffi/lanes.c", "link_ffi/intake.c", "pcap_ffi/records.c"]

ffi = FFI()
ffi.cdef((HERE / "link.cdef.h").read_text())
ffi.set_source(
    "link_ffi._link",
    '#include "intake.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=SOURCES,
    depends=["link_ffi/lanes.h", "link_ffi/intake.h", "pcap_ffi/pcap_ffi.h"],
    include_dirs=["link_ffi", "pcap_ffi"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
