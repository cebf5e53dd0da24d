"""The CFFI builder of the crossing to libpcap: reads the C files beside it."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = [
    "records.c",
    "mend.c",
    "packet.c",
    "relink.c",
    "select.c",
    "mtu.c",
    "latency.c",
    "merge.c",
    "period.c",
    "capture.c",
    "pcapng.c",
    "buffers.c",
]

ffi = FFI()
ffi.cdef((HERE / "pcap_ffi.cdef.h").read_text())
ffi.set_source(
    "pcap_ffi._pcap",
    '#include <pcap/pcap.h>\n#include "pcap_ffi.h"\n#include "mend.h"\n'
    '#include "merge.h"\n#include "capture.h"\n#include "period.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=[f"pcap_ffi/{source}" for source in SOURCES],
    depends=[
        "pcap_ffi/pcap_ffi.h",
        "pcap_ffi/mend.h",
        "pcap_ffi/merge.h",
        "pcap_ffi/capture.h",
        "pcap_ffi/period.h",
        "pcap_ffi/tlv.h",
    ],
    include_dirs=["pcap_ffi"],
    libraries=["pcap"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
