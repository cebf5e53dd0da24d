"""Filters capture files into savefiles: one for all, or one for each and each filter.

As many files at a time as there are workers, where each has outputs of its own. What is
not whole lies in a folder that goes at the end, whatever end it is.
"""

import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pcap_zmq import options
from pcap_zmq.captures.inputs import Passed, size_of
from pcap_zmq.counters import Reason
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.bpf import check_expression
from pcap_zmq.formats.conditions import Condition, Either, expressions
from pcap_zmq.privileges import drop_to
from pcap_zmq.sinks.capture_parts import explained, make_folder
from pcap_zmq.tools.filter_asks import ALONE, Asked, gather
from pcap_zmq.tools.filter_config import FilterConfig, Way
from pcap_zmq.tools.filter_inputs import Job, jobs_of
from pcap_zmq.tools.filter_one import into_one
from pcap_zmq.tools.filter_result import Filtered, Taken
from pcap_zmq.tools.filter_sieves import without_asns
from pcap_zmq.tools.filter_work import Done, Plan, Work
from pcap_zmq.tools.whole_file import check_free, is_same, write_whole
from pcap_zmq.tools.workers import shared_out

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many octets of how many are read."""


class Filtering:
    """Reads what is asked for; `run` does it. Raises ConfigError for what makes no
    sense, ConfigPermissionError."""

    def __init__(self, config: FilterConfig) -> None:
        config.check()
        self._config = config
        self.asked: Asked = gather(config.asks)
        self.rules = self.asked.rules
        """As they were asked for."""
        if len(self.rules) > options.FILTERS_MAX:
            raise ConfigError(
                f"{len(self.rules)} filters are more than {options.FILTERS_MAX}, which "
                "run together: choose some by --rule, or do without --per-flow"
            )
        for rule in self.rules.values():
            for expression in expressions(rule):
                check_expression(expression)

    def write_rules(self) -> None:
        """Where that was asked for. Raises ConfigError, OutputError and
        OutputPermissionError."""
        path = self._config.write_rules
        if path is None:
            return
        if not self._config.overwrite:
            check_free(path)
        # Here, since most do without it.
        from pcap_zmq.formats.filter_rules import encode
        from pcap_zmq.formats.rules_text import SIZE_MAX

        # What has no name gets one.
        rules = {name or "filter": rule for name, rule in self.rules.items()}
        octets = encode(rules, path.name).encode()
        if len(octets) > SIZE_MAX:
            raise ConfigError(
                f"{path} would have more than {SIZE_MAX >> 20} MiB, and not be read "
                "again: filter by --eve, --keep and --drop themselves"
            )
        write_whole(path, octets)

    def jobs(self) -> list[Job]:
        """The files to read. Raises InputError, and ConfigError where the output is one
        of them."""
        jobs = jobs_of(self._config.paths, self._config.suffix)
        if self._config.way is Way.FOLDER:
            self._check_folder(jobs)
        elif self._config.target is not None:
            self._check_file(self._config.target, jobs)
        return jobs

    def one_rule(self) -> dict[str, Condition]:
        """What any filter takes, without AS numbers."""
        rules = without_asns(self.rules, self._config.asn_db)
        return {ALONE: any_of(list(rules.values()))}

    def run(self, progress: Progress = lambda done, total: None) -> Filtered:
        """Into a file, or a folder. Raises PcapZmqError; a file that breaks is none of
        these. Gives up all rights but that of reading before."""
        drop_to(self._config.user, reads_on=True)
        jobs = self.jobs()
        if self._config.way is Way.FOLDER:
            return self._into_folder(jobs, progress)
        return self._into_file(jobs, progress)

    def _into_file(self, jobs: Sequence[Job], progress: Progress) -> Filtered:
        path = self._config.file
        passed = Passed(total=sum(size_of(job.path) for job in jobs))
        with _scratch(path.parent) as scratch:
            plan = self._plan(self.one_rule(), path.parent, scratch)
            # An empty file is nobody's.
            plan = replace(plan, overwrite=plan.overwrite or _is_empty(path))
            done, dropped = into_one(
                jobs, plan, path, passed, lambda: progress(passed.octets, passed.total)
            )
        return self._filtered(plan, done, dropped)

    def _into_folder(self, jobs: Sequence[Job], progress: Progress) -> Filtered:
        folder = self._config.folder
        rules = without_asns(self.rules, self._config.asn_db)
        make_folder(folder)
        with _scratch(folder) as scratch:
            plan = self._plan(rules, folder, scratch)
            done = Done()
            for each in self._each_done(plan, jobs, progress):
                done.add(each)
        return self._filtered(plan, done, {})

    def _each_done(
        self, plan: Plan, jobs: Sequence[Job], progress: Progress
    ) -> Iterator[Done]:
        """In the order of the jobs."""
        sizes = {job.path: size_of(job.path) for job in jobs}
        total = sum(sizes.values())
        # The largest first, so that none of them is left to one worker at the end.
        places = sorted(range(len(jobs)), key=lambda place: -sizes[jobs[place].path])
        results = shared_out(
            functools.partial(Work, plan),
            [jobs[place] for place in places],
            self._config.workers,
            lambda octets: progress(octets, total),
        )
        done = {places[at]: result for at, result in results}
        return (done[place] for place in range(len(jobs)))

    def _plan(
        self, rules: Mapping[str, Condition], folder: Path, scratch: Path
    ) -> Plan:
        config = self._config
        return Plan(
            rules,
            config.preparation,
            folder,
            scratch,
            config.compression,
            config.ending,
            config.nanoseconds,
            config.overwrite,
        )

    def _filtered(
        self, plan: Plan, done: Done, dropped: Mapping[Reason, int]
    ) -> Filtered:
        names = list(plan.rules)
        taken = {name: Taken() for name in names}
        for written in done.written:
            each = taken[names[written.which]]
            each.packets += written.packets
            each.octets += written.octets
            each.files += 1
        return Filtered(taken, done.found, done.counts, dropped)

    def _check_file(self, path: Path, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if is_same(job.path, path):
                raise ConfigError(
                    f"{path} is one of the inputs: name another file for OUTPUT"
                )
        is_ours = self._config.way is Way.FILE and not self._config.overwrite
        if is_ours and not _is_empty(path):
            check_free(path)

    def _check_folder(self, jobs: Sequence[Job]) -> None:
        folder = self._config.folder
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is no folder")
        there = folder.resolve()
        for name in self._config.paths:
            where = Path(name).resolve()
            if where.is_dir() and there.is_relative_to(where):
                raise ConfigError(
                    f"{folder} lies in {name}, so what is written would be read: name "
                    "a folder elsewhere"
                )
        if self._config.overwrite:
            inputs = {job.path.resolve() for job in jobs}
            taken = {path for path in _files_in(folder) if path.resolve() in inputs}
            if taken:
                raise ConfigError(
                    f"{min(taken)} is one of the inputs: name a folder elsewhere"
                )
            return
        plan = self._plan(self.rules, folder, folder)
        taken = set(_files_in(folder))
        for path in (plan.path(rule, job.stem) for job in jobs for rule in self.rules):
            if path in taken:
                raise ConfigError(
                    f"{path} is there already; say --overwrite to replace it"
                )


def any_of(rules: Sequence[Condition]) -> Condition:
    """Holds where one of them does."""
    return rules[0] if len(rules) == 1 else Either(tuple(rules))


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False


def _files_in(folder: Path) -> Iterator[Path]:
    for where, _, files in os.walk(folder):
        yield from (Path(where) / name for name in files)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """One in this folder for what is not whole, and gone at the end."""
    try:
        # Nobody can have made it for us, and put links into it.
        made = Path(tempfile.mkdtemp(prefix=".pcap-zmq-", dir=folder))
    except OSError as error:
        raise explained(folder, error) from error
    try:
        yield made
    finally:
        with suppress(OSError):
            for left in made.iterdir():
                left.unlink()
            made.rmdir()
