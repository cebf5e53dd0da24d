"""Batch buffers: memory that goes back to a small pool when its last view goes."""

from pcap_ffi._pcap import ffi, lib

_allocate = ffi.new_allocator(
    ffi.addressof(lib, "buffer_alloc"),
    ffi.addressof(lib, "buffer_free"),
    should_clear_after_alloc=False,
)


def keep_freed_memory() -> None:
    """Makes the C library reuse what was freed rather than give it back to the kernel:
    some MiB more, and a good part of the work on each message less."""
    lib.buffer_keep_freed()


def new_buffer(nbytes: int) -> memoryview:
    """Writable memory of `nbytes` octets, content undefined. Raises MemoryError.

    The memory is owned by the returned view and every slice of it together.
    """
    return memoryview(ffi.buffer(_allocate("uint8_t[]", nbytes)))
