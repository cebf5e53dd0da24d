"""Capture files through one filter, into one savefile."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pcap_ffi import keep_freed_memory
from pcap_zmq.captures.inputs import Passed
from pcap_zmq.counters import Reason
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.packet import Batch
from pcap_zmq.tools.filter_inputs import Advanced, Job, packets_of
from pcap_zmq.tools.filter_sieves import sieves_for
from pcap_zmq.tools.filter_work import Done, Plan


def into_one(
    jobs: Sequence[Job], plan: Plan, path: Path, passed: Passed, advanced: Advanced
) -> tuple[Done, Mapping[Reason, int]]:
    """The plan's only rule. Packets of other link types than the first ones are made to
    fit, or dropped: so many for each reason. A file of no packets, where there are
    none. Raises ConfigError, OutputError and OutputPermissionError."""
    # Else the kernel clears the pages of each batch anew.
    keep_freed_memory()
    sieve = sieves_for(plan.rules, plan.preparation)()
    fitting = _Fitting()
    done = Done()
    parts = plan.new_parts()
    try:
        for batch in packets_of(jobs, passed, done.found, advanced, sieve):
            for _, taken in sieve.each(batch):
                for made in fitting.made_of(taken):
                    parts.add(0, made)
        linktype = done.found.linktype
        parts.ensure(0, linktypes.RAW if linktype is None else linktype)
        done.written += parts.commit(lambda *_: path, overwrite=plan.overwrite)
    finally:
        parts.close()
    done.counts = sieve.counts
    return done, fitting.dropped


class _Fitting:
    """Makes packets be of the first one's link type."""

    def __init__(self) -> None:
        self._linktype: int | None = None
        self._made: _Made | None = None

    @property
    def dropped(self) -> Mapping[Reason, int]:
        return {} if self._made is None else self._made.dropped

    def made_of(self, batch: Batch) -> Iterable[Batch]:
        if self._linktype is None:
            self._linktype = batch.linktype
        if batch.linktype == self._linktype:
            return (batch,)
        if self._made is None:
            self._made = _Made(self._linktype)
        return self._made.of(batch)


class _Made:
    """Loads what is needed for that, since most files have but one."""

    def __init__(self, linktype: int) -> None:
        from pcap_zmq.clock import SystemClock
        from pcap_zmq.counters import ReceiverCounters
        from pcap_zmq.stages.relink import Relink

        self._counters = ReceiverCounters()
        self._relink = Relink(linktype, self._counters, lambda receipt: "a file")
        # Nothing here waits for anything: one moment is as good as another.
        self._now = SystemClock().now()

    @property
    def dropped(self) -> Mapping[Reason, int]:
        return self._counters.dropped

    def of(self, batch: Batch) -> Iterable[Batch]:
        made = self._relink.feed(batch, self._now)
        return (each for each in made if each.count)
