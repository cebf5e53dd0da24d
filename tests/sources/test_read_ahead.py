"""What is read ahead comes in order, ends as it ended, and leaves nothing open."""

import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from pcap_zmq.errors import SavefileError
from pcap_zmq.sources.read_ahead import ReadAhead
from testbed.waiting import wait_until


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def drained(ahead: ReadAhead[int]) -> list[int]:
    """All that comes until the end."""
    found: list[int] = []

    def is_over() -> bool:
        while (item := ahead.get()) is not None:
            found.append(item)
        return ahead.is_exhausted()

    wait_until(is_over, 10, "the end")
    return found


class TestTheEnd:
    def test_of_what_breaks_comes_after_all_that_came_before(self) -> None:
        def items() -> Generator[int, None, None]:
            yield from (1, 2, 3)
            raise SavefileError("it breaks")

        ahead = ReadAhead(items(), 2)
        assert drained(ahead) == [1, 2, 3]
        assert str(ahead.failure) == "it breaks"
        assert ahead.close()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_of_a_mistake_of_ours_is_no_good_end(self) -> None:
        def items() -> Generator[int, None, None]:
            yield 1
            raise AssertionError("a mistake")

        ahead = ReadAhead(items(), 2)
        assert drained(ahead) == [1]
        assert isinstance(ahead.failure, AssertionError)
        ahead.close()

    def test_of_nothing_is_an_end(self) -> None:
        ahead: ReadAhead[int] = ReadAhead((n for n in list[int]()), 2)
        assert drained(ahead) == []
        assert ahead.failure is None
        ahead.close()


class TestReading:
    def test_waits_when_enough_lies_ready(self) -> None:
        begun = []

        def items() -> Generator[int, None, None]:
            for n in range(100):
                begun.append(n)
                yield n

        ahead = ReadAhead(items(), 2)
        wait_until(lambda: len(begun) == 3, 10, "three")
        assert len(begun) == 3
        assert drained(ahead) == list(range(100))
        ahead.close()

    def test_is_closed_by_whoever_was_reading(self) -> None:
        closed_by = []

        def items() -> Generator[int, None, None]:
            try:
                while True:
                    yield 1
            finally:
                closed_by.append(threading.current_thread())

        before = open_descriptors()
        ahead = ReadAhead(items(), 2)
        wait_until(lambda: ahead.get() == 1, 10, "one")
        assert ahead.close()
        assert closed_by != [threading.main_thread()]
        assert len(closed_by) == 1
        assert open_descriptors() == before

    def test_that_is_stuck_is_left_alone(self) -> None:
        go_on = threading.Event()

        def items() -> Generator[int, None, None]:
            go_on.wait()
            yield 1

        ahead = ReadAhead(items(), 2)
        assert not ahead.close()
        go_on.set()
        wait_until(ahead.close, 10, "the thread's end")
