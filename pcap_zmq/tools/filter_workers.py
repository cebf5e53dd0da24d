"""Jobs to workers: as many files at a time as there are, each by a process."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from pcap_zmq.captures.inputs import Passed, size_of
from pcap_zmq.errors import InputError
from pcap_zmq.tools.filter_inputs import Job
from pcap_zmq.tools.filter_work import Done, Plan, Work

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many octets of how many are read."""


def each_done(
    plan: Plan, jobs: Sequence[Job], workers: int | None, progress: Progress
) -> Iterator[Done]:
    """In the order of the jobs."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    total = sum(size_of(job.path) for job in jobs)
    if workers > 1:
        yield from _each_done_by(workers, plan, jobs, progress)
        return
    work, passed = Work(plan), Passed(total=total)
    for job in jobs:
        yield work.do(job, passed, lambda: progress(passed.octets, passed.total))


def _each_done_by(
    workers: int, plan: Plan, jobs: Sequence[Job], progress: Progress
) -> Iterator[Done]:
    # Here, since it takes as long to load as a small capture to filter.
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    sizes = {job.path: size_of(job.path) for job in jobs}
    total, octets = sum(sizes.values()), 0
    # The largest first, so that none of them is left to one worker at the end.
    order = sorted(jobs, key=lambda job: -sizes[job.path])
    with ProcessPoolExecutor(
        workers, initializer=_begin_worker, initargs=(plan,)
    ) as pool:
        try:
            waiting = {pool.submit(_do, job): job for job in order}
            done = dict[Path, Done]()
            for future in as_completed(waiting):
                job = waiting[future]
                done[job.path] = future.result()
                octets += sizes[job.path]
                progress(octets, total)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker has died; is there enough memory? try fewer --workers"
            ) from error
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
    yield from (done[job.path] for job in jobs)


_work: Work | None = None
"""Of a worker."""


def _begin_worker(plan: Plan) -> None:
    """Ctrl-C ends a worker at once; the first process has the words for it."""
    import signal

    global _work
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _work = Work(plan)


def _do(job: Job) -> Done:
    if _work is None:
        raise AssertionError("a worker that was not begun")
    return _work.do(job, Passed(), lambda: None)
