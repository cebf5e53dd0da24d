"""Memory for records that are gathered, and how they are handed to C."""

from collections.abc import Callable
from typing import Any, TypeAlias

from filter_ffi._filter import ffi, lib

Octets = bytes | bytearray | memoryview

NewBuffer: TypeAlias = Callable[[int], memoryview]
"""Makes writable memory of so many octets, which lives as long as a view on it."""

_allocate = ffi.new_allocator(
    ffi.addressof(lib, "filter_alloc"),
    ffi.addressof(lib, "filter_free"),
    should_clear_after_alloc=False,
)


def new_buffer(nbytes: int) -> memoryview:
    """Such memory of malloc's. Raises MemoryError."""
    return memoryview(ffi.buffer(_allocate("uint8_t[]", nbytes)))


def array(kind: str, count: int) -> Any:
    """An array of C's, its content undefined. Raises MemoryError."""
    return _allocate(f"{kind}[]", count)


def octets_of(records: Octets) -> Any:
    """For a C function that reads them; holds them as long as it is held."""
    return ffi.from_buffer("uint8_t[]", records)


def room(new_buffer: NewBuffer, wanted: int, whole: int) -> memoryview:
    """Memory for so many octets of a batch that has `whole`. What is nearly as large as
    the batch gets a buffer of the batch's size, which can be used again for others."""
    return new_buffer(whole if wanted > whole - whole // 8 else wanted)[:wanted]


def not_whole(records: Octets, count: int) -> ValueError:
    return ValueError(f"{len(records)} octets are not {count} whole packet records")
