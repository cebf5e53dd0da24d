from typing import Any

# What lib and ffi hold is declared in pcap_ffi.cdef.h; cffi gives it no Python types.
ffi: Any
lib: Any
