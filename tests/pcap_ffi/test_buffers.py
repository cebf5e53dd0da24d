"""Batch buffers: their memory lives as long as a view of it, and is used again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pcap_ffi import new_buffer
from pcap_ffi._pcap import ffi

# A size of its own, so that no other test's buffers lie on top.
SIZE = 123_456


def place(view: memoryview) -> int:
    """Where in memory a view starts."""
    return int(ffi.cast("uintptr_t", ffi.from_buffer(view)))


def test_a_buffer_is_writable_and_as_long_as_asked_for() -> None:
    buffer = new_buffer(SIZE)
    buffer[:] = b"\x5a" * SIZE
    assert (len(buffer), buffer.readonly, bytes(buffer)) == (
        SIZE,
        False,
        b"\x5a" * SIZE,
    )


def test_the_last_buffer_given_up_is_the_first_given_out() -> None:
    first, second = new_buffer(SIZE), new_buffer(SIZE)
    places = [place(second), place(first)]
    del first
    del second
    again = [new_buffer(SIZE), new_buffer(SIZE)]
    assert [place(buffer) for buffer in again] == places


def test_buffers_of_another_size_do_not_stay_in_the_way() -> None:
    others = [new_buffer(1000) for _ in range(20)]
    del others
    test_the_last_buffer_given_up_is_the_first_given_out()


def test_a_slice_keeps_the_memory_of_the_whole() -> None:
    buffer = new_buffer(SIZE)
    slice_of_it = buffer[100:200]
    slice_of_it[:] = b"\x77" * 100
    start = place(buffer)
    del buffer
    others = [new_buffer(SIZE) for _ in range(4)]
    for other in others:
        other[:] = bytes(SIZE)
    assert start not in map(place, others)
    assert bytes(slice_of_it) == b"\x77" * 100


def test_memory_is_used_again_once_its_last_slice_is_gone() -> None:
    buffer = new_buffer(SIZE)
    start = place(buffer)
    slice_of_it = buffer[100:200]
    del buffer
    del slice_of_it
    assert place(new_buffer(SIZE)) == start


def test_a_released_view_gives_the_memory_back() -> None:
    buffer = new_buffer(SIZE)
    start = place(buffer)
    buffer.release()
    assert place(new_buffer(SIZE)) == start


def test_buffers_start_where_a_cache_line_does() -> None:
    assert place(new_buffer(SIZE)) % 64 == 0


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 64, 1000, 20_000]), st.booleans()), max_size=40
    )
)
def test_no_two_buffers_in_use_share_an_octet(steps: list[tuple[int, bool]]) -> None:
    kept: list[tuple[memoryview, int]] = []
    for number, (size, gives_one_up) in enumerate(steps):
        if gives_one_up and kept:
            kept.pop(number % len(kept))
        buffer = new_buffer(size)
        mark = number % 251
        buffer[:] = bytes([mark]) * size
        kept.append((buffer, mark))
    assert all(bytes(buffer) == bytes([mark]) * len(buffer) for buffer, mark in kept)
