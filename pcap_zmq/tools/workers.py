"""Shares work out among processes, and says how far all of it is."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from pcap_zmq.errors import InputError

Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")

More: TypeAlias = Callable[[int], None]
"""Is told that so many more octets were read."""

SHOWN_S = 0.2
"""How often it is told how far all is, where nothing else happens."""


class Do(Protocol[Item_contra, Result_co]):
    """Does one item."""

    def __call__(self, item: Item_contra, more: More, /) -> Result_co: ...


def shared_out(
    make: Callable[[], Do[Item, Result]],
    items: Sequence[Item],
    workers: int | None,
    advanced: Callable[[int], None],
) -> Iterator[tuple[int, Result]]:
    """What was made of each item, with its place, as they come to be done.

    make: makes what does them, once in each process; it, items and results are pickled.
    workers: processes; None: one a processor. advanced: is told how many octets were
    read by all. Raises what `make` and its product do, and InputError where a process
    dies.
    """
    workers = min(workers or os.cpu_count() or 1, len(items))
    if workers > 1:
        yield from _by_processes(make, items, workers, advanced)
        return
    do, done = make(), 0

    def more(octets: int) -> None:
        nonlocal done
        done += octets
        advanced(done)

    for place, item in enumerate(items):
        yield place, do(item, more)


def _by_processes(
    make: Callable[[], Do[Item, Result]],
    items: Sequence[Item],
    workers: int,
    advanced: Callable[[int], None],
) -> Iterator[tuple[int, Result]]:
    # Here, since it takes as long to load as a small capture to look through.
    import multiprocessing
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool

    done = multiprocessing.Value("q")
    with ProcessPoolExecutor(
        workers, initializer=_begin, initargs=(make, done)
    ) as pool:
        try:
            waiting = {pool.submit(_run, *each) for each in enumerate(items)}
            while waiting:
                ready, waiting = wait(waiting, SHOWN_S, FIRST_COMPLETED)
                advanced(done.value)
                for future in ready:
                    yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker has died; is there enough memory? try fewer --workers"
            ) from error
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


# In a worker.

_do: Any = None
_done: Any = None
"""Octets that all of them have read, shared."""


def _begin(make: Callable[[], Do[Any, Any]], done: Any) -> None:
    """A signal ends a worker at once; the first process has the words for it."""
    global _do, _done
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _do, _done = make(), done


def _run(place: int, item: Any) -> tuple[int, Any]:
    return place, _do(item, _more)


def _more(octets: int) -> None:
    with _done.get_lock():
        _done.value += octets
