"""Batch buffers: memory that goes back to a small pool when its last view goes."""

from pcap_ffi._pcap import ffi, lib

_allocate = ffi.new_allocator(
    ffi.addressof(lib, "buffer_alloc"),
    ffi.addressof(lib, "buffer_free"),
    should_clear_after_alloc=False,
)


def new_buffer(nbytes: int) -> memoryview:
    """Writable memory of `nbytes` octets, content undefined. Raises MemoryError.

    The memory is owned by the returned view and every slice of it together.
    """
    return memoryview(ffi.buffer(_allocate("uint8_t[]", nbytes)))
