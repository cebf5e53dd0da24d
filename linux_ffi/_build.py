"""The CFFI builder of the crossing to Linux: reads the C files beside it."""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
SOURCES = ["files.c", "privileges.c", "spawn.c", "splice.c", "tcp.c"]

ffi = FFI()
ffi.cdef((HERE / "linux.cdef.h").read_text())
ffi.set_source(
    "linux_ffi._linux",
    '#include "linux.h"',
    # Relative to setup.py: setuptools takes no other sources into a distribution.
    sources=[f"linux_ffi/{source}" for source in SOURCES],
    depends=["linux_ffi/linux.h"],
    include_dirs=["linux_ffi"],
    extra_compile_args=["-std=gnu11", "-O2", "-Wall", "-Wextra"],
)
