from typing import Any

# What lib holds is declared in replay.cdef.h; cffi gives it no Python types.
ffi: Any
lib: Any
