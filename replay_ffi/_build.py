"""The CFFI builder of the crossing that sends packets when they are due."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = ["schedule.c", "stamp.c", "device.c", "patience.c", "send.c"]

ffi = FFI()
ffi.cdef((HERE / "replay.cdef.h").read_text())
ffi.set_source(
    "replay_ffi._replay",
    '#include "send.h"\n#include "stamp.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=[f"replay_ffi/{source}" for source in SOURCES],
    depends=[
        "replay_ffi/device.h",
        "replay_ffi/patience.h",
        "replay_ffi/schedule.h",
        "replay_ffi/send.h",
        "replay_ffi/stamp.h",
        "pcap_ffi/pcap_ffi.h",
    ],
    include_dirs=["replay_ffi", "pcap_ffi"],
    libraries=["m"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
