"""The CFFI builder of the crossing to libnetfilter_log: reads the C files beside it."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = ["control.c", "parse.c", "read.c"]

ffi = FFI()
ffi.cdef((HERE / "nflog.cdef.h").read_text())
ffi.set_source(
    "nflog_ffi._nflog",
    '#include "nflog.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=[f"nflog_ffi/{source}" for source in SOURCES],
    depends=["nflog_ffi/nflog.h", "nflog_ffi/socket.h", "pcap_ffi/tlv.h"],
    # One reader of LINKTYPE_NFLOG, whoever asks.
    include_dirs=["nflog_ffi", "pcap_ffi"],
    libraries=["netfilter_log", "mnl"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
